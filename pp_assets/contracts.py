"""The stage that keeps a task's contract, and scores its training rows by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.sources import source_digest
from pp_resources.artifacts import Artifact

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.examples import Example
    from pp_assets.task.spec import Task


def contract(p: "Pipeline", name: str) -> Artifact:
    """contract.json, scores.parquet (each training row by node), scores.png. Nothing outside is asked: nodes that a language model judges
    have no score here."""
    from pp_assets import pipeline as stages
    from pp_assets.task.contract.files import contract_file, load_contract
    from pp_assets.task.examples import read_split

    task, dataset = p.task(name), p.current(stages.DATASETS, name)
    rows = read_split(dataset.path, "train")
    found = load_contract(task, rows)
    encoder = task.spec.encoder_model_id if any(rule.kind == "semantic" for rule in found.rules()) else None
    inputs = {"dataset": dataset.digest, "contract": found.digest, "code": source_digest("pp_assets.task.contract.stage")}
    inputs["source"] = "file" if contract_file(task) else "derived"
    if encoder:
        inputs["encoder"] = stages.base_digest(encoder)

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.task.contract.stage import build_contract

        return build_contract(found, rows, out, encoder=encoder)

    return p.store.produce(stages.CONTRACTS, name, inputs, build)


def contract_state(p: "Pipeline", task: "Task") -> tuple[str, bool]:
    """The digest of a task's contract file ("" where it is derived), and whether the contract in force is of that."""
    from pp_assets import pipeline as stages
    from pp_assets.task.contract.files import bound, contract_file, read_contract

    file, current = contract_file(task), p.store.current(stages.CONTRACTS, task.name)
    if file is None:
        return "", current is None or current.inputs["source"] == "derived"
    found = bound(read_contract(file), task).digest
    return found, current is not None and current.inputs["contract"] == found


def known_rows(p: "Pipeline", name: str) -> "list[Example]":
    """The training rows of a task whose data was read before, else none."""
    from pp_assets import pipeline as stages
    from pp_assets.task.examples import read_split

    found = p.store.current(stages.DATASETS, name)
    return read_split(found.path, "train") if found else []
