"""The stage that looks for overfitting: an adapter's answers to rows that it was trained on, beside those to rows that it was not."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.answers import answers
from pp_assets.evaluation.generalisation import generalisation
from pp_assets.evaluation.predictions import SUFFIX, PredictionRow, make_rows, read_predictions, write_predictions
from pp_assets.evaluation.stats.groups import generator
from pp_assets.pipeline import Training, rows_digest, scoring_spec
from pp_assets.result_facts import libraries
from pp_assets.sources import source_digest
from pp_assets.task.examples import Example
from pp_assets.training.overrides import recipe_of
from pp_resources.artifacts import Artifact
from pp_resources.device import device_kind
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output
from pp_resources.progress import steps

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task

MODULES = ("pp_assets.evaluation.generalisation", "pp_assets.evaluation.generalisation_page")
SAMPLE = 500  # training rows that are asked, and validation rows at most
FEW, SHARES = (8, 16, 32), (0.25, 0.5)
SIMILAR = 0.4  # the least similarity that is looked for


def overfitting(p: "Pipeline", name: str, variant: str, curve: bool = False) -> Artifact:
    """generalisation.json, .md, plots/. With `curve` the variant is also trained on 8, 16, 32 rows, a quarter and half of them."""
    task, dataset, key = p.task(name), p.current(stages.DATASETS, name), f"{name}/{variant}"
    trained, report = p.current(stages.ADAPTERS, key), p.current(stages.EVALUATIONS, key)
    if (report.inputs["adapter"], report.inputs["dataset"]) != (trained.digest, dataset.digest):
        raise UserError("the report is of another adapter or other data", where=key, how=f"run 'pp eval {name} --variant {variant}'")
    if curve and recipe_of(task, variant).family == "ensemble":
        raise UserError("an ensemble has no learning curve", where=key, how="ask for those of its members")
    rows = p.training_rows(name)
    inputs = {"adapter": trained.digest, "evaluation": report.digest, "spec": scoring_spec(task), "train": rows_digest(rows.train)}
    inputs |= {"val": rows_digest(rows.val), "curve": str(curve), "code": source_digest(*MODULES), "libraries": libraries()}

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.data.leakage import nearest_similarity
        from pp_assets.evaluation.generalisation_page import write_page

        said = {split: answered(p, task, trained, some) for split, some in samples(rows, task.spec.seed).items()}
        said["test"] = read_predictions(report.file("predictions") / f"{variant}{SUFFIX}")
        near = nearest_similarity([r.input_text for r in said["test"]], [e.input_text for e in rows.train], SIMILAR)
        learnt = learning_curve(p, task, variant, trained, rows) if curve else {}
        document = generalisation(task.spec, said, {r.item_id: s for r, s in zip(said["test"], near)}, learnt)
        write_page(document | {"variant": variant}, out)
        for split, answers_of in said.items():
            write_predictions(out / "predictions" / f"{split}{SUFFIX}", answers_of)
        with p.tracker.run(name, variant, "generalisation") as run:
            numbers = {f"gap.{g['of']}_{g['over']}": g["effect"] for g in document["gaps"]}
            run.summary({k: v for k, v in numbers.items() if v is not None})
            run.tags({"generalisation": document["verdict"]})
            for file in sorted(out.glob("generalisation.*")):
                run.file(file, "generalisation")
            run.file(out / "plots", "generalisation/plots")
            return {"verdict": document["verdict"], "reason": document["reason"], **numbers, "mlflow": run.where}

    return p.store.produce(stages.GENERALISATIONS, key, inputs, build)


def samples(rows: Training, seed: int) -> dict[str, list[Example]]:
    """A seeded draw of written training rows, and of validation rows, at most SAMPLE each."""
    found = {}
    for name, some in (("train", rows.train), ("val", rows.val)):
        chosen = generator(seed, "generalisation", name).permutation(len(some))[:SAMPLE]
        found[name] = [some[i] for i in sorted(chosen)]
    return found


def answered(p: "Pipeline", task: "Task", adapter: Artifact, rows: Sequence[Example]) -> list[PredictionRow]:
    """What an adapter says of rows; those that it was asked before are not asked again."""
    predictions, _ = answers(p, task, adapter, [row.input_text for row in rows])
    return make_rows(rows, predictions, lambda output: dump_output(task.output_schema, output))


def sizes_of(count: int) -> list[int]:
    """How many training rows the points of a curve have, all of them last."""
    return [*sorted({n for n in (*FEW, *(round(share * count) for share in SHARES)) if n < count}), count]


def learning_curve(p: "Pipeline", task: "Task", variant: str, trained: Artifact, rows: Training) -> dict[int, list[PredictionRow]]:
    """By size what a model trained on so many rows answers to the validation rows. Smaller sets are parts of larger ones; the
    last point is the adapter itself. Points that were trained before, also by a run that was killed, are not trained again."""
    order = generator(task.spec.seed, "curve").permutation(len(rows.train))
    sizes = sizes_of(len(rows.train))
    folder = p.settings.home / "curves" / task.name / variant / digest([trained.digest, task.digest, device_kind(p.settings.device)])[:16]
    found = {}
    with steps("learning curve", len(sizes)) as advance:
        for size in sizes:
            file = folder / f"{size}{SUFFIX}"
            if size == len(rows.train):
                said = answered(p, task, trained, rows.val)
            elif file.exists():
                said = read_predictions(file)
            else:
                some = stages.by_id(rows.train[i] for i in order[:size])
                said = _trained_on(p, task, variant, Training(some, rows.val, []))
                write_predictions(file.with_name(f"new-{file.name}"), said)
                file.with_name(f"new-{file.name}").replace(file)
            found[size] = said
            advance(f"{size} rows")
    return found


def _trained_on(p: "Pipeline", task: "Task", variant: str, rows: Training) -> list[PredictionRow]:
    """Answers to the validation rows of a model that is trained for them and thrown away."""
    from pp_assets.training.loop import train
    from pp_assets.training.predictors import load_predictor
    from pp_assets.trainings import new_run

    with tempfile.TemporaryDirectory(prefix="pp-curve-") as made:
        out = Path(made) / "out"
        place = p.settings.threads, p.settings.device
        train(new_run(task, recipe_of(task, variant), rows, *place), out, work=Path(made) / "work")
        predictions = load_predictor(out, task.spec, *place).predict([row.input_text for row in rows.val])
    return make_rows(rows.val, predictions, lambda output: dump_output(task.output_schema, output))
