"""Which characters of an input carry its answer, and what the answer becomes when they are edited too."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pp_assets.data.noise import spans_of
from pp_resources.json_schema import Schema, leaf_fields, not_verbatim, resolve

Change = Callable[[str], str]
# Months and days are the letters of a date that a typo would make unreadable.
_WORDS_OF_DATES = re.compile(
    r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)[a-z]*\b|\b(today|tomorrow|yesterday|noon|midnight)\b",
    re.IGNORECASE,
)


def map_copied(schema: Schema, output: Any, change: Change) -> Any:
    """The output with `change` applied to each string under x-verbatim, which is what the same edit of the input does to it."""
    return _map(schema, schema, output, change, marked=False)


def copied(schema: Schema, output: Any) -> list[str]:
    """The strings under x-verbatim in an output."""
    found: list[str] = []
    map_copied(schema, output, lambda value: found.append(value) or value)  # type: ignore[func-returns-value]
    return found


def kept_characters(schema: Schema, output: Any, text: str, *, free: bool = False) -> list[bool]:
    """For each character of `text`, whether an edit must leave it alone because the expected output is read off it.

    Those of every string of the output; digits and the words of dates where the schema has numbers or dates. With `free`, strings under
    x-verbatim are not kept: the edit changes them in the text and in the output alike.
    """
    strings = set(_strings(output))
    keep = spans_of(text, sorted(strings - set(copied(schema, output)) if free else strings))
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
    return all(new in after for old, new in zip(_strings(expected), _strings(edited)) if old in before)


def gaps(text: str, keep: Sequence[bool]) -> list[int]:
    """Places (index of the character behind) beside white space where something may be put in without cutting a kept piece."""
    inside = [i for i in range(1, len(text)) if text[i - 1].isspace() and not (keep[i - 1] and keep[i])]
    return [0, *inside, len(text)]


def _map(root: Schema, node: Any, value: Any, change: Change, *, marked: bool) -> Any:
    node, _ = resolve(root, node)
    branches = node.get("anyOf", node.get("oneOf", []))
    marked = bool(node.get("x-verbatim")) or marked
    if isinstance(value, str):
        return change(value) if marked or any(resolve(root, b)[0].get("x-verbatim") for b in branches) else value
    if isinstance(value, list):
        return [_map(root, node.get("items", {}), item, change, marked=marked) for item in value]
    if isinstance(value, dict):
        known: dict[str, Any] = dict(node.get("properties", {}))
        for branch in branches:
            known |= resolve(root, branch)[0].get("properties", {})
        return {name: _map(root, known.get(name, {}), inner, change, marked=False) for name, inner in value.items()}
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)


def _joins(text: str, i: int) -> bool:
    """A sign between or before digits: a point, a colon, a currency."""
    return not text[i].isalnum() and not text[i].isspace() and text[i + 1 : i + 2].isdigit()
