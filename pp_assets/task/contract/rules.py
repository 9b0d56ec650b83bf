"""The rules that are computed here: each scores one row in 0..1, or says in a word why it has no score."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pp_assets.evaluation.outputs import OutputReader, items, right, strict_json, tokens
from pp_assets.task.contract.spec import Contract, _Rule
from pp_assets.task.spec import default_compare
from pp_resources.json_schema import dump_output, get_path, leaf_fields, output_validator
from pp_resources.models.encoder.readings import FORMATS, Reader

Score = float | str
"""0..1, or why there is none."""
NO_LABEL, NO_OUTPUT, ABSENT, NULL, NO_SCHEMA = "no label", "no output", "the field is absent", "the field is null", "no output schema"
_NOTHING = object()
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


@dataclass(frozen=True)
class Row:
    """What is scored: an input and the output that was given for it (a JSON value, or text as a model said it; None: there is none), and
    where known the right output."""

    input_text: str
    output: Any
    label: Any = None


@dataclass(frozen=True)
class Read:
    """A row whose texts were read once. `value` is the output object, None where it is not one; `text` is as said, or compact JSON."""

    input_text: str
    text: str | None
    value: Mapping[str, Any] | None
    label: Any


Rule = Callable[[Read], Score]


def read_row(row: Row, schema: Mapping[str, Any]) -> Read:
    """Parse what is text."""
    value = _object(row.output)
    text = row.output if isinstance(row.output, str) or row.output is None else dump_output(schema, row.output)
    return Read(row.input_text, text, value, row.label if not isinstance(row.label, str) else _object(row.label) or row.label)


def rule_of(node: _Rule, contract: Contract) -> Rule:
    """The function that scores one row by a node of a kind that is computed here."""
    schema = contract.output_schema
    if node.kind == "schema":
        return _of_schema(schema)
    if node.kind == "match":
        return _of_match(node, schema)
    if node.kind == "forbidden":
        return _of_forbidden(node, schema)
    of_value: Callable[[Any, Read], Score] = {
        "enum": _enum(node),
        "range": _range(node),
        "regex": _regex(node),
        "length": _length(node),
        "format": _format(node),
        "grounding": _grounded(node, schema),
    }[node.kind]
    each = node.kind != "length"

    def score(row: Read) -> Score:
        if row.text is None:
            return NO_OUTPUT
        if row.value is None:
            return 0.0
        found = get_path(row.value, str(node.field), _NOTHING)
        if found is _NOTHING:
            return ABSENT
        if found is None and None not in (node.values or ()):
            return NULL
        if isinstance(found, list) and each:
            scores = [s for s in (of_value(one, row) for one in found) if not isinstance(s, str)]
            return sum(scores) / len(scores) if scores else "nothing in the list"
        return of_value(found, row)

    return score


def _object(given: Any) -> Mapping[str, Any] | None:
    if isinstance(given, str):
        try:
            given = strict_json(given)
        except ValueError:
            return None
    return given if isinstance(given, Mapping) else None


def _of_schema(schema: Mapping[str, Any] | None) -> Rule:
    if schema is None:
        return lambda _row: NO_SCHEMA
    validator, seen = output_validator(schema), dict[str, float]()

    def score(row: Read) -> Score:
        if row.text is None:
            return NO_OUTPUT
        if row.text not in seen:
            if len(seen) > 100_000:
                seen.clear()
            seen[row.text] = float(row.value is not None and validator.is_valid(row.value))
        return seen[row.text]

    return score


def _of_forbidden(node: _Rule, schema: Mapping[str, Any] | None) -> Rule:
    known = {f.path for f in leaf_fields(schema)} if schema else set()
    if node.keys is None and schema is None:
        return lambda _row: NO_SCHEMA

    def score(row: Read) -> Score:
        if row.text is None:
            return NO_OUTPUT
        if row.value is None:
            return 0.0
        if node.keys is None:
            return float(not _unknown(row.value, known, ""))
        return float(all(get_path(row.value, key, _NOTHING) is _NOTHING for key in node.keys))

    return score


def _unknown(value: Mapping[str, Any], known: set[str], at: str) -> bool:
    for name, inner in value.items():
        path = f"{at}.{name}" if at else name
        if path in known:
            continue
        if not isinstance(inner, Mapping) or not any(k.startswith(f"{path}.") for k in known) or _unknown(inner, known, path):
            return True
    return False


def _of_match(node: _Rule, schema: Mapping[str, Any] | None) -> Rule:
    if schema is None:
        return lambda _row: NO_SCHEMA
    leaves = {leaf.path: leaf for leaf in leaf_fields(schema)}
    partial = node.compare == "partial"
    rules: dict[str, str] = {path: default_compare(leaf) for path, leaf in leaves.items()}
    paths = [node.field] if node.field else list(leaves)
    if node.compare and not partial:
        rules |= dict.fromkeys(paths, node.compare)
    reader = OutputReader(schema, rules)

    def score(row: Read) -> Score:
        if row.text is None:
            return NO_OUTPUT
        if not isinstance(row.label, Mapping):
            return NO_LABEL
        if row.value is None:
            return 0.0
        if partial:
            return sum(overlap(get_path(row.value, p), get_path(row.label, p)) for p in paths) / len(paths)
        said, expected = reader.read(row.text), reader.read(dump_output(schema, row.label))
        if node.field is None:
            return float(right(said, expected))
        return float(said.keys.get(node.field) == expected.keys.get(node.field))

    return score


def overlap(said: Any, expected: Any) -> float:
    """F1 of the items of arrays and of the words of strings, equality of all else; 1 where both hold nothing."""
    if isinstance(said, list) or isinstance(expected, list):
        a, b = items(said), items(expected)
    elif isinstance(said, str) or isinstance(expected, str):
        a, b = tokens(said), tokens(expected)
    else:
        return float(items(said) == items(expected))
    if not a and not b:
        return 1.0
    left, common = list(b), 0
    for one in a:
        if one in left:
            left.remove(one)
            common += 1
    return 2 * common / (len(a) + len(b))


def _enum(node: _Rule) -> Callable[[Any, Read], Score]:
    allowed = {(isinstance(v, bool), v) for v in node.values or ()}
    return lambda value, _row: float(not isinstance(value, list | dict) and (isinstance(value, bool), value) in allowed)


def _range(node: _Rule) -> Callable[[Any, Read], Score]:
    low = float("-inf") if node.minimum is None else node.minimum
    high = float("inf") if node.maximum is None else node.maximum
    return lambda value, _row: float(isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high)


def _length(node: _Rule) -> Callable[[Any, Read], Score]:
    low, high = node.minimum or 0, float("inf") if node.maximum is None else node.maximum
    return lambda value, _row: float(low <= len(value) <= high) if isinstance(value, str | list) else 0.0


def _regex(node: _Rule) -> Callable[[Any, Read], Score]:
    pattern = re.compile(node.pattern or "")
    return lambda value, _row: float(isinstance(value, str) and pattern.search(value) is not None)


def _format(node: _Rule) -> Callable[[Any, Read], Score]:
    return lambda value, _row: float(isinstance(value, str) and of_format(value, node.format or ""))


def of_format(value: str, name: str) -> bool:
    """Whether a text is a date, time, date-time (RFC 3339), email, uri or uuid."""
    try:
        match name:
            case "date":
                date.fromisoformat(value)
                return len(value) == 10
            case "time":
                return ":" in value and bool(time.fromisoformat(value.replace("Z", "+00:00")))
            case "date-time":
                return "T" in value.upper() and bool(datetime.fromisoformat(value.upper().replace("Z", "+00:00")))
            case "email":
                return _EMAIL.fullmatch(value) is not None
            case "uri":
                return bool(urlsplit(value).scheme and (urlsplit(value).netloc or urlsplit(value).path)) and " " not in value
            case _:
                return str(UUID(value)) == value.lower()
    except ValueError:
        return False


def _grounded(node: _Rule, schema: Mapping[str, Any] | None) -> Callable[[Any, Read], Score]:
    leaf = next((f for f in leaf_fields(schema) if f.path == node.field), None) if schema else None
    form = leaf.schema.get("format") if leaf else None
    return lambda value, row: grounded(value, row.input_text, form if form in FORMATS else None)


def grounded(value: Any, text: str, form: Literal["date", "time", "date-time"] | None = None) -> Score:
    """Whether a string, number, date or time stands in a text: letter for letter but for case and spaces, or as the text may write it
    ("two dozen", "1.250,00", "3 April 2025"), under any convention."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "nothing that could stand in a text"
    if isinstance(value, str):
        if _folded(value) in _folded(text):
            return 1.0
        return float(form is not None and value in _readings(text, form))
    return float(value in _readings(text, "number"))


@lru_cache(maxsize=4096)
def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@lru_cache(maxsize=4096)
def _readings(text: str, kind: Literal["number", "date", "time", "date-time"]) -> frozenset[Any]:
    return frozenset(reading.value for reader in Reader(kind).conventions() for reading in reader.read(text))
