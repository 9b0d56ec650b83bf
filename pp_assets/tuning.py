"""The stage that searches hyper-parameters of a variant for a task, on training and validation rows alone.

The trials lie in `<home>/tune/<task>/<variant>/<digest>/` and outlive a kill; what they say becomes an artifact when the budget is spent.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.evaluation.tables import lower_is_better, of_answers
from pp_assets.sources import source_digest
from pp_assets.training.overrides import recipe_of, with_params
from pp_assets.training.recipes import Recipe, get_recipe
from pp_assets.training.search import Budget, Report, Search, Stopped, Trial, corrected_gain
from pp_assets.training.space import Range, as_params, space_of, start_of
from pp_assets.trainings import log_metrics, new_run, refuse_leaks, training_inputs
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task


def tuning(p: "Pipeline", name: str, variant: str, budget: Budget, on_trial: Callable[[Trial], None] = lambda _trial: None) -> Artifact:
    """trials.json, best.json, search.png, answers/ of the recipe's own settings and of the best. More budget adds to the same trials."""
    task, rows = p.task(name), p.training_rows(name)
    refuse_leaks(p, name)
    if not rows.val:
        raise UserError("there is no validation row to choose by", where=f"{name}: eval_split", how="give the validation split a share")
    recipe, metric = untuned(task, variant), of_answers(task.spec.primary_metric.name)
    space = {k: asdict(v) if isinstance(v, Range) else list(v) for k, v in space_of(recipe).items()}
    inputs = training_inputs(task, recipe, rows, p.settings.device) | {
        "space": digest(space),
        "search": source_digest("pp_assets.training.search"),
    }
    folder = p.settings.home / "tune" / name / variant / digest(inputs)[:16]

    def build(out: Path) -> Mapping[str, Any]:
        sign = -1 if lower_is_better(metric) else 1
        search = Search(folder / "trials.db", recipe, seed=task.spec.seed, rows=len(rows.val), sign=sign)
        with p.tracker.run(name, variant, "search") as parent:
            parent.params({"budget": asdict(budget), "space": space, "seed": task.spec.seed, "val_rows": len(rows.val)})

            def train(number: int, params: dict[str, Any], report: Report) -> None:
                with p.tracker.run(name, variant, f"trial {number}", within=parent.where) as run:
                    run.params({"recipe": variant, **params})
                    _train(p, task, replace(recipe, params=replace(recipe.params, **params)), rows, report, run, _answers(folder, number))

            search.run(budget, train, on_trial)
            found = judged(task, recipe, search, folder, metric)
            _write(out, search, found, folder)
            parent.metrics({k: found[k] for k in ("best_value", "default_value", "effect", "corrected")} | {"trials": len(search.trials)})
            parent.file(out)
            return {**found, "mlflow": parent.where}

    return p.store.produce(stages.TUNINGS, f"{name}/{variant}", inputs | {"budget": digest(asdict(budget))}, build)


def untuned(task: "Task", variant: str) -> Recipe:
    """The recipe with what the task sets outside of the search space: inside it a search starts from the recipe's own values."""
    return with_params(get_recipe(variant), outside(task, variant), f"{task.file}: params.{variant}")


def outside(task: "Task", variant: str) -> dict[str, Any]:
    """The parameters that a task sets for a variant and that no search changes."""
    recipe = recipe_of(task, variant)
    return {k: v for k, v in task.spec.params.get(variant, {}).items() if k not in as_params(recipe, start_of(recipe, space_of(recipe)))}


def _train(p: "Pipeline", task: "Task", recipe: Recipe, rows: Any, report: Report, run: Any, answers: Path) -> None:
    """One trial, in a folder that is thrown away; a trial that was killed begins again, so that its epochs are all reported."""
    from pp_assets.evaluation.predictions import make_rows, write_predictions
    from pp_assets.training.loop import train
    from pp_assets.training.predictors import load_predictor

    stopped = None
    with tempfile.TemporaryDirectory(prefix="pp-trial-") as made:
        out = Path(made) / "out"
        training = new_run(task, recipe, rows, p.settings.threads, p.settings.device)

        def on_metrics(values: Mapping[str, Any]) -> None:
            log_metrics(run, values)
            if "val_loss" in values:
                report(values, training.epochs)

        try:
            run.summary(train(training, out, work=Path(made) / "work", on_metrics=on_metrics))
        except Stopped as stop:
            # A nested run that ends early has not failed.
            stopped = stop
        else:
            said = load_predictor(out, task.spec, p.settings.threads, p.settings.device).predict([e.input_text for e in rows.val])
            write_predictions(answers, make_rows(rows.val, said, lambda output: dump_output(task.output_schema, output)))
        run.tags({"outcome": "stopped" if stopped else "done"})
    if stopped:
        raise stopped


def judged(task: "Task", recipe: Recipe, search: Search, folder: Path, metric: str) -> dict[str, Any]:
    """The best trial against the recipe's own settings on the validation rows: paired, and corrected for having been chosen there."""
    from pp_assets.evaluation.compare import compare_scored
    from pp_assets.evaluation.predictions import read_predictions
    from pp_assets.evaluation.scoring import score_rows

    best, own = search.best(), as_params(recipe, search.start)
    done = [t.number for t in search.trials if t.outcome == "done"]
    scored = {number: score_rows(task.spec, read_predictions(_answers(folder, number))) for number in done}
    compared = compare_scored(scored[best.number], scored[0], metric)
    tables = [scored[number].tables[metric] for number in done]
    corrected, low, high = corrected_gain(tables, scored[0].clusters, task.spec.seed, search.sign)
    return {
        "variant": recipe.name,
        "trials": len(search.trials),
        "stopped": sum(t.outcome == "stopped" for t in search.trials),
        "best_trial": best.number,
        "params": {k: v for k, v in best.params.items() if v != own[k]},
        "metric": metric,
        "default_value": compared.other_value,
        "best_value": compared.value,
        "val_rows": compared.n,
        "val_groups": compared.groups,
        **{k: getattr(compared, k) for k in ("effect", "low", "high", "p_value")},
        "corrected": corrected,
        "corrected_low": low,
        "corrected_high": high,
        "importances": search.importances(),
        "seconds": round(sum(t.seconds for t in search.trials), 1),
    }


def _write(out: Path, search: Search, found: Mapping[str, Any], folder: Path) -> None:
    (out / "trials.json").write_text(json.dumps([asdict(t) for t in search.trials], indent=1) + "\n", "utf-8")
    (out / "best.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for number in sorted({0, found["best_trial"]}):
        kept = _answers(out, number)
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(_answers(folder, number).read_bytes())
    from pp_assets.evaluation.plots import search_plot

    (out / "search.png").write_bytes(search_plot([asdict(t) for t in search.trials], found))


def _answers(folder: Path, number: int) -> Path:
    return folder / "answers" / f"trial-{number}.jsonl.gz"
