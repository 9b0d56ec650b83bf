"""The stage that looks for overfitting and leaks: answers to rows that an adapter was trained on, beside those to rows that it was not."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.answers import answers
from pp_assets.evaluation import controls
from pp_assets.evaluation.generalisation import generalisation
from pp_assets.evaluation.predictions import SUFFIX, PredictionRow, make_rows, read_predictions, write_predictions
from pp_assets.evaluation.rounding import rounded
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
from pp_resources.models.interface import Prediction
from pp_resources.progress import steps

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task

MODULES = ("pp_assets.evaluation.controls", "pp_assets.evaluation.generalisation", "pp_assets.evaluation.generalisation_page")
SAMPLE = 500  # training rows that are asked, and validation rows at most
FEW, SHARES = (8, 16, 32), (0.25, 0.5)
SIMILAR = 0.4  # the least similarity that is looked for
Asked = Mapping[str, Sequence[Example]]


def overfitting(p: "Pipeline", name: str, variant: str, curve: bool = False, control: bool = False) -> Artifact:
    """generalisation.json, .md, plots/. With `curve` the variant is also trained on 8, 16, 32 rows, a quarter and half of them, with
    `control` on all of them with the outputs of other rows."""
    task, dataset, key = p.task(name), p.current(stages.DATASETS, name), f"{name}/{variant}"
    trained, report = p.current(stages.ADAPTERS, key), p.current(stages.EVALUATIONS, key)
    if (report.inputs["adapter"], report.inputs["dataset"]) != (trained.digest, dataset.digest):
        raise UserError("the report is of another adapter or other data", where=key, how=f"run 'pp eval {name} --variant {variant}'")
    if (curve or control) and recipe_of(task, variant).family == "ensemble":
        raise UserError("an ensemble has no learning curve and no control", where=key, how="ask for those of its members")
    rows = p.training_rows(name)
    inputs = {"adapter": trained.digest, "evaluation": report.digest, "spec": scoring_spec(task), "train": rows_digest(rows.train)}
    inputs |= {"val": rows_digest(rows.val), "curve": str(curve), "control": str(control)}
    shared = p.current(stages.INPUTS, name).metadata["leaks"]
    inputs |= {"leaks": digest(shared), "code": source_digest(*MODULES), "libraries": libraries()}

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.data.leakage import nearest_similarity
        from pp_assets.evaluation.generalisation_page import write_page

        said = {split: answered(p, task, trained, some) for split, some in samples(rows, task.spec.seed).items()}
        said["test"] = read_predictions(report.file("predictions") / f"{variant}{SUFFIX}")
        near = nearest_similarity([r.input_text for r in said["test"]], [e.input_text for e in rows.train], SIMILAR)
        learnt = learning_curve(p, task, variant, trained, rows) if curve else {}
        document = generalisation(task.spec, said, {r.item_id: s for r, s in zip(said["test"], near)}, learnt)
        document["control"] = exchanged_control(p, task, variant, trained, rows) if control else None
        blind = controls.without_text(task.spec, said["val"], _unread(p, task, trained, said["val"]))
        document["probes"] = rounded(controls.probes(shared, document["neighbours"], document["control"], blind))
        document["leaks"] = [probe["name"] for probe in document["probes"] if probe["verdict"] == controls.LEAK]
        write_page(document | {"variant": variant}, out)
        for split, answers_of in said.items():
            write_predictions(out / "predictions" / f"{split}{SUFFIX}", answers_of)
        with p.tracker.run(name, variant, "generalisation") as run:
            numbers = {f"gap.{g['of']}_{g['over']}": g["effect"] for g in document["gaps"]}
            run.summary({k: v for k, v in numbers.items() if v is not None})
            run.tags({"generalisation": document["verdict"], "leaks": ", ".join(document["leaks"]) or "none found"})
            for file in sorted(out.glob("generalisation.*")):
                run.file(file, "generalisation")
            run.file(out / "plots", "generalisation/plots")
            return {**{key: document[key] for key in ("verdict", "reason", "leaks")}, **numbers, "mlflow": run.where}

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
    return _rows(task, rows, answers(p, task, adapter, [row.input_text for row in rows])[0])


def sizes_of(count: int) -> list[int]:
    """How many training rows the points of a curve have, all of them last."""
    return [*sorted({n for n in (*FEW, *(round(share * count) for share in SHARES)) if n < count}), count]


def learning_curve(p: "Pipeline", task: "Task", variant: str, trained: Artifact, rows: Training) -> dict[int, list[PredictionRow]]:
    """By size what a model trained on so many rows answers to the validation rows. Smaller sets are parts of larger ones; the
    last point is the adapter itself. Points that were trained before, also by a run that was killed, are not trained again."""
    order = generator(task.spec.seed, "curve").permutation(len(rows.train))
    sizes = sizes_of(len(rows.train))
    folder, found = _folder(p, task, variant, trained), {}
    with steps("learning curve", len(sizes)) as advance:
        for size in sizes:
            some = Training(stages.by_id(rows.train[i] for i in order[:size]), rows.val, [])
            if size == len(rows.train):
                found[size] = answered(p, task, trained, rows.val)
            else:
                found |= {size: _kept(folder, {str(size): rows.val}, partial(_trained_on, p, task, variant, some))[str(size)]}
            advance(f"{size} rows")
    return found


def exchanged_control(p: "Pipeline", task: "Task", variant: str, trained: Artifact, rows: Training) -> dict[str, Any]:
    """`controls.control` of this variant; a `reason` alone where the task has none. It is trained for all its epochs and sees no validation
    row, neither to choose among them nor to stop; generated rows, which hold outputs of the rows that they were made from, are left out."""
    paths = controls.chosen_paths(task.output_schema, [*rows.train, *rows.val])
    taught = controls.exchanged(rows.train, paths, task.spec.seed)
    if reason := controls.why_not(task.output_schema, paths, taught):
        return {"reason": reason, "held_out": asdict(controls.Against(0, reason=reason))}
    asked = samples(Training(taught, rows.val, []), task.spec.seed)
    sets = {"exchanged-train": asked["train"], "exchanged-val": asked["val"]}
    with steps("control", 1) as advance:
        train = partial(_trained_on, p, task, variant, Training(taught, [], []))
        said = _kept(_folder(p, task, variant, trained), sets, train)
        advance(f"{len(taught)} rows")
    return controls.control(task.spec, paths, taught, said["exchanged-train"], said["exchanged-val"])


def _unread(p: "Pipeline", task: "Task", adapter: Artifact, rows: Sequence[PredictionRow]) -> list[PredictionRow]:
    """What an adapter says of an empty text, as its answer to each of these rows."""
    (said,), _ = answers(p, task, adapter, [""])
    return [replace(row, output=said.text) for row in rows]


def _folder(p: "Pipeline", task: "Task", variant: str, trained: Artifact) -> Path:
    """Where the answers of models are kept that were trained for a curve or a control and thrown away."""
    return p.settings.home / "curves" / task.name / variant / digest([trained.digest, task.digest, device_kind(p.settings.device)])[:16]


def _kept(folder: Path, asked: Asked, make: Callable[[Asked], dict[str, list[PredictionRow]]]) -> dict[str, list[PredictionRow]]:
    """Answers to each set of rows by name, from files of these names in `folder`; made and written there where one is missing."""
    files = {name: folder / f"{name}{SUFFIX}" for name in asked}
    if not all(file.exists() for file in files.values()):
        for name, said in make(asked).items():
            new = folder / f"new-{name}{SUFFIX}"
            write_predictions(new, said)
            new.replace(files[name])
    return {name: read_predictions(file) for name, file in files.items()}


def _trained_on(p: "Pipeline", task: "Task", variant: str, rows: Training, asked: Asked) -> dict[str, list[PredictionRow]]:
    """Answers to sets of rows, by name, of a model that is trained for them and thrown away."""
    from pp_assets.training.loop import train
    from pp_assets.training.predictors import load_predictor
    from pp_assets.trainings import new_run

    with tempfile.TemporaryDirectory(prefix="pp-curve-") as made:
        out = Path(made) / "out"
        place = p.settings.threads, p.settings.device
        train(new_run(task, recipe_of(task, variant), rows, *place), out, work=Path(made) / "work")
        model = load_predictor(out, task.spec, *place)
        said = {name: model.predict([row.input_text for row in some]) for name, some in asked.items()}
    return {name: _rows(task, some, said[name]) for name, some in asked.items()}


def _rows(task: "Task", rows: Sequence[Example], predictions: Sequence[Prediction]) -> list[PredictionRow]:
    return make_rows(rows, predictions, lambda output: dump_output(task.output_schema, output))
