"""Which answers people should look at, a threshold that is proven, and measures of their work."""

import numpy as np
import pytest
from scipy import stats as sps
from store_rows import inference

from pp_assets.routing.precision import fit_precision
from pp_assets.serving.desk_measures import measures
from pp_assets.serving.doubt import doubt_of, judge
from pp_assets.serving.spec import Handoff, Serving
from pp_assets.task.contract.spec import parse_contract
from pp_resources.errors import UserError
from pp_resources.store.opened import open_store
from pp_resources.store.work import QueueChange, QueueItem

FINE = {"task": "t", "id": "i", "key": "k", "confidence": 0.9, "valid": True}


def test_the_first_reason_is_named_and_all_numbers_are_kept() -> None:
    rules = Handoff(confidence=0.8, audit=1.0)
    assert doubt_of(rules, **FINE | {"confidence": 0.8}).reason == "audit"
    assert not doubt_of(rules, **FINE).handed_off
    low = doubt_of(rules, **FINE | {"confidence": 0.79})
    assert low.reason == "confidence" and low.handed_off and low.detail == {"threshold": 0.8}
    assert doubt_of(rules, **FINE | {"confidence": None}).reason == "confidence"
    both = doubt_of(rules, **FINE | {"confidence": 0.1, "valid": False}, judged={"score": 0.2})
    assert both.reason == "invalid" and both.detail == {"contract": {"score": 0.2}, "threshold": 0.8}
    assert doubt_of(Handoff(invalid=False), **FINE | {"valid": False, "confidence": None}) is None


def test_an_audit_takes_its_share_by_chance_and_the_same_one_each_time() -> None:
    rules = Handoff(audit=0.1)
    taken = [doubt_of(rules, **FINE | {"id": f"i{n}"}) is not None for n in range(4000)]
    assert taken == [doubt_of(rules, **FINE | {"id": f"i{n}"}) is not None for n in range(4000)]
    assert sps.binomtest(sum(taken), 4000, 0.1).pvalue > 0.001
    assert taken != [doubt_of(rules, **FINE | {"id": f"i{n}", "key": "other"}) is not None for n in range(4000)]


def test_a_contract_doubts_what_scores_low_what_its_gates_refuse_and_what_it_cannot_judge() -> None:
    nodes = [{"label": "short", "kind": "length", "field": "a", "maximum": 2, "hard_gate": 0.5}, {"label": "kind", "kind": "judge"}]
    contract = parse_contract({"version": 1, "dimensions": [{"label": "form", "sub_dimensions": nodes}]}, "contract")
    rules = Handoff(contract_score=0.5, contract_gates=True)
    assert judge(rules, contract, "text", '{"a": "ab"}') is None
    assert judge(rules, contract, "text", '{"a": "abc"}') == {"least": 0.5, "gates": ["form/short"], "score": 0.0}
    assert judge(Handoff(contract_score=0.5), contract, "text", '{"a": "abc"}') == {"least": 0.5, "score": 0.0}
    unknown = judge(rules, contract, "text", '{"b": 1}')
    assert unknown["score"] is None and unknown["gates"] == ["form/short"] and "form/short" in unknown["why"]


@pytest.mark.parametrize("wrong", [{"confidence": 1.5}, {"audit": -0.1}, {"confidance": 0.5}, {"most_open": 0}, {"confidence": "0.5"}])
def test_the_section_is_strict(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Serving(handoff=wrong)


def rows(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    sure = np.round(rng.beta(4, 1, n), 2)
    return sure, rng.random(n) < sure


def test_a_threshold_is_named_only_where_its_precision_is_proven() -> None:
    """60 fits to 400 rows: thresholds that give less than wanted are at most as many as delta gives in 999 of 1000 times."""
    sure, good = rows(np.random.default_rng(9), 400_000)
    rng, broken, named = np.random.default_rng(0), 0, 0
    for _ in range(60):
        found = fit_precision(*rows(rng, 400), target=0.9, delta=0.2)
        if found.threshold is not None:
            named += 1
            broken += good[sure >= found.threshold].mean() < 0.9
    assert named > 30 and broken <= sps.binom.ppf(0.999, 60, 0.2)


def test_more_rows_let_more_answers_out_and_the_numbers_are_those_of_the_rows() -> None:
    few, many = (rows(np.random.default_rng(3), n) for n in (500, 5000))
    a, b = (fit_precision(*one, target=0.9) for one in (few, many))
    assert a.threshold is not None and b.threshold is not None and b.kept.value > a.kept.value
    kept = many[0] >= b.threshold
    assert b.precision.value == pytest.approx(many[1][kept].mean()) and b.precision.n == kept.sum()
    assert b.precision.low < b.precision.value < b.precision.high and b.alone.value == pytest.approx(many[1].mean())
    assert f"{kept.sum()} of 5000 answers go out" in b.reason and b.plain()["threshold"] == b.threshold


def test_what_proves_nothing_says_so() -> None:
    rng = np.random.default_rng(5)
    blind = fit_precision(rng.random(600), rng.random(600) < 0.5, target=0.9)
    assert (
        blind.threshold is None
        and blind.precision is None
        and blind.kept.value == 0
        and "no threshold is proven on 600 rows" in blind.reason
    )
    with pytest.raises(UserError, match="give 59 or more, or aim lower"):
        fit_precision([0.9] * 58 + [None] * 50, [True] * 108, target=0.95)
    assert fit_precision([0.9] * 59 + [None] * 50, [True] * 109, target=0.95).threshold == 0.0
    with pytest.raises(UserError, match="10 independent rows"):
        fit_precision([0.9] * 500, [True] * 500, target=0.95, groups=[f"g{n % 10}" for n in range(500)])


def test_measures_tell_agreement_with_its_interval_and_audits_apart(tmp_path) -> None:
    store = open_store(tmp_path)
    nothing = measures(store)
    assert nothing["open"] == 0 and nothing["oldest_s"] is None and nothing["agreement"]["rate"] is None and not store.exists
    for n in range(10):
        item = QueueItem(id=f"q{n}", inference=f"i{n}", task="t", reason="audit" if n < 4 else "confidence")
        store.write_together([inference(n), item])
        if n < 9:
            store.write(QueueChange(item=f"q{n}", state="answered", by="ann", answer="{}", agrees=n != 5))
    found = measures(store, "t", days=3)
    assert (found["open"], found["answered_today"], len(found["per_day"])) == (1, 9, 3) and found["oldest_s"] >= 0
    expected = sps.binomtest(8, 9).proportion_ci(method="wilson")
    assert found["agreement"] == pytest.approx({"n": 9, "rate": 8 / 9, "low": expected.low, "high": expected.high}, abs=1e-6)
    assert found["audited"]["rate"] == 1.0 and found["audited"]["n"] == 4 and found["by_reason"]["confidence"]["n"] == 5
    assert measures(store, "other")["open"] == 0
