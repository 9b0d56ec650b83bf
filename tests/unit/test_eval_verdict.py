import pytest
from test_eval_predictions import spec

from pp_assets.evaluation.compare import Comparison
from pp_assets.evaluation.metrics import Metric
from pp_assets.evaluation.verdict import decide
from pp_resources.errors import UserError

METRICS = {
    "object_exact_match": Metric(0.8, 200, 0.74, 0.85, "Wilson"),
    "schema_valid_rate": Metric(0.97, 200, 0.94, 0.99, "Wilson"),
    "tokens_per_s": Metric(None, 0, reason="the system generates no tokens"),
}
HOLDS = {"metric": "schema_valid_rate", "op": ">=", "value": 0.95}
FAILS = {"metric": "schema_valid_rate", "op": ">=", "value": 0.99}
UNKNOWN = {"metric": "tokens_per_s", "op": ">=", "value": 10}


def comparison(low, high, p, **more):
    effect = more.pop("effect", (low + high) / 2)
    base = {"metric": "object_exact_match", "n": 200, "groups": 200, "value": 0.8, "other_value": 0.8 - effect, "level": 0.95}
    base |= {"only_candidate": 30, "only_other": 20, "discordance": 0.25, "effective_n": 200.0, "detectable": 0.1, "detectable_worst": 0.14}
    return Comparison(**{**base, **more}, effect=effect, low=low, high=high, p_value=p)


@pytest.mark.parametrize(
    ("low", "high", "p", "gates", "min_effect", "label", "says"),
    [
        (0.04, 0.16, 0.002, [], 0.0, "SHIP", "A gain is shown: the whole interval lies above 0."),
        (0.04, 0.16, 0.002, [HOLDS], 0.0, "SHIP", "Gate schema_valid_rate >= 0.95 holds: 0.97"),
        (0.04, 0.16, 0.002, [FAILS], 0.0, "DO NOT SHIP", "Gate schema_valid_rate >= 0.99 fails: 0.97"),
        (0.04, 0.16, 0.002, [UNKNOWN], 0.0, "NOT ENOUGH DATA", "cannot be judged: the system generates no tokens"),
        (0.04, 0.16, 0.002, [UNKNOWN, FAILS], 0.0, "DO NOT SHIP", "cannot be judged"),
        (0.04, 0.16, 0.002, [], 0.05, "NOT ENOUGH DATA", "A gain of more than 0.05 is neither shown nor ruled out"),
        (0.06, 0.16, 0.002, [], 0.05, "SHIP", "A gain of more than 0.05 is shown"),
        (0.01, 0.04, 0.002, [], 0.05, "DO NOT SHIP", "The interval rules out a gain of more than 0.05."),
        (-0.02, 0.16, 0.12, [], 0.0, "NOT ENOUGH DATA", "A gain is neither shown nor ruled out"),
        (0.001, 0.12, 0.06, [], 0.0, "NOT ENOUGH DATA", "neither shown nor ruled out"),
        (-0.16, -0.04, 0.002, [], 0.0, "DO NOT SHIP", "The candidate is significantly worse than the baseline."),
        (-0.16, 0.0, 0.06, [], 0.0, "DO NOT SHIP", "The interval rules out a gain."),
        (-0.2, 0.01, 0.04, [], 0.0, "DO NOT SHIP", "significantly worse"),
    ],
)
def test_the_table_of_verdicts(low, high, p, gates, min_effect, label, says):
    task = spec(primary_metric={"min_effect": min_effect})
    found = decide(task, METRICS, comparison(low, high, p), gates, "knn")
    assert found.label == label
    assert any(says in reason for reason in found.reasons), found.reasons


def test_every_verdict_carries_its_numbers():
    found = decide(spec(), METRICS, comparison(0.04, 0.16, 0.002), [], "knn")
    assert (found.effect, found.low, found.high, found.p_value, found.n) == (0.1, 0.04, 0.16, 0.002, 200)
    assert (found.baseline, found.detectable, found.only_candidate) == ("knn", 0.1, 30)
    assert "0.8000 against 0.7000 of knn on 200 items; effect +0.1000, 95% interval +0.0400 to +0.1600, p = 0.0020" in found.reasons[1]


def test_not_enough_data_says_how_much_would_do():
    found = decide(spec(), METRICS, comparison(-0.02, 0.16, 0.12, effect=0.07), [], "knn")
    assert 398 <= found.items_needed <= 430  # 398 by the formula, a little more for the exact test
    assert any(f"About {found.items_needed} test items like these would show an effect of 0.070" in r for r in found.reasons)
    assert any("With 80% power these 200 items could show an effect of 0.100 or more." in r for r in found.reasons)


def test_an_effect_too_small_to_plan_with_is_replaced_by_five_points():
    found = decide(spec(), METRICS, comparison(-0.09, 0.09, 1.0, effect=0.0), [], "knn")
    assert any("effect of 0.050 (the observed one is too small to plan with)" in r for r in found.reasons)


def test_on_very_few_items_no_effect_could_be_shown():
    found = decide(spec(), METRICS, comparison(-0.3, 0.5, 0.6, n=4, detectable=None), [], "knn")
    assert found.label == "NOT ENOUGH DATA"
    assert any("No effect, however large, could be shown on 4 items" in r for r in found.reasons)


@pytest.mark.parametrize(("gates", "label"), [([], "NOT ENOUGH DATA"), ([FAILS], "DO NOT SHIP")])
def test_without_a_baseline_there_is_nothing_to_ship_on(gates, label):
    found = decide(spec(), METRICS, None, gates)
    assert found.label == label
    assert any("there is no baseline to compare with" in r for r in found.reasons)


def test_a_comparison_without_a_value_gives_its_reason():
    empty = Comparison("object_exact_match", 200, 200, None, 0.5, 0.95, reason="no output was a JSON object")
    found = decide(spec(), METRICS, empty, [], "knn")
    assert found.label == "NOT ENOUGH DATA"
    assert "no output was a JSON object" in found.reasons[0]


def test_an_unknown_gate_is_named_with_the_nearest():
    with pytest.raises(UserError, match="gates: unknown metric 'schema_valid'; did you mean 'schema_valid_rate'"):
        decide(spec(), METRICS, None, [{"metric": "schema_valid", "op": ">=", "value": 1}])


def test_an_upper_gate_is_the_other_way_round():
    gate = {"metric": "schema_valid_rate", "op": "<=", "value": 0.95}
    assert decide(spec(), METRICS, None, [gate]).gates[0].held is False


def test_a_gate_on_the_amount_of_data_that_fails_is_no_fault_of_the_model():
    gate = {"metric": "test_items", "op": ">=", "value": 100}
    short = decide(spec(), METRICS | {"test_items": Metric(60.0, 60)}, comparison(0.05, 0.2, 0.001), [gate], "knn")
    assert short.label == "NOT ENOUGH DATA" and short.gates[0].held is False
    assert any(r == "Gate test_items >= 100 fails: 60." for r in short.reasons)
    assert decide(spec(), METRICS | {"test_items": Metric(100.0, 100)}, comparison(0.05, 0.2, 0.001), [gate], "knn").label == "SHIP"
