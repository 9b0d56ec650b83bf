"""Does calibration learn what raters mean, and is it refused where they mean nothing?

    .venv/bin/python -m bench.data_parts.contracts DATA

Answers of varying quality are made from the gold outputs of restaurant8k and support-triage: fields left out, labels exchanged,
values that do not stand in the text, keys that nobody asked for. Raters with a planted bias mark them: some nodes count five times
as much for them as for the contract, they are strict (the mark falls faster than the quality), and each mark has noise. The contract
is calibrated on the marks of 200 answers; its error is told on held-out folds, and on up to 400 fresh answers to other inputs that
calibration never saw. On noise the marks are drawn without looking at the answers.
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pp_assets.evaluation.stats.groups import Clusters
from pp_assets.evaluation.stats.intervals import proportion_interval
from pp_assets.task.contract.calibrate import calibrate
from pp_assets.task.contract.derive import derive
from pp_assets.task.contract.fit import Marks
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import Scores, aggregate, score_rows
from pp_assets.task.contract.spec import Contract
from pp_assets.task.examples import Example
from pp_assets.task.spec import load_task, parse_spec
from pp_resources.json_schema import leaf_fields
from pp_resources.settings import PROJECT_ROOT

SEEDS, NOISE_SEEDS, MARKED, FRESH = 5, 20, 200, 400
BIAS, CURVE, NOISE = 5.0, 2.0, 0.08


def measure(data: Path) -> dict[str, float]:
    """Prints a line for each data set and seed; means over both data sets."""
    print("| data | seed | held-out MAE before | after | difference | fresh MAE before | after | pairs in order, fresh, before | after |")
    print("| --- | --: | --- | --- | --- | --- | --- | --- | --- |")
    fresh: list[tuple[float, float]] = []
    for name in ("restaurant8k", "support-triage"):
        contract, rows = _task(name, data)
        for seed in range(SEEDS):
            fresh.append(_planted(name, contract, rows, seed))
    refused = [_noise(*_task(name, data), seed) for name in ("restaurant8k", "support-triage") for seed in range(NOISE_SEEDS // 2)]
    before, after = (np.array([pair[side] for pair in fresh]) for side in (0, 1))
    gain = before - after
    span = proportion_interval(np.array(refused, float), Clusters.of([str(i) for i in range(len(refused))]))
    print(f"fresh answers: MAE {_told(before)} before, {_told(after)} after")
    print(f"smaller by {_told(gain)}, in {(gain > 0).sum()} of {len(gain)} runs")
    print(f"noise refused: {sum(refused)} of {len(refused)} [{span.low:.3f}, {span.high:.3f}]")
    return {
        "contract_mae_before": float(before.mean()),
        "contract_mae_after": float(after.mean()),
        "contract_noise_refused": sum(refused) / len(refused),
    }


def _task(name: str, data: Path) -> tuple[Contract, list[tuple[str, Any]]]:
    if name == "support-triage":
        task = load_task(name, PROJECT_ROOT / "tasks")
        lines = (task.folder / "data.jsonl").read_text("utf-8").splitlines()
        return derive(task.spec), _rows(lines)
    schema = json.loads((data / name / "schema.json").read_text("utf-8"))
    raw = {"name": name, "instruction_template": "{{ input_text }}", "io_schema": {"output": schema}}
    rows = _rows((data / name / "train.jsonl").read_text("utf-8").splitlines()[:3000])
    # Its schema marks nothing as copied: the rows tell.
    return derive(parse_spec(raw, name), [Example(str(i), text, output) for i, (text, output) in enumerate(rows)]), rows


def _rows(lines: Sequence[str]) -> list[tuple[str, Any]]:
    rows = [json.loads(line) for line in lines]
    return [(row["input_text"], row["output_json"]) for row in rows]


def _answers(contract: Contract, rows: list[tuple[str, Any]], r: random.Random) -> list[Row]:
    """Each gold output with faults of a rate of its own, from none to most fields."""
    leaves = leaf_fields(contract.output_schema or {})
    made = []
    for text, gold in rows:
        rate, output = r.random() ** 2, dict(gold)
        for leaf in leaves:
            if leaf.path not in output or r.random() > rate:
                continue
            if leaf.values:
                output[leaf.path] = r.choice([*leaf.values, "something else"])
            elif isinstance(output[leaf.path], str):
                output[leaf.path] = r.choice([output[leaf.path] + " or so", "unknown", ""])
            elif isinstance(output[leaf.path], list):
                output[leaf.path] = [*output[leaf.path], r.choice(["one more", "unknown"])]
            else:
                output.pop(leaf.path)
        if r.random() < rate / 2:
            output["comment"] = "I hope this helps"
        made.append(Row(text, output, gold))
    return made


def _planted(name: str, contract: Contract, rows: list[tuple[str, Any]], seed: int) -> tuple[float, float]:
    r, draw = random.Random(seed), np.random.default_rng(seed)
    some = r.sample(rows, min(len(rows), MARKED + FRESH))
    # A hard gate would give 0 to what raters give something: raters have none.
    plain = _without_gates(contract)
    scores = score_rows(plain, _answers(plain, some, r))
    marks = _marks(scores, draw)
    first, rest = _part(scores, marks, slice(0, MARKED)), _part(scores, marks, slice(MARKED, None))
    found = calibrate(plain, first, seed=seed)
    before, after = (_total(c, rest) for c in (plain, found.contract))
    errors = [float(np.nanmean(np.abs(t - rest.score))) for t in (before, after)]
    mae = found.of("mae")
    assert mae.before and mae.after and mae.difference
    cells = [f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]" for v in (mae.before, mae.after)]
    cells.append(f"{mae.difference[0]:+.3f} [{mae.difference[1]:+.3f}, {mae.difference[2]:+.3f}]")
    cells += [f"{e:.3f}" for e in errors] + [f"{_in_order(t, rest.score):.3f}" for t in (before, after)]
    print(f"| {name} | {seed} | {' | '.join(cells)} |" + (f" refused: {found.refused}" if found.refused else ""), flush=True)
    return errors[0], errors[0] if found.refused else errors[1]


def _noise(contract: Contract, rows: list[tuple[str, Any]], seed: int) -> bool:
    r = random.Random(seed)
    plain = _without_gates(contract)
    scores = score_rows(plain, _answers(plain, r.sample(rows, MARKED), r))
    marks = np.random.default_rng(seed).integers(0, 5, MARKED) / 4
    return bool(calibrate(plain, _part(scores, marks, slice(None)), seed=seed).refused)


def _marks(scores: Scores, draw: np.random.Generator) -> np.ndarray:
    """What biased raters say of the same answers."""
    heavy = draw.permutation(len(scores.paths)) < len(scores.paths) / 3
    weights = np.where(heavy, BIAS, 1.0)
    there = ~np.isnan(scores.raw)
    quality = np.nansum(scores.raw * weights, 1) / np.where(there, weights, 0).sum(1)
    marks = 0.05 + 0.85 * quality**CURVE + draw.normal(0, NOISE, len(quality))
    # On a scale of eleven marks.
    return np.asarray((marks.clip(0, 1) * 10).round() / 10)


def _without_gates(contract: Contract) -> Contract:
    dimensions = [
        d.model_copy(update={"sub_dimensions": [n.model_copy(update={"hard_gate": None}) for n in d.sub_dimensions]})
        for d in contract.dimensions
    ]
    return contract.model_copy(update={"dimensions": dimensions})


def _part(scores: Scores, marks: np.ndarray, part: slice) -> Marks:
    groups = [str(i) for i in range(len(marks))][part]
    return Marks(scores.raw[part], scores.shut[part], scores.closed[part], groups, marks[part])


def _total(contract: Contract, marks: Marks) -> np.ndarray:
    return aggregate(contract, marks.raw, marks.shut, marks.closed, [{} for _ in marks.raw]).total


def _in_order(said: np.ndarray, marked: np.ndarray) -> float:
    """Share of pairs with different marks in the right order, ties one half."""
    above = marked[:, None] > marked[None]
    gap = said[:, None] - said[None]
    return float((np.sign(gap.round(12))[above] / 2 + 0.5).mean())


def _told(values: np.ndarray) -> str:
    """Mean over runs with Student's t."""
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return f"{values.mean():.4f} [{low:.4f}, {high:.4f}]"


if __name__ == "__main__":
    print("RESULT " + " ".join(f"{key}={value:.4f}" for key, value in measure(Path(sys.argv[1])).items()))
