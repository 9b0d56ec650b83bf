"""What is known of a task before a test: counts of its test split, and how its systems have disagreed. No test row is read."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.evaluation.plan import DISCORDANCE, EFFECTS, Basis, Known, Sampling, assumed, observed, plan
from pp_assets.evaluation.tables import TIMED
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pp_assets.pipeline import Pipeline


def plan_test(
    p: "Pipeline",
    name: str,
    effects: "Sequence[float]" = EFFECTS,
    *,
    discordance: float | None = None,
    icc: float | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008  (frozen)
) -> dict[str, Any]:
    """The plan of a task's test by its primary metric. What is given counts; else what was observed; else what is usual, named as such."""
    task = p.task(name)
    primary = task.spec.primary_metric
    sizes = group_sizes(p, name)
    basis = _seen(p, name) if discordance is None or icc is None else None
    if primary.name.startswith(TIMED) and not basis:
        how = f"run 'pp data build {name}' first, which makes baselines"
        raise UserError(f"nothing is known yet of how {primary.name} varies", where=name, how=how)
    if basis is None:
        usual = Known(DISCORDANCE, "assumed", "no answers are stored yet; say otherwise with --discordance")
        basis = Basis(usual, assumed(sizes, icc))
    if discordance is not None:
        design = assumed(sizes, None) if basis.variance else basis.design
        basis = Basis(Known(discordance, "given", "--discordance"), design)
    if icc is not None:
        basis = replace(basis, design=assumed(sizes, icc))
    return {"task": name, **plan(primary.name, sizes, basis, effects, sampling, primary.alpha)}


def group_sizes(p: "Pipeline", name: str) -> list[int]:
    """Sizes of the groups of the test split: of the data set that is built, or of one that is built aside and thrown away.

    Only the columns that say where a row belongs are read, which opens no test split.
    """
    from pp_assets.task.dataset import build_dataset, dataset_inputs

    task = p.task(name)
    made = p.store.current(stages.DATASETS, name)
    if made and all(made.inputs.get(key) == value for key, value in dataset_inputs(task).items()):
        return _sizes(made.path)
    with tempfile.TemporaryDirectory(prefix="pp-power-") as folder:
        build_dataset(task, Path(folder))
        return _sizes(Path(folder))


def _sizes(dataset: Path) -> list[int]:
    import pyarrow.parquet as pq

    from pp_assets.task.dataset import CLEAN

    rows = pq.read_table(dataset / CLEAN, columns=["group"], filters=[("split", "=", "test")])
    found = sorted(Counter(rows.column("group").to_pylist()).values())
    if not found:
        raise UserError("the test split is empty", where=str(dataset), how="give it a ratio in eval_split, or a file")
    return found


def _seen(p: "Pipeline", name: str) -> Basis | None:
    """From the newest evaluation its variant against the best baseline; without one the two best baselines."""
    from pp_assets.evaluation.compare import compare_scored
    from pp_assets.evaluation.leaderboard import ranked, score_all
    from pp_assets.evaluation.predictions import read_systems

    task = p.task(name)
    keys = [key for key in p.store.keys(stages.EVALUATIONS) if key.startswith(f"{name}/")]
    reports = sorted((p.current(stages.EVALUATIONS, key) for key in keys), key=lambda a: a.created_at)
    base = p.store.current(stages.BASELINES, name)
    if not reports and not base:
        return None
    made = reports[-1] if reports else base
    assert made is not None
    systems = read_systems(made.file("predictions"))
    scored = score_all(task, systems)
    order = ranked({s["name"]: scored[s["name"]] for s in systems if s["kind"] == "baseline"})
    pair = [next(s["name"] for s in systems if s["kind"] == "candidate"), *order[:1]] if reports else order[:2]
    if len(pair) < 2:
        return None
    a, b = pair
    found = compare_scored(scored[a], scored[b])
    return observed(found, f"{a} against {b} on {found.n} items", task.spec.primary_metric.alpha)
