"""Writes hyper-parameters, variants and prompts into a task file, and leaves all else in it as its author wrote it, comments included."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from pp_assets.task.spec import Task, load_task, parse_spec
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError


class _Edit(NamedTuple):
    """`value` is set as `name` below the keys of `path`; `words` are what YAML says it with, `flow` the one line within braces."""

    path: tuple[str, ...]
    name: str
    value: Any
    words: str
    flow: str


class _Dumper(yaml.SafeDumper):
    """Dumps a text as people write one: its lines below each other."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Blank lines that end a text would run into those that follow it in the file; other line ends would not be indented with it.
    escaped = re.search(r"[\x85\u2028\u2029]|(^|\n)\n\Z", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if escaped else "|" if "\n" in text else None)


_Dumper.add_representer(str, _text_node)


def params_line(variant: str, params: Mapping[str, Any]) -> str:
    """One line of YAML: what stands under `params` for a variant."""
    # safe_dump writes a small number so that YAML reads it as one (1.0e-05); Python's own 1e-05 would be text.
    return f"{variant}: {yaml.safe_dump(dict(params), default_flow_style=True, sort_keys=False, width=10_000).strip()}"


def write_params(task: Task, variant: str, params: Mapping[str, Any]) -> None:
    """Set `params.<variant>` in the task's own file. Raises UserError, with the file as it was, when that cannot be done."""
    line = params_line(variant, params)
    _write(task, _Edit(("params",), variant, dict(params), line, line))


def write_variant(task: Task, name: str, variant: Mapping[str, Any]) -> None:
    """Set `serving.variants.<name>`, likewise."""
    _write(task, _edit(("serving", "variants"), name, dict(variant)))


def words_written(task: Task, system: str, template: str) -> str:
    """The task's own file as `write_words` would leave it."""
    return _text(task, task.file.read_text("utf-8"), *_words(task, system, template))


def write_words(task: Task, system: str, template: str) -> None:
    """Set `system_prompt` and `instruction_template`, likewise, both at once; one that stays as it is is not touched."""
    _write(task, *_words(task, system, template))


def _words(task: Task, system: str, template: str) -> list[_Edit]:
    said = {"instruction_template": template, "system_prompt": system}
    new = {name: text for name, text in said.items() if text != getattr(task.spec, name)}
    return [_edit((), name, text) for name, text in new.items()]


def _edit(path: tuple[str, ...], name: str, value: Any) -> _Edit:
    """Readable where there is room for lines; within braces JSON, which YAML reads as it stands."""
    words: str = yaml.dump({name: value}, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10_000)
    return _Edit(path, name, value, words.removesuffix("\n"), f"{name}: {json.dumps(value, ensure_ascii=False)}")


def _text(task: Task, before: str, *edits: _Edit) -> str:
    if task.file.suffix == ".json":
        raw = json.loads(before)
        for edit in edits:
            raw = _with(raw, edit.path, edit.name, edit.value)
        return json.dumps(raw, indent=2, ensure_ascii=False) + "\n"
    for edit in edits:
        before = _edited(before, edit)
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
        raise UserError("cannot be edited as text", where=where, how="write there: " + "\n".join(edit.words for edit in edits))


def _with(raw: Mapping[str, Any], path: tuple[str, ...], name: str, value: Any) -> dict[str, Any]:
    if not path:
        return {**raw, name: value}
    return {**raw, path[0]: _with(raw.get(path[0]) or {}, path[1:], name, value)}


def _edited(text: str, edit: _Edit) -> str:
    block: Any = yaml.compose(text, yaml.SafeLoader)
    assert block is not None, "a task that was loaded has a mapping in its file"
    for depth, part in enumerate(edit.path):
        braces, left = block.flow_style, edit.path[depth:]
        found = next(((key, value) for key, value in block.value if key.value == part), None)
        if found is None and not depth and not braces:
            return f"{text.rstrip()}\n\n{_nested(left, edit.words, 0)}\n"
        if found is None:
            return _added(text, block, left, edit)
        key, block = found
        if not isinstance(block, yaml.MappingNode) or not block.value:
            end = _end(block, text) if isinstance(block, yaml.MappingNode) else int(block.end_mark.index)
            made = _braced(left, edit.flow) if braces else _nested(left, edit.words, key.start_mark.column)
            return text[: key.start_mark.index] + made + text[end:]
    for key, value in block.value:
        if key.value == edit.name:
            stop = _end(value, text)
            # What is said beside a value belongs beside its key where the value becomes several lines.
            beside, cut, rest = text[stop:].partition("\n")
            made = edit.flow if block.flow_style else _nested((), edit.words, key.start_mark.column)
            head, turn, body = made.partition("\n")
            return text[: key.start_mark.index] + head + beside + turn + body + cut + rest
    return _added(text, block, (), edit)


def _added(text: str, block: Any, path: tuple[str, ...], edit: _Edit) -> str:
    """As the first entry of a mapping that has some."""
    first = block.value[0][0].start_mark
    made = f"{_braced(path, edit.flow)}, " if block.flow_style else f"{_nested(path, edit.words, first.column)}\n{' ' * first.column}"
    return text[: first.index] + made + text[first.index :]


def _braced(path: tuple[str, ...], line: str) -> str:
    """`line` below the keys of `path`, within a mapping in braces."""
    return f"{''.join(f'{part}: {{' for part in path)}{line}{'}' * len(path)}"


def _nested(path: tuple[str, ...], words: str, column: int) -> str:
    """Lines below the keys of `path`, the first of which stands at `column`."""
    first, *deeper = [f"{'  ' * depth}{part}:" for depth, part in enumerate(path)] + [
        f"{'  ' * len(path)}{line}" if line else "" for line in words.split("\n")
    ]
    return "\n".join([first, *(f"{' ' * column}{line}" if line else "" for line in deeper)])


def _end(node: yaml.Node, text: str) -> int:
    """Where a value ends. A mapping written over several lines ends with its last value, a text with its last line: their own marks are
    past the blank lines after them."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1], text)
    end = int(node.end_mark.index)
    return len(text[:end].rstrip("\r\n ")) if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end
