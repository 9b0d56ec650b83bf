"""The rows behind a comparison, and the confidences of a report."""

from dataclasses import replace

import numpy as np
import pytest
from test_eval_predictions import answers, row, spec, system

from pp_assets.evaluation import confidence
from pp_assets.evaluation.confidence import calibration
from pp_assets.evaluation.examples import ROWS, outcomes
from pp_assets.evaluation.report import build_report
from pp_assets.evaluation.scoring import score_rows
from pp_resources.models.encoder.calibration import expected_calibration_error

TRUTH = {"intent": "buy", "urgent": True, "order": "A1", "items": [], "count": None}


def side(right, **more):
    """Answers of which those where `right` holds are right; the rest have another intent and no order."""
    wrong = {**TRUTH, "intent": "sell", "order": None}
    return score_rows(spec(), [row(i, TRUTH, TRUTH if held else wrong, confidence=0.5 + i / 100, **more) for i, held in enumerate(right)])


def test_wins_losses_and_ties_are_counted_with_their_rows():
    a, b = side([True, True, False, False, True, False]), side([True, False, True, False, False, False])
    found = outcomes(a, b, "object_exact_match")
    assert [found[key] for key in ("wins", "losses", "ties", "both_wrong")] == [2, 1, 3, 2]
    ids = {key: [one["item_id"] for one in rows] for key, rows in found["rows"].items()}
    assert ids == {"wins": ["00004", "00001"], "losses": ["00002"], "both_wrong": ["00005", "00003"]}, "the surest first"
    lost = found["rows"]["losses"][0]
    assert lost["fields"] == [
        {"path": "intent", "expected": '"buy"', "candidate": '"sell"', "baseline": '"buy"'},
        {"path": "order", "expected": '"A1"', "candidate": "null", "baseline": '"A1"'},
    ]
    assert lost["sides"]["candidate"]["wrong_fields"] == ["intent", "order"] and lost["sides"]["baseline"]["right"]


def test_few_rows_are_shown_of_many():
    found = outcomes(side([True] * 30), side([False] * 30), "object_exact_match", ("a", "b"))
    assert found["wins"] == 30 and len(found["rows"]["wins"]) == ROWS and list(found["rows"]["wins"][0]["sides"]) == ["a", "b"]


def test_a_metric_of_the_corpus_is_judged_by_its_field_and_says_so():
    found = outcomes(side([True, False]), side([False, False]), "field_f1.intent")
    assert (found["metric"], found["wins"], found["ties"]) == ("field_exact.intent", 1, 1)
    assert "field_f1.intent is one of the whole corpus" in found["reason"]


def test_less_time_wins_and_an_item_without_a_value_counts_neither_way():
    slow, fast = side([True] * 4, latency_ms=9.0), side([True] * 4, latency_ms=3.0)
    assert outcomes(fast, slow, "latency_ms_mean")["wins"] == 4 == outcomes(slow, fast, "latency_ms_mean")["losses"]
    broken = score_rows(spec(), [replace(r, output="no") if i < 2 else r for i, r in enumerate(side([True] * 5).rows)])
    found = outcomes(broken, side([True] * 5), "not_in_input_rate")
    assert (found["ties"], found["both_wrong"]) == (3, 0) and "2 items have no value on one side" in found["reason"]


def test_an_answer_that_is_no_json_shows_no_values():
    found = outcomes(score_rows(spec(), [row(0, TRUTH, "no")]), side([True]), "object_exact_match")
    (one,) = found["rows"]["losses"]
    assert one["sides"]["candidate"]["problem"].startswith("not JSON") and {f["candidate"] for f in one["fields"]} == {None}


def sure(n=80, seed=1):
    rng, rows = np.random.default_rng(seed), answers(0.7, 1, n)
    return [replace(r, confidence=float(round(rng.random(), 6)), fields={"intent": float(round(rng.random(), 6))}) for r in rows]


def test_a_report_tells_the_calibration_of_its_confidences():
    rows = sure()
    report = build_report(spec(), [system("a", rows, "candidate")], "a")
    whole, intent, urgent = report["calibration"][:3]
    scored = score_rows(spec(), rows)
    expected = expected_calibration_error([r.confidence for r in scored.rows], scored.exact.tolist())
    assert whole["field"] == "(whole object)" and whole["ece"]["value"] == pytest.approx(expected, abs=1e-6)
    assert 0 < whole["ece"]["low"] < expected < whole["ece"]["high"] and whole["ece"]["n"] == 80 and intent["field"] == "intent"
    assert urgent["ece"]["value"] is None and urgent["ece"]["reason"] == "0 answers have a confidence; 20 are needed"
    for part in whole["reliability"]:
        assert part["low"] <= part["right"] <= part["high"]
    assert sum(part["n"] for part in whole["reliability"]) == 80


def test_an_interval_of_the_calibration_error_holds_the_true_one_and_not_another():
    """Confidences that say what comes true have an error of 0, those that say .25 too much one of .25."""
    rng, held = np.random.default_rng(0), {0.0: 0, 0.25: 0}
    for over in held:
        for _ in range(12):
            said = rng.choice([0.5, 0.6, 0.7, 0.8, 0.9], 120)
            came = rng.random(120) < said - over
            rows = [row(i, TRUTH, TRUTH if hit else {**TRUTH, "intent": "ask"}) for i, hit in enumerate(came)]
            found = calibration(score_rows(spec(), [replace(r, confidence=float(c)) for r, c in zip(rows, said)]))[0]["ece"]
            assert found["low"] <= found["value"] <= found["high"]
            held[over] += found["low"] <= over <= found["high"] and not found["low"] <= 0.25 - over <= found["high"]
    assert min(held.values()) >= 10, held


def test_weights_are_held_in_parts_without_changing_a_number(monkeypatch):
    scored = score_rows(spec(), sure())
    whole = calibration(scored)[0]
    monkeypatch.setattr(confidence, "AT_ONCE", 1000)
    parts = calibration(scored)[0]
    for key in ("ece", "aurc"):
        assert parts[key]["low"] == pytest.approx(whole[key]["low"], abs=1e-12)
        assert parts[key]["high"] == pytest.approx(whole[key]["high"], abs=1e-12)
