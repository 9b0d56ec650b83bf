"""Calibration: better on rows that were held out, or refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pp_assets.task.contract.calibrate import Calibration, as_record, calibrate
from pp_assets.task.contract.fit import Marks, fit
from pp_assets.task.contract.marks import read_marks
from pp_assets.task.contract.score import aggregate
from pp_assets.task.contract.spec import Contract, parse_contract
from pp_resources.errors import UserError

N = 120


def contract(how: str = "arithmetic", nodes: int = 4, **more: Any) -> Contract:
    below = [{"label": f"n{i}"} for i in range(nodes)]
    dimensions = [{"label": "a", "sub_dimensions": below[: nodes // 2]}, {"label": "b", "sub_dimensions": below[nodes // 2 :]}]
    return parse_contract({"aggregation": how, "dimensions": dimensions, **more}, "test")


def signals(seed: int, n: int = N, nodes: int = 4) -> np.ndarray:
    """Two nodes of graded scores, two of right or wrong, a few of them missing."""
    r = np.random.default_rng(seed)
    raw = np.clip(r.beta(2, 1.2, (n, 1)) + r.normal(0, 0.25, (n, nodes)), 0, 1)
    raw[:, 2:] = raw[:, 2:] > 0.5
    raw[r.random(raw.shape) < 0.05] = np.nan
    return raw


def marked(raw: np.ndarray, score: np.ndarray | None, groups: list[str] | None = None, pairs: np.ndarray | None = None) -> Marks:
    return Marks(raw, np.zeros_like(raw, bool), np.zeros((len(raw), 2), bool), groups or [str(i) for i in range(len(raw))], score, pairs)


def total(made: Contract, raw: np.ndarray) -> np.ndarray:
    return aggregate(made, raw, np.zeros_like(raw, bool), np.zeros((len(raw), len(made.dimensions)), bool), [{} for _ in raw]).total


def biased(seed: int, how: str = "arithmetic") -> Marks:
    """Raters who are strict: they give 0.1 to what is worth nothing and 0.8 to the best, and fall off faster than the total does."""
    raw = signals(seed)
    truth = np.nan_to_num(total(contract(how), raw), nan=0.5)
    return marked(raw, np.clip(0.1 + 0.7 * truth**2.5 + np.random.default_rng(seed).normal(0, 0.08, N), 0, 1))


@pytest.mark.parametrize("how", ["arithmetic", "geometric", "harmonic"])
def test_a_planted_bias_of_raters_is_learnt(how: str) -> None:
    found = calibrate(contract(how), biased(1, how))
    mae = found.of("mae")
    assert not found.refused and mae.difference and mae.difference[2] < -0.05
    assert mae.after and mae.after[1] < mae.after[0] < mae.after[2] < mae.before[1]
    assert {m.name for m in found.measured} == {"mae", "brier", "ece", "auc", "pair_accuracy"}
    # It is that good on rows that neither the folds nor the fit have seen.
    fresh = biased(2, how)
    before, after = (np.nanmean(np.abs(total(c, fresh.raw) - fresh.score)) for c in (contract(how), found.contract))
    assert after < 0.6 * before


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_refused(seed: int) -> None:
    r = np.random.default_rng(seed)
    found = calibrate(contract(), marked(signals(seed), r.random(N)))
    assert "not surely better than saying the median" in found.refused or "not surely smaller" in found.refused


def test_what_is_right_already_is_not_made_better() -> None:
    raw = signals(3)
    assert "not surely smaller" in calibrate(contract(), marked(raw, np.nan_to_num(total(contract(), raw), nan=0.5))).refused


def test_preferences_teach_weights_and_a_coin_teaches_nothing() -> None:
    raw, r = signals(4, 2 * N), np.random.default_rng(4)
    pairs = np.arange(2 * N).reshape(-1, 2)
    better = np.nan_to_num(raw[:, 0]) + 0.05 * r.random(2 * N)
    ordered = np.where((better[pairs[:, 0]] > better[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    groups = [str(i // 2) for i in range(2 * N)]
    found = calibrate(contract(), marked(raw, None, groups, ordered))
    accuracy = found.of("pair_accuracy")
    assert not found.refused and accuracy.after and accuracy.after[0] > 0.8 > accuracy.before[0]
    weights = {path: node.weight for path, node in found.contract.nodes()}
    assert weights["a/n0"] > 2 * weights["a/n1"]
    tossed = np.where(r.random((N, 1)) < 0.5, pairs, pairs[:, ::-1])
    assert "not surely higher" in calibrate(contract(), marked(raw, None, groups, tossed)).refused


def test_maps_rise_weights_stay_positive_and_the_same_marks_give_the_same() -> None:
    first, again = (fit(contract(), biased(5)) for _ in range(2))
    assert first == again and parse_contract(first.plain(), "written") == first
    for _, node in first.nodes():
        assert node.weight > 0 and node.map and node.map == sorted(node.map) and all(0 <= y <= 1 for _, y in node.map)


def test_what_people_fixed_is_kept() -> None:
    raw = contract().plain()
    raw["dimensions"][0]["sub_dimensions"][0]["weight"] = 0.0
    raw["dimensions"][0]["sub_dimensions"][1]["hard_gate"] = 0.3
    marks = biased(6)
    constant = marks.raw.copy()
    constant[:, 3] = 1.0
    made = fit(parse_contract(raw, "test"), marked(constant, marks.score))
    nodes = dict(made.nodes())
    assert nodes["a/n0"].weight == 0 and nodes["a/n1"].hard_gate == 0.3
    assert nodes["b/n3"].map is None, "a node that says the same of everything teaches nothing"


def test_outputs_of_one_input_are_held_out_together() -> None:
    """The same input marked four times: were it in two folds, a fit that remembers noise would pass."""
    marks = biased(7)
    groups = [str(i // 4) for i in range(N)]
    found = calibrate(contract(), Marks(marks.raw, marks.shut, marks.closed, groups, marks.score))
    assert found.groups == 30
    with pytest.raises(UserError, match="mark 20 or more"):
        calibrate(contract(), Marks(marks.raw, marks.shut, marks.closed, ["one"] * N, marks.score))


def test_the_auc_needs_good_and_bad_outputs() -> None:
    marks = biased(8)
    found = calibrate(contract(), marked(marks.raw, 0.5 + marks.score / 2))
    assert found.of("auc").before is None and "every mark" in found.of("auc").reason
    record = as_record(found)
    assert json.loads(json.dumps(record)) == record and record["measured"]["auc"]["after"] is None


def test_auc_and_pairs_are_those_of_the_field() -> None:
    from sklearn.metrics import roc_auc_score

    from pp_assets.task.contract.calibrate import _concordance

    r = np.random.default_rng(0)
    said, good = r.random(50).round(1), (r.random(50) < 0.4).astype(float)
    counts = r.integers(0, 3, (4, 50)).astype(float)
    for weights, found in zip(counts, _concordance(counts, said, good)):
        assert found == pytest.approx(roc_auc_score(good, said, sample_weight=weights))


def write(file: Path, lines: list[Any]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


SHORT = parse_contract({"output_schema": {"type": "object"}, "questions": [{"label": "json", "kind": "schema"}]}, "test")


def test_marks_of_each_kind_are_read(tmp_path: Path) -> None:
    base = {"input_text": "t", "output": {"a": 1}}
    found = read_marks(write(tmp_path / "s", [base | {"score": 0.25}, {"llm_input": "t", "llm_output": "x", "score": 1}]), SHORT)
    assert found.score is not None and found.score.tolist() == [0.25, 1] and found.raw[:, 0].tolist() == [1, 0]
    likert = [base | {"rating": r} for r in (1, 3, 5, "Strongly Disagree", "agree")]
    found = read_marks(write(tmp_path / "l", likert), SHORT)
    assert found.score is not None and found.score.tolist() == [0, 0.5, 1, 0, 0.75]
    found = read_marks(write(tmp_path / "p", [{"input_text": "t", "chosen": {}, "rejected": "x"}] * 2), SHORT)
    assert found.pairs is not None and found.pairs.tolist() == [[0, 1], [2, 3]] and found.raw[:, 0].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"input_text": "t", "output": {}, "scor": 1}, "unknown field 'scor'; did you mean 'score'"),
        ({"input_text": "t", "output": {}}, "has no mark; give score"),
        ({"input_text": "t", "output": {}, "score": 2}, "score 2 is no mark"),
        ({"input_text": "t", "output": {}, "rating": "great"}, "rating 'great' is no mark"),
        ({"input_text": "t", "score": 1}, "'output' is missing"),
        ({"input_text": "t", "output": {}, "llm_output": 1, "score": 1}, "output and llm_output together"),
        ({"input_text": "t", "chosen": {}}, "'rejected' is missing"),
        ([], "is not an object"),
    ],
)
def test_a_line_that_is_no_mark_is_told_with_its_place(line: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as error:
        read_marks(write(tmp_path / "marks.jsonl", [line]), SHORT)
    assert "marks.jsonl:1" in str(error.value)


def test_a_calibration_can_be_told() -> None:
    found = calibrate(contract(), biased(9))
    assert isinstance(found, Calibration) and as_record(found)["inputs"] == N and as_record(found)["refused"] is None
