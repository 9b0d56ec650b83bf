"""Temperatures, thresholds, and what training writes of them."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch
from test_encoder_tokens import tiny, tokenizer  # noqa: F401
from test_encoder_training import FAST, example, load_predictor, task, train

from pp_assets.training.calibrate import Judged, calibrate
from pp_resources.models.encoder.calibration import (
    TEMPERATURES,
    abstain_threshold,
    binary_losses,
    coverage_curve,
    expected_calibration_error,
    fit_temperature,
)
from pp_resources.models.encoder.compile import compile_schema
from pp_resources.models.encoder.model import HeadStack
from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.models.encoder.tokens import Encoded


def drawn(n, sharper, seed):
    """(logits, labels) of four classes; labels are drawn from the softmax, then the logits are made `sharper` than that."""
    torch.manual_seed(seed)
    logits = torch.randn(n, 4) * 2
    return logits * sharper, torch.multinomial(logits.softmax(-1), 1).squeeze(1)


def table_of(logits, labels):
    halves = [(logits[i::2], labels[i::2]) for i in range(2)]
    losses = [[torch.nn.functional.cross_entropy(x / t, y).item() for t in TEMPERATURES] for x, y in halves]
    return losses, [len(y) for _, y in halves]


def judged(logits, labels, temperature):
    best = (logits / temperature).softmax(-1).max(-1)
    return best.values.tolist(), (best.indices == labels).tolist()


@pytest.mark.parametrize("sharper", [3.0, 0.4])
def test_a_temperature_undoes_what_made_a_head_too_sure_or_too_shy_also_on_rows_it_has_not_seen(sharper):
    fit = fit_temperature(*table_of(*drawn(400, sharper, 1)))
    assert fit.temperature == pytest.approx(sharper, rel=0.3)
    assert fit.after < fit.before
    logits, labels = drawn(2000, sharper, 2)
    nll = [torch.nn.functional.cross_entropy(logits / t, labels).item() for t in (1.0, fit.temperature)]
    ece = [expected_calibration_error(*judged(logits, labels, t)) for t in (1.0, fit.temperature)]
    assert nll[1] < nll[0] - 0.02
    assert ece[1] < 0.06 < 0.2 < ece[0]


def test_a_head_that_is_calibrated_or_has_few_rows_keeps_its_probabilities():
    kept = [fit_temperature(*table_of(*drawn(60, 1.0, seed))).temperature for seed in range(20)]
    assert kept.count(1.0) >= 10 and all(0.5 < t < 2 for t in kept)
    assert fit_temperature(*table_of(*drawn(18, 5.0, 0))) == (1.0, None, None)
    assert fit_temperature([[0.0] * len(TEMPERATURES)] * 2, [40, 0]) == (1.0, None, None)


def test_the_confidence_of_lists_is_raised_to_the_power_that_fits():
    draw = random.Random(0)
    honest = [0.05 + 0.94 * draw.random() for _ in range(4000)]
    right = [draw.random() < c for c in honest]
    shy = [c**2.0 for c in honest]
    fit = fit_temperature([binary_losses(shy[i:1000:2], right[i:1000:2]) for i in range(2)], [500, 500])
    assert fit.temperature == pytest.approx(2.0, rel=0.2)
    errors = [expected_calibration_error([c ** (1 / t) for c in shy[1000:]], right[1000:]) for t in (1.0, fit.temperature)]
    assert errors[1] < 0.04 < 0.1 < errors[0]
    assert all(math.isfinite(loss) for loss in binary_losses([0.0, 1.0], [True, False]))


def test_halves_that_contradict_each_other_keep_the_temperature_of_one():
    rising = list(TEMPERATURES)
    assert fit_temperature([rising, rising[::-1]], [50, 50]).temperature == 1.0


def test_each_label_of_a_set_gets_a_temperature_of_its_own_and_the_set_keeps_its_labels(tokenizer):  # noqa: F811
    schema = {"type": "object", "required": ["topics"], "properties": {"topics": {"type": "array", "items": {"enum": ["a", "b", "c"]}}}}
    torch.manual_seed(0)
    heads = HeadStack(compile_schema(schema), 8, 4, 0.0)
    honest = torch.randn(400, 3) * 2
    marks = torch.bernoulli(honest.sigmoid())
    row = Encoded([0], [(0, 0)], [0], False)

    def judged_rows(rows):
        outputs = [{"topics": [name for name, mark in zip("abc", marks[i]) if mark]} for i in rows]
        targets = [[marks[i].tolist()] for i in rows]
        yield Judged([row] * len(rows), [""] * len(rows), outputs, targets, [honest[rows] * 3], torch.ones(len(rows), 1).bool())

    predictor = EncoderPredictor("x", torch.nn.Identity(), heads, tokenizer, schema, 8)
    before = predictor.decode([honest * 3], [row] * 400, [""] * 400)
    found = calibrate(predictor, judged_rows, [1] * 400, lambda text, output: json.loads(text) == output)
    labels = found["calibration"]["heads"]["topics"]["labels"]
    assert labels["temperature"] == pytest.approx(3, rel=0.3) and labels["after"] < labels["before"]
    assert predictor.heads.heads[0].label_temperature == labels["temperature"]
    (among,) = predictor._choices([torch.tensor([[6.0, -6.0, 0.0]])], 1)
    assert among["topics"][0] == ("a", pytest.approx(1 / (1 + math.exp(-6 / labels["temperature"]))))
    after = predictor.decode([honest * 3], [row] * 400, [""] * 400)
    assert [values for values, _ in after] == [values for values, _ in before]


def uncalibrated(predictor):
    return [replace(head, temperature=1.0, label_temperature=1.0) for head in predictor.heads.heads]


@pytest.mark.parametrize(("kept", "passes"), [(2**28, 4), (0, 8)])
def test_one_pass_of_the_encoder_serves_the_temperatures_and_what_they_change(tiny, tmp_path, monkeypatch, kept, passes):  # noqa: F811
    """Two halves of 75 rows in batches of 64; where memory holds no logits, all rows are read again, to the same end."""
    val, runs = [example(i) for i in range(40, 190)], []
    train(tiny, tmp_path / "out", val=val, runs=runs)
    (run,) = runs
    run.predictor.set_heads(uncalibrated(run.predictor))
    count = []
    run.encoder.register_forward_hook(lambda *_: count.append(1))
    monkeypatch.setattr("pp_assets.training.calibrate.KEPT_BYTES", kept)
    found = calibrate(run.predictor, run._judged, [len(row.ids) for row in run.val_rows], run._right)
    assert len(count) == passes
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert found == {name: record[name] for name in ("calibration", "abstain")}


def test_the_curve_counts_equal_confidences_together():
    curve = coverage_curve([0.9, 0.5, 0.9, 0.7], [True, False, False, True])
    assert [(p.threshold, p.coverage, p.accuracy) for p in curve] == [(0.9, 0.5, 0.5), (0.7, 0.75, pytest.approx(2 / 3)), (0.5, 1.0, 0.5)]
    assert coverage_curve([], []) == []


def test_the_threshold_is_the_one_of_most_coverage_that_reaches_the_target():
    draw = random.Random(0)
    confidences = [draw.random() for _ in range(5000)]
    right = [draw.random() < c for c in confidences]
    curve = coverage_curve(confidences, right)
    point = abstain_threshold(curve, 0.9)
    # Right with probability c above a threshold t: (1 + t) / 2 of them.
    assert point.threshold == pytest.approx(0.8, abs=0.05)
    assert point.accuracy >= 0.9
    assert abstain_threshold(curve, 0.5).coverage == 1.0
    assert abstain_threshold(coverage_curve([0.9, 0.8], [False, False]), 0.5) is None


def test_the_error_of_calibration_is_the_gap_between_confidence_and_accuracy():
    assert expected_calibration_error([0.5] * 100, [i % 2 == 0 for i in range(100)]) == pytest.approx(0.0)
    assert expected_calibration_error([0.9] * 100, [i % 2 == 0 for i in range(100)]) == pytest.approx(0.4)
    assert expected_calibration_error([1.0], [False]) == pytest.approx(1.0)


def test_training_stores_temperatures_and_thresholds_and_the_loaded_model_keeps_to_them(tiny, tmp_path):  # noqa: F811
    val = [replace(example(i), output={**example(i).output, "ask": i % 3 == 0}) for i in range(40, 100)]
    # An answer that validation rows contradict: the head has to become less sure of it.
    runs = []
    train(tiny, tmp_path / "out", recipe=replace(FAST, params=replace(FAST.params, epochs=8, lr=1e-2, head_lr=1e-2)), val=val, runs=runs)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    heads = {h["path"]: h["temperature"] for h in json.loads((tmp_path / "out" / "adapter" / "heads.json").read_text())["heads"]}
    assert heads == {path: fit["temperature"] for path, fit in record["calibration"]["heads"].items()}
    ask = record["calibration"]["heads"]["ask"]
    assert ask["temperature"] > 1.2 and ask["after"] < ask["before"]
    assert record["calibration"]["rows"] == 60
    assert record["abstain"]["rows"] == 60
    assert all(point is None or (point["accuracy"] >= float(t) >= point["low"]) for t, point in record["abstain"].items() if t[0] == "0")
    texts = [row.input_text for row in val]
    loaded = load_predictor(tmp_path / "out", task(tiny), threads=1).predict(texts)
    own = runs[0].predictor.predict(texts)
    assert [a.confidence for a in loaded] == pytest.approx([b.confidence for b in own], abs=1e-4)
    runs[0].predictor.set_heads(uncalibrated(runs[0].predictor))
    assert [a.text for a in runs[0].predictor.predict(texts)] == [b.text for b in own]
    assert max(abs(a.fields["ask"] - b.fields["ask"]) for a, b in zip(runs[0].predictor.predict(texts), own)) > 0.02
