"""Does generation help? The same recipe trained with and without generated rows, several seeds, compared on the same items.

Each item counts once: its score is the mean over seeds, so that seeds make the comparison sharper and no item is counted twice. More rows
are also more steps, so there are two sides without generated rows: the recipe as it is, and with as many epochs more as the rows were
multiplied by (equal steps). What a user gains is the first; what the rows themselves add is the second. Of few rows the recipe makes as
many steps by itself: then both sides are one training.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.evaluation.compare import Comparison, Items, compare_tables
from pp_assets.evaluation.predictions import SUFFIX, PredictionRow, make_rows, read_predictions, write_predictions
from pp_assets.evaluation.scoring import Scored, score_rows
from pp_assets.evaluation.tables import Table, lower_is_better, of_answers
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_assets.training.params import EncoderParams
from pp_assets.training.recipes import Recipe
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
from pp_resources.progress import steps

if TYPE_CHECKING:
    from pp_assets.training.encoder import EncoderRun

WITH, WITHOUT, MORE_STEPS = "with generated rows", "without", "without, equal steps"
ARMS = (WITHOUT, WITH, MORE_STEPS)
Answers = Mapping[str, Mapping[int, Sequence[PredictionRow]]]
"""By side and seed."""


@dataclass(frozen=True)
class Rows:
    """What is learnt from, what chooses the epoch, and the rows that are answered by name (a split)."""

    train: Sequence[Example]
    generated: Sequence[Example]
    val: Sequence[Example]
    asked: Mapping[str, Sequence[Example]]


def answers(
    spec: TaskSpec, recipe: Recipe, rows: Rows, seeds: int, *, threads: int, work: Path, arms: Sequence[str] = ARMS
) -> dict[str, Answers]:
    """By split what each side says with each seed. What was answered in `work` before is read, so that a killed run goes on there."""
    found: dict[str, dict[str, dict[int, Sequence[PredictionRow]]]] = {split: {arm: {} for arm in arms} for split in rows.asked}
    with steps("with and without generated rows", len(arms) * seeds) as advance:
        for seed in range(seeds):
            for arm in arms:
                run = _run(spec, recipe, rows, arm, spec.seed + seed, threads)
                folder = work / f"{'with' if arm == WITH else 'without'}-{run.epochs}-epochs-{seed}"
                if not all((folder / f"{split}{SUFFIX}").is_file() for split in rows.asked):
                    _train_and_answer(spec, run, rows, folder)
                for split in rows.asked:
                    found[split][arm][seed] = read_predictions(folder / f"{split}{SUFFIX}")
                advance(f"seed {seed + 1} of {seeds}, {arm}")
    return dict(found)


def compared(spec: TaskSpec, said: Answers, metric: str | None = None, level: float | None = None) -> dict[str, Comparison]:
    """The side with generated rows against each other one, seeds pooled by item."""
    pooled = {arm: _pooled(spec, list(of_seed.values()), metric) for arm, of_seed in said.items() if of_seed}
    (scored, name, candidate), found = pooled[WITH], {}
    higher = scored.scoring.higher_is_better if name == scored.scoring.primary else not lower_is_better(name)
    items = Items(scored.clusters, scored.scoring.alpha, scored.scoring.seed)
    for arm in (WITHOUT, MORE_STEPS):
        if arm in pooled:
            found[arm] = compare_tables(name, candidate, pooled[arm][2], items, higher_is_better=higher, level=level)
    return found


def decide(spec: TaskSpec, said: Answers) -> dict[str, Any]:
    """Whether generated rows are used, on validation rows: only when they are better than the recipe as it is with the task's confidence.

    Epochs were chosen on the same rows, by every side alike. `confidence` is one-sided, so the lower end of the interval decides.
    """
    wanted = spec.generation.confidence
    found = compared(spec, said, level=2 * wanted - 1 if wanted > 0.5 else 0.01)[WITHOUT]
    if found.effect is None or found.low is None:
        return {"use": False, "reason": f"no comparison: {found.reason or found.interval}", "comparison": asdict(found)}
    use = found.low > 0
    what = f"{found.metric} on {found.n} validation rows {found.effect:+.4f}, lower end {found.low:+.4f} at {wanted:.0%} one-sided"
    said_so = "generated rows are used" if use else "generated rows are left out: they were not shown to help"
    return {"use": use, "reason": f"{said_so} ({what})", "comparison": asdict(found)}


def line_of(found: Comparison, other: str) -> str:
    """One comparison as a sentence."""
    if found.effect is None or found.low is None or found.high is None:
        return f"{found.metric} against {other}: no comparison, {found.reason or found.interval}"
    values = f"{found.value:.4f} against {found.other_value:.4f} {other}"
    return f"{found.metric} {values}: {found.effect:+.4f} ({found.low:+.4f} to {found.high:+.4f}), n {found.n}, p {found.p_value:.3g}"


def _train_and_answer(spec: TaskSpec, run: "EncoderRun", rows: Rows, folder: Path) -> None:
    from pp_assets.training.loop import train
    from pp_assets.training.predictors import load_predictor

    model = folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    train(run, model, work=folder / "work")
    predictor = load_predictor(model, spec, run.threads)
    for split, asked in rows.asked.items():
        said = predictor.predict([row.input_text for row in asked])
        made = make_rows(list(asked), said, lambda out: dump_output(spec.io_schema.output, out))
        write_predictions(folder / f".{split}{SUFFIX}", made)
        (folder / f".{split}{SUFFIX}").replace(folder / f"{split}{SUFFIX}")
    shutil.rmtree(model)


def _run(spec: TaskSpec, recipe: Recipe, rows: Rows, arm: str, seed: int, threads: int) -> "EncoderRun":
    from pp_assets.training.encoder import EncoderRun

    params = recipe.params
    if not isinstance(params, EncoderParams):
        raise UserError("the comparison is made with an encoder", where=f"variant {recipe.name}", how="use encoder-lora")
    run = EncoderRun(spec, recipe, [*rows.train, *rows.generated] if arm == WITH else rows.train, rows.val, seed, threads)
    if arm == MORE_STEPS:
        other = _run(spec, recipe, rows, WITH, seed, threads)
        run.epochs = max(run.epochs, math.ceil(other.epochs * other.steps_per_epoch / run.steps_per_epoch))
    return run


def _pooled(spec: TaskSpec, seeds: Sequence[Sequence[PredictionRow]], metric: str | None) -> tuple[Scored, str, Table]:
    """The counts of each item, mean over seeds."""
    scored = [score_rows(spec, rows) for rows in seeds]
    name = metric or of_answers(scored[0].scoring.primary)
    tables = [one.tables[name] for one in scored]
    return scored[0], name, replace(tables[0], counts=np.mean([table.counts for table in tables], axis=0, dtype=float))
