"""The confidence below which answers of a packaged variant should go to a person, from the validation rows."""

from typing import TYPE_CHECKING

from pp_assets.champion import read_champion
from pp_assets.evaluation.outputs import OutputReader, right
from pp_assets.evaluation.scoring import Scoring
from pp_assets.packaging.predict import BATCH, open_package
from pp_assets.pipeline import DATASETS, PACKAGES
from pp_assets.routing.precision import Precise, fit_precision
from pp_assets.task.examples import read_split
from pp_resources.errors import UserError
from pp_resources.fingerprint import canonical_json
from pp_resources.progress import steps

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline


def fit_handoff(p: "Pipeline", name: str, variant: str | None, *, target: float, delta: float) -> tuple[str, Precise]:
    """(variant, what is proven): the champion's where none is named. An answer is right when it equals the row's output under the task's
    rules. Raises UserError where there is no package or too few rows."""
    task = p.task(name)
    stands = read_champion(p.settings.home, name)
    wanted = variant or (stands.variant if stands else None)
    if wanted is None:
        raise UserError("no variant is champion", where=f"task {name}", how="name one with --variant")
    package = p.store.require(PACKAGES, f"{name}/{wanted}", f"run 'pp run {name} --variant {wanted}'")
    dataset = p.store.require(DATASETS, name, f"run 'pp data build {name}'")
    rows, model = read_split(dataset.path, "val"), open_package(package.path)
    scoring = Scoring.of(task.spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    sure, hits = list[float | None](), list[bool]()
    with steps("asking", len(rows)) as advance:
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            for row, said in zip(part, model.predictor.predict([row.input_text for row in part]), strict=True):
                sure.append(said.confidence)
                hits.append(right(reader.read(said.text), reader.expected(canonical_json(row.output), row.item_id)))
                advance("")
    return wanted, fit_precision(sure, hits, target=target, delta=delta, groups=[row.group or row.item_id for row in rows])
