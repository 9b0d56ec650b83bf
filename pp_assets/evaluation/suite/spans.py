"""Which characters of an input carry its answer, and what the answer becomes when they are edited too."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pp_assets.data.noise import spans_of
from pp_resources.json_schema import Schema, get_path, leaf_fields, mentions_verbatim, not_verbatim, resolve

Change = Callable[[str], str]
LEAST_COPIED = 10  # values of a field that all stand in their inputs, before it counts as copied
# Months and days are the letters of a date that a typo would make unreadable.
_WORDS_OF_DATES = re.compile(
    r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)[a-z]*\b|\b(today|tomorrow|yesterday|noon|midnight)\b",
    re.IGNORECASE,
)


def mark_copied(schema: Schema, rows: Iterable[tuple[str, Any]], least: int = LEAST_COPIED) -> tuple[Schema, list[str]]:
    """The schema with x-verbatim also at every string, or array of strings, whose values all stand in their inputs, and the paths of these.
    `rows` are (input, output); fewer than `least` values prove nothing."""
    leaves = [leaf for leaf in leaf_fields(schema) if leaf.kind in ("string", "array_string") and not mentions_verbatim(leaf.schema)]
    seen: dict[str, list[bool]] = {leaf.path: [] for leaf in leaves}
    for text, output in rows:
        for path, found in seen.items():
            value = get_path(output, path)
            found += [one in text for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    copied_in_fact = [path for path, found in seen.items() if len(found) >= least and all(found)]
    for path in copied_in_fact:
        schema = _with_mark(schema, schema, path.split("."))
    return schema, copied_in_fact


def map_copied(schema: Schema, output: Any, change: Change) -> Any:
    """The output with `change` applied to each string under x-verbatim, which is what the same edit of the input does to it."""
    return _walk(schema, schema, output, lambda value, verbatim: change(value) if verbatim else value)


def map_strings(schema: Schema, output: Any, change: Change) -> Any:
    """The output with `change` applied to each string that is no choice from a list, marked x-verbatim or not."""
    return _walk(schema, schema, output, lambda value, _verbatim: change(value))


def copied(schema: Schema, output: Any) -> list[str]:
    """The strings under x-verbatim in an output."""
    return [value for value, verbatim in _strings(schema, output) if verbatim]


def kept_characters(schema: Schema, output: Any, text: str, *, free: bool = False) -> list[bool]:
    """For each character of `text`, whether an edit must leave it alone because the expected output is read off it.

    Those of every string of the output that is not from a list; digits and the words of dates where the schema has numbers or dates.
    With `free`, strings under x-verbatim are not kept: the edit changes them in the text and in the output alike.
    """
    keep = spans_of(text, sorted({value for value, verbatim in _strings(schema, output) if not (free and verbatim)}))
    if any(
        leaf.kind in ("number", "integer") or str(leaf.schema.get("format", "")).startswith(("date", "time"))
        for leaf in leaf_fields(schema)
    ):
        for found in _WORDS_OF_DATES.finditer(text):
            keep[found.start() : found.end()] = [True] * (found.end() - found.start())
        keep = [was or c.isdigit() or _joins(text, i) for i, (was, c) in enumerate(zip(keep, text))]
    return keep


def sound(schema: Schema, before: str, after: str, expected: Any, edited: Any) -> bool:
    """Whether an edited input still carries its expected output: what could be copied before can be copied now."""
    if not_verbatim(schema, edited, after):
        return False
    pairs = zip(_strings(schema, expected), _strings(schema, edited))
    return all(new in after for (old, _), (new, _) in pairs if old in before)


def gaps(text: str, keep: Sequence[bool]) -> list[int]:
    """Places (index of the character behind) where something may be put in: before a word, at the end, never right beside a kept piece,
    which would then begin or end elsewhere."""
    ends = [i for i in range(len(text)) if (i == 0 or text[i - 1].isspace()) and not keep[i]]
    return ends + ([len(text)] if not text or not keep[-1] else [])


def _with_mark(root: Schema, node: Any, path: Sequence[str]) -> dict[str, Any]:
    """A copy of an object's schema, without its null alternative, with the mark at `path`."""
    node, (name, *rest) = resolve(root, node)[0], path
    child = node["properties"][name]
    marked = _with_mark(root, child, rest) if rest else {**child, "x-verbatim": True}
    return {**node, "properties": {**node["properties"], name: marked}}


def _strings(schema: Schema, output: Any) -> list[tuple[str, bool]]:
    """The strings of an output that are not from a list, each with whether it stands under x-verbatim."""
    found: list[tuple[str, bool]] = []

    def note(value: str, verbatim: bool) -> str:
        found.append((value, verbatim))
        return value

    _walk(schema, schema, output, note)
    return found


def _walk(root: Schema, node: Any, value: Any, visit: Callable[[str, bool], str], marked: bool = False) -> Any:
    """The value with each string in it that is no choice from a list as `visit(string, under x-verbatim)` makes it."""
    node, _ = resolve(root, node)
    branches = [resolve(root, branch)[0] for branch in node.get("anyOf", node.get("oneOf", []))]
    # On an array, the mark speaks for its strings.
    marked = marked or any(n.get("x-verbatim") for n in (node, *branches))
    if isinstance(value, str):
        return value if "enum" in node or "const" in node else visit(value, marked)
    if isinstance(value, list):
        return [_walk(root, node.get("items", {}), item, visit, marked) for item in value]
    if isinstance(value, dict):
        known: dict[str, Any] = {name: child for n in (node, *branches) for name, child in n.get("properties", {}).items()}
        return {name: _walk(root, known.get(name, {}), inner, visit) for name, inner in value.items()}
    return value


def _joins(text: str, i: int) -> bool:
    """A sign between or before digits: a point, a colon, a currency."""
    return not text[i].isalnum() and not text[i].isspace() and text[i + 1 : i + 2].isdigit()
