"""The stages that train: an adapter, and the search for its hyper-parameters. They read training and validation rows, never a test row."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.pipeline import base_digest, rows_digest, training_spec
from pp_assets.result_facts import version_tags
from pp_assets.sources import source_digest
from pp_assets.training.overrides import recipe_of
from pp_assets.training.recipes import check_variant
from pp_resources.artifacts import Artifact
from pp_resources.device import CPU, device_kind, find_device
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline, Training
    from pp_assets.task.spec import Task
    from pp_assets.training.recipes import Recipe
    from pp_assets.training.run import Run
    from pp_resources.tracker import Run as TrackedRun


def adapter(p: "Pipeline", name: str, variant: str) -> Artifact:
    """adapter/, tokenizer/, training.json, metrics.jsonl. Depends on the kept rows themselves, not on how they were found."""
    task, rows = p.task(name), p.training_rows(name)
    recipe = recipe_of(task, variant)
    refuse_leaks(p, name)
    if recipe.family == "ensemble":
        from pp_assets.ensembles import ensemble

        return ensemble(p, task, recipe, rows)
    inputs = training_inputs(task, recipe, rows, p.settings.device)

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.training.loop import train

        training = new_run(task, recipe, rows, p.settings.threads, p.settings.device)
        work = p.settings.home / "work" / name / variant / digest(inputs)[:16]
        with p.tracker.run(name, variant, "training") as run:
            run.params({"recipe": variant, "family": recipe.family, "base": base_of(task, recipe), "seed": task.spec.seed})
            run.params(asdict(recipe.params))
            run.params({"train_rows": len(rows.train), "generated_rows": len(rows.generated), "val_rows": len(rows.val)})
            run.tags(version_tags(task, p.current(stages.DATASETS, name), inputs["code"]))
            run.tags({"pp.task_digest": task.digest, **{f"pp.input.{k}": v for k, v in inputs.items()}})
            metadata = train(training, out, work=work, on_metrics=partial(log_metrics, run))
            run.summary({f"train.{k}": v for k, v in metadata.items()})
            run.file(out / "training.json", "training")
            counts = {"train_rows": len(rows.train), "generated_rows": len(rows.generated)}
            return {**metadata, **counts, "made_from": data_of(p, name), "mlflow": run.where}

    return p.store.produce(stages.ADAPTERS, f"{name}/{variant}", inputs, build)


def data_of(p: "Pipeline", name: str) -> dict[str, str]:
    """Where the rows of a training came from. Its inputs are the rows themselves; this is for who asks later."""
    kinds = {"dataset": stages.DATASETS, "evaluated_inputs": stages.INPUTS, "generated": stages.GENERATED}
    return {role: p.current(kind, name).digest for role, kind in kinds.items()}


def log_metrics(run: "TrackedRun", values: Mapping[str, Any]) -> None:
    """What a trainer says of a step or an epoch, on the run of the training."""
    run.metrics({k: v for k, v in values.items() if k != "step"}, step=int(values.get("step", values.get("epoch", 0))))


def training_inputs(task: "Task", recipe: "Recipe", rows: "Training", device: str = CPU) -> dict[str, str]:
    """Digests of all that the bytes of an adapter depend on, and the kind of `device` that it is trained on."""
    return {
        "train": rows_digest(rows.train),
        "val": rows_digest(rows.val),
        "generated": rows_digest(rows.generated),
        "spec": training_spec(task, recipe.family),
        "recipe": digest([recipe.family, asdict(recipe.params)]),
        "base": base_digest(base_of(task, recipe)),
        "device": device_kind(device),
        "code": source_digest("pp_assets.training.loop", f"pp_assets.training.{recipe.family}"),
    }


def new_run(task: "Task", recipe: "Recipe", rows: "Training", threads: int, device: str = CPU) -> "Run":
    """A training that has not begun, on `device` (as PP_DEVICE). Raises UserError when it is not there, or the recipe cannot learn this
    output."""
    problems = check_variant(recipe, task.output_schema, rows.train)
    if problems:
        raise UserError(problems[0], where=f"{task.name}: variant {recipe.name}", how="use a causal variant such as lora-r8 for this task")
    if recipe.family == "encoder":
        from pp_assets.training.encoder import EncoderRun as NewRun
    else:
        from pp_assets.training.causal import CausalRun as NewRun  # type: ignore[assignment]
    return NewRun(task.spec, recipe, [*rows.train, *rows.generated], rows.val, task.spec.seed, threads, find_device(device))


def base_of(task: "Task", recipe: "Recipe") -> str:
    """Id of the model that a recipe specialises."""
    return task.spec.encoder_model_id if recipe.family == "encoder" else task.spec.base_model_id


def refuse_leaks(p: "Pipeline", name: str) -> None:
    """Raise UserError when a row that would be trained on is also in held-out data."""
    inputs = p.current(stages.INPUTS, name)
    leaks = {kind: n for kind, n in inputs.metadata["leaks"].items() if n}
    if leaks and not inputs.metadata["splits_given"]:
        raise UserError(f"training rows are also in held-out data: {leaks}", where=str(inputs.path), how="run the task's data stages again")
