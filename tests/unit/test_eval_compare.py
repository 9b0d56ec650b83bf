import json
from dataclasses import replace

import numpy as np
import pytest
from test_eval_predictions import answers, row, spec, system

from pp_assets.evaluation.compare import compare_scored, compare_systems, items_needed, with_holm
from pp_assets.evaluation.leaderboard import leaderboard, regression_check
from pp_assets.evaluation.scoring import score_rows
from pp_assets.evaluation.stats import mcnemar
from pp_resources.errors import UserError

RIGHT = {"intent": "buy", "urgent": True}
WRONG = {"intent": "sell", "urgent": True}


def pair(both, only_a, only_b, neither, per_group=1):
    """Two systems with this paired table of right and wrong answers."""
    cells = [(1, 1)] * both + [(1, 0)] * only_a + [(0, 1)] * only_b + [(0, 0)] * neither
    sides = zip(
        *(
            (row(i, RIGHT, RIGHT if a else WRONG, f"g{i // per_group}"), row(i, RIGHT, RIGHT if b else WRONG, f"g{i // per_group}"))
            for i, (a, b) in enumerate(cells)
        )
    )
    return [list(side) for side in sides]


def test_a_binary_metric_is_compared_by_exact_mcnemar():
    found = compare_systems(spec(), *pair(60, 25, 8, 7))
    assert (found.only_candidate, found.only_other, found.n) == (25, 8, 100)
    assert found.effect == pytest.approx(0.17)
    assert found.low < 0.17 < found.high
    assert found.p_value == found.mcnemar_p == mcnemar(25, 8).p
    assert found.mcnemar_mid_p < found.mcnemar_p
    assert (found.test, found.clustered_p) == ("exact McNemar", None)
    assert found.odds_ratio == 25 / 8
    assert found.odds_low < 25 / 8 < found.odds_high
    assert found.discordance == pytest.approx(0.33)
    assert 0.1 < found.detectable < found.detectable_worst < 0.25


def test_with_groups_the_larger_p_value_counts():
    found = compare_systems(spec(), *pair(60, 24, 6, 10, per_group=6))
    assert found.clustered_p > 5 * found.mcnemar_p
    assert found.p_value == found.clustered_p
    assert found.test == "larger p of exact McNemar and exact sign-flip of whole groups"
    alone = compare_systems(spec(), *pair(60, 24, 6, 10))
    assert found.high - found.low > 1.3 * (alone.high - alone.low)
    assert found.detectable > 1.3 * alone.detectable


def test_the_other_way_round_only_signs_change():
    a, b = pair(60, 25, 8, 7)
    there, back = compare_systems(spec(), a, b), compare_systems(spec(), b, a)
    assert back.effect == -there.effect
    assert back.p_value == there.p_value
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.006)


def test_systems_without_a_difference_still_have_an_interval_of_some_width():
    a, b = pair(40, 0, 0, 10)
    found = compare_systems(spec(), a, b)
    assert (found.effect, found.p_value, found.odds_ratio) == (0.0, 1.0, None)
    assert found.low < -0.03 and found.high > 0.03
    assert found.detectable > 0.1


def test_the_order_of_rows_does_not_matter():
    a, b = answers(0.8, 1), answers(0.6, 2)
    assert compare_systems(spec(), a, b) == compare_systems(spec(), a[::-1], b[50:] + b[:50])


@pytest.mark.parametrize("metric", ["field_f1.intent", "field_exact_mean", "value_f1"])
def test_other_metrics_are_compared_by_permutation_and_bootstrap(metric):
    better, worse = answers(0.95, 1, 150), answers(0.7, 2, 150)
    found = compare_systems(spec(), better, worse, metric)
    assert "paired permutation of items" in found.test
    assert found.mcnemar_p is None
    if metric == "value_f1":  # equal in both: intents are not extracted values
        assert (found.effect, found.p_value) == (0.0, 1.0)
        assert found.low < 0 < found.high
    else:
        assert found.low > 0
        assert found.p_value < 0.01
        assert found.detectable < found.detectable_worst


def test_permutation_of_a_null_difference_rejects_at_alpha():
    p = [compare_systems(spec(), answers(0.7, 2 * s, 40), answers(0.7, 2 * s + 1, 40), "field_f1.intent").p_value for s in range(60)]
    assert np.mean(np.array(p) < 0.05) <= 0.14
    assert np.mean(np.array(p) < 0.5) > 0.25


def test_less_is_better_for_rates_of_faults_and_latency():
    fast = [replace(r, latency_ms=r.latency_ms / 2) for r in answers(0.9, 1)]
    assert compare_systems(spec(), fast, answers(0.9, 1), "latency_ms_mean").effect > 0
    assert compare_systems(spec(), answers(0.9, 1), answers(0.5, 2), "valid_but_wrong_rate").effect > 0


def test_what_one_side_cannot_score_is_not_compared():
    silent = [replace(r, output="?") for r in answers(0.9, 1)]
    found = compare_systems(spec(), answers(0.9, 1), silent, "forbidden_keys_rate")
    assert (found.effect, found.p_value, found.reason) == (None, None, "no output was a JSON object")


