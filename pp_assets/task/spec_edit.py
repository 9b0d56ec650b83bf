"""Writes hyper-parameters and variants into a task file, and leaves everything else in it as its author wrote it, comments included."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from pp_assets.task.spec import Task, load_task, parse_spec
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError


def params_line(variant: str, params: Mapping[str, Any]) -> str:
    """One line of YAML: what stands under `params` for a variant."""
    # safe_dump writes a small number so that YAML reads it as one (1.0e-05); Python's own 1e-05 would be text.
    return f"{variant}: {yaml.safe_dump(dict(params), default_flow_style=True, sort_keys=False, width=10_000).strip()}"


def write_params(task: Task, variant: str, params: Mapping[str, Any]) -> None:
    """Set `params.<variant>` in the task's own file. Raises UserError, with the file as it was, when that cannot be done."""
    _write(task, ("params",), variant, dict(params), params_line(variant, params))


def write_variant(task: Task, name: str, variant: Mapping[str, Any]) -> None:
    """Set `serving.variants.<name>`, likewise. What a variant holds is written as JSON, which YAML reads as it stands."""
    _write(task, ("serving", "variants"), name, dict(variant), f"{name}: {json.dumps(dict(variant), ensure_ascii=False)}")


def _write(task: Task, path: tuple[str, ...], name: str, value: dict[str, Any], line: str) -> None:
    before, where = task.file.read_text("utf-8"), f"{task.file}: {'.'.join(path)}"
    wanted = parse_spec(_with(task.spec.model_dump(mode="json"), path, name, value), where)
    if task.file.suffix == ".json":
        after = json.dumps(_with(json.loads(before), path, name, value), indent=2, ensure_ascii=False) + "\n"
    else:
        after = _edited(before, path, name, line)
    write_atomic(task.file, after)
    try:
        written = load_task(task.file, task.folder.parent).spec
    except UserError:
        written = None
    if written is None or written.model_dump() != wanted.model_dump():
        write_atomic(task.file, before)
        raise UserError("cannot be edited as text", where=where, how=f"write there: {line}")


def _with(raw: Mapping[str, Any], path: tuple[str, ...], name: str, value: dict[str, Any]) -> dict[str, Any]:
    if not path:
        return {**raw, name: value}
    return {**raw, path[0]: _with(raw.get(path[0]) or {}, path[1:], name, value)}


def _edited(text: str, path: tuple[str, ...], name: str, line: str) -> str:
    block: Any = yaml.compose(text, yaml.SafeLoader)
    assert block is not None, "a task that was loaded has a mapping in its file"
    for depth, part in enumerate(path):
        found = next(((key, value) for key, value in block.value if key.value == part), None)
        if found is None:
            return _added(text, block, path[depth:], line) if depth else f"{text.rstrip()}\n\n{_nested(path, line, 0)}\n"
        key, block = found
        if not isinstance(block, yaml.MappingNode) or not block.value:
            end = _end(block) if isinstance(block, yaml.MappingNode) else int(block.end_mark.index)
            return text[: key.start_mark.index] + _nested(path[depth:], line, key.start_mark.column) + text[end:]
    for key, value in block.value:
        if key.value == name:
            return text[: key.start_mark.index] + line + text[_end(value) :]
    return _added(text, block, (), line)


def _added(text: str, block: Any, path: tuple[str, ...], line: str) -> str:
    """As the first entry of a mapping that has some."""
    first = block.value[0][0].start_mark
    if block.flow_style:
        return f"{text[: first.index]}{''.join(f'{part}: {{' for part in path)}{line}{'}' * len(path)}, {text[first.index :]}"
    return f"{text[: first.index]}{_nested(path, line, first.column)}\n{' ' * first.column}{text[first.index :]}"


def _nested(path: tuple[str, ...], line: str, column: int) -> str:
    """`line` below the keys of `path`, the first of which stands at `column`."""
    deeper = [f"{' ' * (column + 2 * depth) if depth else ''}{part}:" for depth, part in enumerate(path)]
    return "\n".join([*deeper, f"{' ' * (column + 2 * len(path)) if path else ''}{line}"])


def _end(node: yaml.Node) -> int:
    """Where a value ends. A mapping written over several lines ends with its last value: its own mark is past the blank lines after it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    return int(node.end_mark.index)
