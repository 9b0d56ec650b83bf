"""Writes hyper-parameters, variants and prompts into a task file, and leaves all else in it as its author wrote it, comments included."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from pp_assets.task.spec import Task, load_task, parse_spec
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError


class _Edit(NamedTuple):
    """`value` is set as `name` below the keys of `path`; `line` is what YAML says it with."""

    path: tuple[str, ...]
    name: str
    value: Any
    line: str


class _Words(str):
    """A text that is dumped as people write one: its lines below each other."""


class _Dumper(yaml.SafeDumper):
    """With `_Words`."""


_Dumper.add_representer(
    _Words, lambda made, text: made.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def params_line(variant: str, params: Mapping[str, Any]) -> str:
    """One line of YAML: what stands under `params` for a variant."""
    # safe_dump writes a small number so that YAML reads it as one (1.0e-05); Python's own 1e-05 would be text.
    return f"{variant}: {yaml.safe_dump(dict(params), default_flow_style=True, sort_keys=False, width=10_000).strip()}"


def write_params(task: Task, variant: str, params: Mapping[str, Any]) -> None:
    """Set `params.<variant>` in the task's own file. Raises UserError, with the file as it was, when that cannot be done."""
    _write(task, _Edit(("params",), variant, dict(params), params_line(variant, params)))


def write_variant(task: Task, name: str, variant: Mapping[str, Any]) -> None:
    """Set `serving.variants.<name>`, likewise. What a variant holds is written as JSON, which YAML reads as it stands."""
    _write(task, _Edit(("serving", "variants"), name, dict(variant), f"{name}: {json.dumps(dict(variant), ensure_ascii=False)}"))


def words_written(task: Task, system: str, template: str) -> str:
    """The task's own file as `write_words` would leave it."""
    return _text(task, task.file.read_text("utf-8"), *_words(task, system, template))


def write_words(task: Task, system: str, template: str) -> None:
    """Set `system_prompt` and `instruction_template`, likewise, both at once; one that stays as it is is not touched."""
    _write(task, *_words(task, system, template))


def _words(task: Task, system: str, template: str) -> list[_Edit]:
    said = {"instruction_template": template, "system_prompt": system}
    new = {name: text for name, text in said.items() if text != getattr(task.spec, name)}
    return [_Edit((), name, text, _words_line(name, text)) for name, text in new.items()]


def _words_line(name: str, text: str) -> str:
    made: str = yaml.dump({name: _Words(text)}, Dumper=_Dumper, allow_unicode=True, width=10_000)
    return made.removesuffix("\n")


def _text(task: Task, before: str, *edits: _Edit) -> str:
    if task.file.suffix == ".json":
        raw = json.loads(before)
        for edit in edits:
            raw = _with(raw, edit.path, edit.name, edit.value)
        return json.dumps(raw, indent=2, ensure_ascii=False) + "\n"
    for edit in edits:
        before = _edited(before, edit.path, edit.name, edit.line)
    return before


def _write(task: Task, *edits: _Edit) -> None:
    if not edits:
        return
    before, where = task.file.read_text("utf-8"), f"{task.file}: {', '.join('.'.join(edit.path) or edit.name for edit in edits)}"
    raw = task.spec.model_dump(mode="json")
    for edit in edits:
        raw = _with(raw, edit.path, edit.name, edit.value)
    wanted = parse_spec(raw, where)
    write_atomic(task.file, _text(task, before, *edits))
    try:
        written = load_task(task.file, task.folder.parent).spec
    except UserError:
        written = None
    if written is None or written.model_dump() != wanted.model_dump():
        write_atomic(task.file, before)
        raise UserError("cannot be edited as text", where=where, how="write there: " + "\n".join(edit.line for edit in edits))


def _with(raw: Mapping[str, Any], path: tuple[str, ...], name: str, value: Any) -> dict[str, Any]:
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
            end = _end(block, text) if isinstance(block, yaml.MappingNode) else int(block.end_mark.index)
            return text[: key.start_mark.index] + _nested(path[depth:], line, key.start_mark.column) + text[end:]
    for key, value in block.value:
        if key.value == name:
            stop = _end(value, text)
            # What is said beside a value belongs beside its key where the value becomes several lines.
            beside, cut, rest = text[stop:].partition("\n")
            head, turn, body = line.partition("\n")
            return text[: key.start_mark.index] + head + beside + turn + body + cut + rest
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


def _end(node: yaml.Node, text: str) -> int:
    """Where a value ends. A mapping written over several lines ends with its last value, a text with its last line: their own marks are
    past the blank lines after them."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1], text)
    end = int(node.end_mark.index)
    return len(text[:end].rstrip("\r\n ")) if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end