def test_systems_that_answered_different_items_are_refused():
    a = answers(0.9, 1, 20)
    with pytest.raises(UserError, match=r"different items \(1 differ, first '00019'\).*same dataset version"):
        compare_systems(spec(), a, a[:-1])
    with pytest.raises(UserError, match="different items"):
        compare_systems(spec(), a, [replace(a[0], expected=json.dumps({"intent": "ask", "urgent": False})), *a[1:]])


def test_a_metric_without_a_paired_test_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"'latency_ms_p50' has no paired test; did you mean 'latency_ms_mean'"):
        compare_systems(spec(), answers(0.9, 1, 9), answers(0.8, 2, 9), "latency_ms_p50")


def test_holm_leaves_what_has_no_p_value_alone():
    found = compare_systems(spec(), *pair(60, 25, 8, 7))
    adjusted = with_holm([found, replace(found, p_value=None), replace(found, p_value=0.04)])
    assert [c.p_holm for c in adjusted] == [pytest.approx(2 * found.p_value), None, 0.04]


def test_grouped_items_need_more_of_them():
    alone, grouped = (compare_systems(spec(), *pair(60, 24, 6, 10, per_group=k)) for k in (1, 6))
    assert items_needed(grouped, 0.1, 0.05) > 2 * items_needed(alone, 0.1, 0.05)
    assert items_needed(alone, 0.0, 0.05) is None


def test_more_groups_than_blocks_are_pooled_without_moving_the_interval(monkeypatch):
    a, b = score_rows(spec(), answers(0.9, 1, 900)), score_rows(spec(), answers(0.8, 2, 900))
    whole = compare_scored(a, b, "field_f1.intent")
    monkeypatch.setattr("pp_assets.evaluation.scoring.BLOCKS", 300)
    pooled = compare_scored(score_rows(spec(), answers(0.9, 1, 900)), score_rows(spec(), answers(0.8, 2, 900)), "field_f1.intent")
    assert (pooled.low, pooled.high) == pytest.approx((whole.low, whole.high), abs=0.012)


def test_the_leaderboard_ranks_and_says_what_the_data_cannot_separate():
    systems = [
        system("weak", answers(0.3, 5)),
        system("good", answers(0.9, 1), "candidate"),
        system("twin", answers(0.88, 7), "candidate"),
        system("slow", answers(0.6, 3)),
    ]
    board = leaderboard(spec(), systems)
    assert [(e["rank"], e["name"]) for e in board] == [(1, board[0]["name"]), (2, board[1]["name"]), (3, "slow"), (4, "weak")]
    assert {board[0]["name"], board[1]["name"]} == {"good", "twin"}
    assert board[0]["not_separated"] == [board[1]["name"]]
    assert board[3]["not_separated"] == []
    there, back = board[0]["pairs"]["weak"], board[3]["pairs"][board[0]["name"]]
    assert (there["effect"], there["low"], there["p_holm"]) == (-back["effect"], -back["high"], back["p_holm"])
    assert there["odds_ratio"] == pytest.approx(1 / back["odds_ratio"], abs=1e-3)
    assert there["p_holm"] >= there["p_value"]
    assert json.dumps(board, allow_nan=False) == json.dumps(leaderboard(spec(), systems[::-1]))


def test_a_system_that_cannot_be_scored_has_no_rank():
    quiet = [replace(r, latency_ms=0.0) for r in answers(0.9, 1, 30)]
    task = spec(primary_metric={"name": "latency_ms_mean", "higher_is_better": False})
    board = leaderboard(task, [system("a", quiet), system("b", answers(0.5, 1, 30))])
    assert [(e["name"], e["rank"]) for e in board] == [("b", 1), ("a", None)]
    assert board[1]["primary"]["reason"] == "no time was stored"


def test_two_systems_of_one_name_are_refused():
    with pytest.raises(UserError, match="two systems are called 'a'"):
        leaderboard(spec(), [system("a", answers(0.5, 1, 9)), system("a", answers(0.5, 2, 9))])


@pytest.mark.parametrize(
    ("table", "verdict", "says"),
    [
        ((900, 50, 50, 1000), "PASS", "a loss of more than 0.02 is ruled out"),
        ((900, 5, 25, 1070), "PASS", "a loss of more than 0.02 is ruled out"),
        ((60, 2, 25, 13), "FAIL", "the challenger is worse by 0.2300"),
        ((60, 8, 9, 23), "INCONCLUSIVE", "neither shown nor ruled out; about"),
    ],
)
def test_the_regression_check_has_three_outcomes(table, verdict, says):
    challenger, champion = pair(*table)
    found = regression_check(spec(), champion, challenger)
    assert found["verdict"] == verdict
    assert says in found["reason"]
    assert found["comparison"]["level"] == 0.9
    assert found["champion"]["value"] - found["challenger"]["value"] == pytest.approx(-found["comparison"]["effect"], abs=2e-6)
    assert (found["items_needed"] is not None) == (verdict == "INCONCLUSIVE")


def test_a_margin_must_be_positive():
    with pytest.raises(UserError, match="a margin of 0 is not positive"):
        regression_check(spec(), answers(0.5, 1, 5), answers(0.5, 1, 5), margin=0)
