"""Writes hyper-parameters into a task file, and leaves everything else in it as its author wrote it, comments included."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from pp_assets.task.spec import Task, load_task
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError


def params_line(variant: str, params: Mapping[str, Any]) -> str:
    """One line of YAML: what stands under `params` for a variant."""
    # safe_dump writes a small number so that YAML reads it as one (1.0e-05); Python's own 1e-05 would be text.
    return f"{variant}: {yaml.safe_dump(dict(params), default_flow_style=True, sort_keys=False, width=10_000).strip()}"


def write_params(task: Task, variant: str, params: Mapping[str, Any]) -> None:
    """Set `params.<variant>` in the task's own file. Raises UserError, with the file as it was, when that cannot be done."""
    before = task.file.read_text("utf-8")
    expected = {**task.spec.params, variant: dict(params)}
    if task.file.suffix == ".json":
        after = json.dumps(json.loads(before) | {"params": expected}, indent=2, ensure_ascii=False) + "\n"
    else:
        after = _edited(before, variant, params_line(variant, params))
    write_atomic(task.file, after)
    try:
        written = load_task(task.file, task.folder.parent).spec
    except UserError:
        written = None
    if written is None or written.model_dump() != task.spec.model_copy(update={"params": expected}).model_dump():
        write_atomic(task.file, before)
        raise UserError("cannot be edited as text", where=f"{task.file}: params", how=f"write there: {params_line(variant, params)}")


def _edited(text: str, variant: str, line: str) -> str:
    root = yaml.compose(text, yaml.SafeLoader)
    assert root is not None, "a task that was loaded has a mapping in its file"
    entries = {key.value: (key, value) for key, value in root.value}
    if "params" not in entries:
        return f"{text.rstrip()}\n\nparams:\n  {line}\n"
    block = entries["params"][1]
    for key, value in block.value:
        if key.value == variant:
            return text[: key.start_mark.index] + line + text[_end(value) :]
    if not block.value:
        return f"{text[: entries['params'][0].start_mark.index]}params:\n  {line}{text[_end(block) :]}"
    first = block.value[0][0].start_mark
    between = ", " if block.flow_style else "\n" + " " * first.column
    return text[: first.index] + line + between + text[first.index :]


def _end(node: yaml.Node) -> int:
    """Where a value ends. A mapping written over several lines ends with its last value: its own mark is past the blank lines after it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    return int(node.end_mark.index)
