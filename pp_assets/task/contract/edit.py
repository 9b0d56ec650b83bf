"""One change in a contract's file, checked before it is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pp_assets.task.contract.files import generate, read_contract, target, write_contract
from pp_assets.task.contract.spec import Contract, parse_contract
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task
from pp_resources.errors import UserError, nearest


def edit_node(task: Task, rows: Sequence[Example], path: str, values: Sequence[str], *, remove: bool = False) -> Path:
    """Set `key=value` pairs (YAML values; an empty one takes the setting away) of a dimension or ``dimension/sub-dimension``, add it where
    it is not there, or remove it. Writes the task's contract first where there is none. Raises UserError with the file as it was."""
    file = target(task)
    if not file.is_file():
        generate(task, rows)
    changed = parse_contract(changed_plain(read_contract(file), path, values, remove=remove), str(file))
    write_contract(file, changed, task)
    return file


def changed_plain(contract: Contract, path: str, values: Sequence[str], *, remove: bool) -> dict[str, Any]:
    """The contract in plain form with one change."""
    label, _, below = path.partition("/")
    if bool(values) == remove:
        raise UserError("give KEY=VALUE or --remove", where=path, how="one of them")
    raw = contract.plain()
    known = [d["label"] for d in raw["dimensions"]] + [at for at, _ in contract.nodes()]
    if remove and path not in known:
        raise UserError("is not there", where=path, how=nearest(path, known))
    dimension = next((d for d in raw["dimensions"] if d["label"] == label), None)
    if not below:
        if dimension is None:
            raise UserError("a dimension needs a node", where=path, how=f"give {path}/NODE")
        raw["dimensions"] = [d for d in raw["dimensions"] if not remove or d is not dimension]
        _set(dimension, values)
        return raw
    if dimension is None:
        raw["dimensions"].append(dimension := {"label": label, "sub_dimensions": []})
    node = next((n for n in dimension["sub_dimensions"] if n["label"] == below), None)
    if node is None:
        dimension["sub_dimensions"].append(node := {"label": below})
    _set(node, values)
    if remove:
        dimension["sub_dimensions"].remove(node)
        raw["dimensions"] = [d for d in raw["dimensions"] if d["sub_dimensions"]]
    return raw


def _set(part: dict[str, Any], values: Sequence[str]) -> None:
    for pair in values:
        key, found, text = pair.partition("=")
        if not found:
            raise UserError(f"{pair!r} is not KEY=VALUE", where=str(part["label"]))
        try:
            value = yaml.safe_load(text) if text else None
        except yaml.YAMLError:
            value = text
        if value is None:
            part.pop(key, None)
        else:
            part[key] = text if key in ("description", "pattern") else value
