"""Slices: who is in them, the test against the rest, the comparison of two systems on each."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as sps
from sklearn.metrics import f1_score
from test_eval_predictions import answers, row, spec

from pp_assets.evaluation.compare import compare_systems
from pp_assets.evaluation.scoring import score_rows
from pp_assets.evaluation.slices import MIN_ITEMS, SHOWN, distance_table, find_slices, slice_comparisons, slice_table
from pp_assets.evaluation.stats.groups import Clusters
from pp_assets.evaluation.stats.subgroups import subgroup_test


def share(sums):
    return sums[..., 0] / sums[..., 1]


def counts_of(right):
    return np.stack([right, np.ones(len(right))], axis=1).astype(float)


def single(n):
    return Clusters.of([f"{i:04d}" for i in range(n)])


def exact_p(right, member):
    """By the hypergeometric distribution: gaps at least as large as the one that was seen."""
    n, m, k = len(right), int(member.sum()), int(right.sum())
    inside = np.arange(max(0, m + k - n), min(m, k) + 1)
    gaps = inside / m - (k - inside) / (n - m)
    seen = right[member].mean() - right[~member].mean()
    return sps.hypergeom.pmf(inside[np.abs(gaps) >= abs(seen) - 1e-12], n, m, k).sum()


@pytest.mark.parametrize("seed", range(4))
def test_single_items_that_are_right_or_wrong_give_fishers_test(seed):
    rng = np.random.default_rng(seed)
    member = rng.random((3, 60)) < 0.4
    right = (rng.random(60) < 0.9 - 0.4 * member[0]).astype(float)
    gaps, p = subgroup_test(share, counts_of(right), member, single(60), rng)
    for gap, value, who in zip(gaps, p, member):
        assert gap == pytest.approx(right[who].mean() - right[~who].mean())
        assert value == pytest.approx(exact_p(right, who), abs=0.025)


def test_groups_of_equal_answers_count_once():
    rng = np.random.default_rng(1)
    member, right = rng.random(40) < 0.4, (rng.random(40) < 0.6).astype(float)
    _, once = subgroup_test(share, counts_of(right), member[None], single(40), rng)
    groups = Clusters.of([f"{i // 3:03d}" for i in range(120)])
    _, thrice = subgroup_test(share, counts_of(np.repeat(right, 3)), np.repeat(member, 3)[None], groups, rng)
    assert thrice[0] == pytest.approx(once[0], abs=0.03)


def test_equal_parts_are_seldom_called_different():
    rng, found = np.random.default_rng(2), []
    groups = Clusters.of([f"{i // 2:03d}" for i in range(50)])
    for _ in range(100):
        right = np.repeat(rng.random(25) < 0.7, 2).astype(float)  # items of a group are alike
        member = np.repeat(rng.random(25) < 0.4, 2)
        found.append(subgroup_test(share, counts_of(right), member[None], groups, rng)[1][0])
    assert np.mean(np.array(found) < 0.05) <= 0.08
    assert np.mean(found) > 0.45


def test_the_same_seed_gives_the_same_p_whatever_is_held_at_a_time(monkeypatch):
    right, member = np.arange(30) % 3 > 0, np.arange(30) < 12
    whole = subgroup_test(share, counts_of(right), member[None], single(30), np.random.default_rng(5))
    monkeypatch.setattr("pp_assets.evaluation.stats.subgroups._AT_ONCE", 6000)
    parts = subgroup_test(share, counts_of(right), member[None], single(30), np.random.default_rng(5))
    assert parts[1][0] == pytest.approx(whole[1][0], abs=0.03)


def some(n=90):
    """Items of which a third of each intent, every second without an order, every third with items, of rising length."""
    rows = []
    for i in range(n):
        expected = {"intent": ["buy", "sell", "ask"][i % 3], "urgent": i % 5 == 0, "order": f"A{i}" if i % 2 else None}
        expected |= {"items": ["x"] if i % 3 == 0 else [], "count": i}
        rows.append(row(i, expected, expected, input_text="w" * (i + 1)))
    return rows


def test_slices_are_those_of_classes_nulls_empty_lists_and_lengths():
    parts, left_out = find_slices(score_rows(spec(), some()))
    found = {part.name: set(np.flatnonzero(part.mask)) for part in parts}
    assert found["intent = sell"] == {i for i in range(90) if i % 3 == 1}
    assert found["urgent = true"] == {i for i in range(90) if i % 5 == 0}
    assert found["order is null"] == {i for i in range(90) if i % 2 == 0} and len(found["order is given"]) == 45
    assert found["items is empty"] == {i for i in range(90) if i % 3}
    thirds = ("input of up to 30 characters", "input of 31 to 60 characters", "input of more than 60 characters")
    assert [found[name] for name in thirds] == [set(range(30)), set(range(30, 60)), set(range(60, 90))]
    assert not any("count" in name for name in found) and left_out == 0, "count is never null"


def test_members_of_enum_lists_are_slices_and_small_ones_are_counted_only():
    schema = {"type": "object", "properties": {"tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}}}}
    told = {**spec(), "io_schema": {"output": schema}}
    tags = [["a", "b"] if i < 20 else ["b"] if i < 37 else [] if i < 38 else ["c"] for i in range(40)]
    rows = [row(i, {"tags": t}, {"tags": t}, input_text="same") for i, t in enumerate(tags)]
    parts, left_out = find_slices(score_rows(told, rows))
    assert {part.name: int(part.mask.sum()) for part in parts} == {"tags has a": 20}, f"fewer than {MIN_ITEMS} are outside of b, or in c"
    assert left_out == 3


def faulty(rows, wrong):
    """The same items, with the urgency wrong where `wrong` holds."""
    out = []
    for i, one in enumerate(rows):
        said = json.loads(one.expected)
        out.append(replace(one, output=json.dumps({**said, "urgent": said["urgent"] ^ bool(wrong(i))})))
    return out


def test_a_planted_weakness_is_found_first_and_marked_with_its_numbers():
    rows = faulty(some(180), lambda i: i % 3 == 1 and i % 4 < 3)
    found = slice_table(score_rows(spec(), rows), score_rows(spec(), some(180)))
    first, *rest = found["rows"]
    assert first["slice"] == "intent = sell" and first["worse"] and first["p_holm"] < 0.05
    assert first["candidate"]["value"] == pytest.approx(15 / 60) and first["rest"] == 1.0 and first["n"] == 60
    assert first["candidate"]["low"] < 0.25 < first["candidate"]["high"] and first["baseline"]["value"] == 1.0
    named = {one["slice"]: one for one in rest}
    assert named["intent = ask"]["better"] and not named["order is null"]["worse"]
    assert len(found["rows"]) <= SHOWN and found["reason"] == ""


def test_a_slice_and_its_complement_are_one_test():
    rows = faulty(some(60), lambda i: i % 7 == 0)
    named = {one["slice"]: one for one in slice_table(score_rows(spec(), rows), None)["rows"]}
    null, given = named["order is null"], named["order is given"]
    assert null["p_value"] == pytest.approx(given["p_value"], abs=0.01) and null["p_holm"] == given["p_holm"]
    assert null["candidate"]["value"] == pytest.approx(given["rest"]) and null["baseline"] is None
    tests = len(named) - 2  # urgent = true and false are one as well
    assert min(one["p_holm"] for one in named.values()) == pytest.approx(min(1, tests * min(one["p_value"] for one in named.values())))


def test_a_metric_of_the_corpus_is_that_of_the_items_in_the_slice():
    told = spec(primary_metric={"name": "field_f1.intent"})
    scored = score_rows(told, answers(0.6, 3, 150))
    row_ = next(one for one in slice_table(scored, None)["rows"] if one["slice"] == "urgent = false")
    kept = [i for i, e in enumerate(scored.expected) if not e.value["urgent"]]
    truth, said = ([side[i].value["intent"] for i in kept] for side in (scored.expected, scored.answers))
    assert row_["candidate"]["value"] == pytest.approx(f1_score(truth, said, average="macro")) and row_["n"] == len(kept)


def test_lower_may_be_better():
    told = spec(primary_metric={"name": "valid_but_wrong_rate", "higher_is_better": False})
    first = slice_table(score_rows(told, faulty(some(180), lambda i: i % 3 == 1)), None)["rows"][0]
    assert first["slice"] == "intent = sell" and first["worse"] and first["candidate"]["value"] == 1.0


def test_where_there_is_nothing_to_part_the_reason_is_told():
    few = slice_table(score_rows(spec(), some(10)), None)
    assert few["rows"] == [] and "no slice has 8 items" in few["reason"] and few["left_out"] > 0
    timed = spec(primary_metric={"name": "latency_ms_mean", "higher_is_better": False})
    assert slice_table(score_rows(timed, some(60)), None)["reason"] == "no time was stored"
    assert slice_comparisons(score_rows(spec(), some(10)), score_rows(spec(), some(10)), "object_exact_match")["rows"] == []


def test_two_systems_are_compared_on_each_slice_as_by_themselves():
    a, b = faulty(some(), lambda i: i % 4 == 0), faulty(some(), lambda i: i % 3 == 1)
    found = slice_comparisons(score_rows(spec(), a), score_rows(spec(), b), "object_exact_match")
    one = next(row for row in found["rows"] if row["slice"] == "intent = sell")
    alone = compare_systems(spec(), [r for i, r in enumerate(a) if i % 3 == 1], [r for i, r in enumerate(b) if i % 3 == 1])
    assert (one["effect"], one["low"], one["high"], one["p_value"]) == (alone.effect, alone.low, alone.high, alone.p_value)
    assert one["b"]["value"] == 0.0 and one["p_holm"] >= one["p_value"] and one["n"] == 30
    evidence = [row["p_value"] if row["effect"] < 0 else 2 - row["p_value"] for row in found["rows"]]
    assert evidence == sorted(evidence)


def test_items_far_from_training_are_told_apart_where_the_rows_know_their_distance():
    right = {"intent": "buy", "urgent": False, "order": None, "items": [], "count": None}
    known = [row(i, right, right if i < 10 else right | {"urgent": True}, nearest=0.9 if i < 10 else 0.1) for i in range(20)]
    found = distance_table(score_rows(spec(), known), None)
    told = [(one["part"], one["n"], one["candidate"]["value"]) for one in found["rows"]]
    assert told == [("all", 20, 0.5), ("far from training", 10, 0.0), ("near training", 10, 1.0)]
    assert found["similarity"] == 0.5 and 0 < found["rows"][1]["candidate"]["high"] < 1
    assert "far from training" in [part.name for part in find_slices(score_rows(spec(), known))[0]]
    assert distance_table(score_rows(spec(), [replace(one, nearest=None) for one in known]), None) is None
