"""What the training rows teach about their form: which values stand in the texts, which rows agree in the rest, where sentences end."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from pp_assets.evaluation.suite.spans import mark_copied
from pp_assets.task.examples import Example
from pp_resources.json_schema import Field, Schema, get_path, leaf_fields, set_path

MIN_VALUES = 5  # so many values must all stand in their inputs before an unmarked field is taken for a copied one
_SENTENCE = re.compile(r"[^\n.!?]*(?:[.!?]+(?!\s)[^\n.!?]*)*(?:[.!?]+|\n|$)")


class Slots:
    """The training rows with what is copied from their texts. Rows are in the order of their ids, so that the order of lines is nothing."""

    def __init__(self, schema: Schema, rows: Sequence[Example]) -> None:
        self.rows = sorted(rows, key=lambda row: row.item_id)
        self.schema, _ = mark_copied(schema, [(row.input_text, row.output) for row in self.rows], least=MIN_VALUES)
        leaves = leaf_fields(self.schema)
        self.fields = [leaf for leaf in leaves if leaf.verbatim and leaf.kind in ("string", "array_string")]
        self.labels = [leaf for leaf in leaves if leaf.kind in ("enum", "boolean", "array_enum")]
        self.numbers = [leaf for leaf in leaves if leaf.kind in ("number", "integer")]
        self._copied = {leaf.path for leaf in self.fields}

    def values(self, row: Example) -> list[tuple[Field, str]]:
        """(field, value) of everything in this row that is copied from its text."""
        return [(leaf, value) for leaf in self.fields for value in values_of(row.output, leaf.path)]

    def rest(self, output: Mapping[str, Any]) -> str:
        """All of an output that is not copied, as JSON text: rows that agree in it may give each other values and sentences."""
        return json.dumps(_without(output, "", self._copied), sort_keys=True)

    @cached_property
    def alike(self) -> Mapping[str, list[Example]]:
        """Rows by what is not copied."""
        found: dict[str, list[Example]] = {}
        for row in self.rows:
            found.setdefault(self.rest(row.output), []).append(row)
        return found

    def donors(self, row: Example, leaf: Field) -> list[tuple[str, str]]:
        """(value, id of its row) of the same field from rows that agree in the rest, each value once."""
        found: dict[str, str] = {}
        for other in self.alike.get(self.rest(row.output), ()):
            for value in values_of(other.output, leaf.path):
                found.setdefault(value, other.item_id)
        return sorted(found.items())


def values_of(output: Mapping[str, Any], path: str) -> list[str]:
    """Strings at a path: the one, those of an array, or none."""
    found = get_path(output, path)
    return [v for v in (found if isinstance(found, list) else [found]) if isinstance(v, str) and v]


def copy_of(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output that may be changed."""
    return json.loads(json.dumps(output))  # type: ignore[no-any-return]


def place_of(value: str, text: str, others: Sequence[str]) -> re.Match[str] | None:
    """Where a value stands, when it stands exactly once, as whole words, and neither within another value nor around one."""
    if text.count(value) != 1 or not independent(value, others):
        return None
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)


def independent(value: str, others: Sequence[str]) -> bool:
    """No value is part of another."""
    return all(value not in other and other not in value for other in others)


def exchange(output: dict[str, Any], path: str, old: str, new: str) -> None:
    """Put one value in the place of another, in an array at its position."""
    found = get_path(output, path)
    set_path(output, path, [new if v == old else v for v in found] if isinstance(found, list) else new)


def in_order(slots: Slots, before: Sequence[tuple[str, Mapping[str, Any]]], text: str, output: dict[str, Any]) -> None:
    """Sort copied arrays by where their values stand in `text`, where those of the rows they come from (text, output) were sorted so."""
    for leaf in slots.fields:
        found = get_path(output, leaf.path)
        if isinstance(found, list) and all(_sorted(where, values_of(said, leaf.path)) for where, said in before):
            set_path(output, leaf.path, sorted(found, key=text.find))


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence or line that holds a letter or digit, without the white space around it."""
    return list(_sentences(text))


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    for match in _SENTENCE.finditer(text):
        said = match[0].strip()
        if any(c.isalnum() for c in said):
            start = match.start() + match[0].index(said)
            yield start, start + len(said)


def _sorted(text: str, values: Sequence[str]) -> bool:
    places = [text.find(value) for value in values]
    return places == sorted(places)


def _without(value: Any, path: str, leave_out: set[str]) -> Any:
    if isinstance(value, Mapping):
        inner = {k: f"{path}.{k}" if path else k for k in value}
        return {k: _without(v, inner[k], leave_out) for k, v in value.items() if inner[k] not in leave_out}
    return value
