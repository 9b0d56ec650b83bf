"""The contract of a task as files: the one that people edit, and beside it what was generated last, so that edits can be told apart."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pp_assets.task.contract.derive import derive
from pp_assets.task.contract.merge import Merged, merge
from pp_assets.task.contract.spec import Contract, parse_contract, to_flat
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task
from pp_assets.task.spec_file import read_mapping
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError
from pp_resources.models.remote import Provider

DEFAULT = "contract.yaml"
_HEAD = (
    "# What a good answer is. Edit it, then run 'pp contract generate' again: what you changed stays. Comments below this line do not.\n"
)


def load_contract(task: Task, rows: Sequence[Example] = ()) -> Contract:
    """The contract of a task: its file where it has one (`contract` in task.yaml, else contract.yaml beside it), else derived from the
    task (and `rows`). The output schema is the task's unless the file has its own."""
    file = contract_file(task)
    if file is None:
        return derive(task.spec, rows)
    return bound(read_contract(file), task)


def contract_file(task: Task) -> Path | None:
    """The file of a task's contract, None where there is none. Raises UserError where the task names one that is not there."""
    file = target(task)
    if file.is_file():
        return file
    if task.spec.contract:
        raise UserError(
            f"{task.spec.contract!r} is not there", where=f"{task.file}: contract", how=f"run 'pp contract generate {task.name}'"
        )
    return None


def target(task: Task) -> Path:
    """Where a task's contract stands, or would."""
    return task.folder / (task.spec.contract or DEFAULT)


def read_contract(file: Path) -> Contract:
    """A contract from a YAML or JSON file, in either form."""
    return parse_contract(read_mapping(file), str(file))


def bound(contract: Contract, task: Task) -> Contract:
    """With the task's output schema and name where it has none of its own."""
    given = {"output_schema": contract.output_schema or task.output_schema, "name": contract.name or task.name}
    return contract.model_copy(update=given)


def write_contract(file: Path, contract: Contract, task: Task | None = None, *, flat: bool = False) -> None:
    """Write a contract as YAML or JSON, without the schema where it is the task's."""
    if task is not None and contract.output_schema == task.output_schema:
        contract = contract.model_copy(update={"output_schema": None})
    value = (to_flat(contract) if flat else contract).plain()
    write_atomic(file, text_of(value, file.suffix))


def text_of(value: dict[str, Any], suffix: str) -> str:
    """Plain values as the text of a file."""
    value = {"version": value["version"], **value}
    if suffix == ".json":
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return _HEAD + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


def generate(task: Task, rows: Sequence[Example] = (), provider: Provider | None = None) -> tuple[Path, Merged]:
    """Write the contract that the task implies. Where a file is there, what a person changed in it stays, and the notes say what did."""
    made, merged = proposed(task, rows, provider)
    file = target(task)
    write_atomic(file, text_of(merged.value, file.suffix))
    write_atomic(generated_file(file), json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    return file, merged


def proposed(task: Task, rows: Sequence[Example] = (), provider: Provider | None = None) -> tuple[dict[str, Any], Merged]:
    """What `generate` would write, and writes not: (the contract that the task implies, that with what a person changed)."""
    made = derive(task.spec, rows, provider).model_copy(update={"output_schema": None}).plain()
    file = target(task)
    base = generated_file(file)
    if file.is_file():
        mine = read_contract(file).plain()
        # A file that was never generated is a person's throughout: nothing of it was there before.
        before = read_contract(base).plain() if base.is_file() else {}
        merged = merge(before, mine, made)
    else:
        merged = Merged(made, ["new"])
    parse_contract(merged.value, str(file))
    return made, merged


def generated_file(file: Path) -> Path:
    """Where it is kept what was generated last for a contract file."""
    return file.with_name(f".{file.stem}.generated.json")
