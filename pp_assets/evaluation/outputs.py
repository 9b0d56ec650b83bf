"""Reading one answer: strict parsing, schema validation, and keys by which fields are compared. Nothing is read leniently."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jsonschema.exceptions import ValidationError

from pp_resources.errors import UserError
from pp_resources.json_schema import Field, canonical_output, get_path, leaf_fields, output_validator

_ABSENT = "absent"
_TOKEN = re.compile(r"\w+|[^\w\s]")
REMEMBERED = 100_000  # different texts of a reader, some 2 kB each


def strict_json(text: str) -> Any:
    """Parse JSON text. ValueError for anything the standard does not allow or reads in two ways: NaN, Infinity, numbers beyond a double,
    a key given twice, half a surrogate pair, text around the value, too deep nesting."""
    try:
        value = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant, parse_float=_finite)
        text.encode()
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair") from None
    return value


@dataclass(frozen=True)
class Answer:
    """One output text, read once.

    `value` is the canonical object, None with a `problem` when it is not a JSON object at all. `keys` holds per field a string that is
    equal for equal values under the field's rule; `rest` the same for everything outside the fields.
    """

    text: str
    json_ok: bool = False
    valid: bool = False
    problem: str = ""
    value: dict[str, Any] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""
    forbidden: bool = False
    out_of_enum: bool = False


@dataclass(frozen=True)
class OutputReader:
    """Reads outputs of one schema. `compare` gives the rule of a field by dotted path: exact, casefold, set or ordered."""

    schema: Mapping[str, Any]
    compare: Mapping[str, str]

    @cached_property
    def fields(self) -> list[Field]:
        return leaf_fields(self.schema)

    @cached_property
    def _validator(self) -> Any:
        return output_validator(self.schema)

    @cached_property
    def _seen(self) -> dict[str, Answer]:
        return {}

    def read(self, text: str) -> Answer:
        """Read one output; equal texts are read once."""
        found = self._seen.get(text)
        if found is None:
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            found = self._seen[text] = self._read(text)
        return found

    def expected(self, text: str, where: str) -> Answer:
        """Read an expected output, which must be an object that the schema allows."""
        answer = self.read(text)
        if not answer.valid:
            raise UserError(f"the expected output is not valid: {answer.problem}", where=where, how="build the dataset of this task again")
        return answer

    def _read(self, text: str) -> Answer:
        try:
            parsed = strict_json(text)
        except ValueError as error:
            return Answer(text, problem=f"not JSON: {error}" if text.strip() else "empty output")
        errors = list(self._validator.iter_errors(parsed))
        problem = f"{errors[0].json_path}: {errors[0].message}"[:300] if errors else ""
        if not isinstance(parsed, dict):
            return Answer(text, json_ok=True, problem=problem or "not an object")
        value = canonical_output(self.schema, parsed)
        return Answer(
            text,
            json_ok=True,
            valid=not errors,
            problem=problem,
            value=value,
            keys={f.path: self._key(f.path, value) for f in self.fields},
            rest=_dump(_without(value, [f.path for f in self.fields])),
            forbidden=any(e.validator in ("additionalProperties", "unevaluatedProperties") for e in _descend(errors)),
            out_of_enum=any(_outside(f, get_path(value, f.path)) for f in self.fields),
        )

    def _key(self, path: str, value: dict[str, Any]) -> str:
        found = get_path(value, path, _ABSENT_VALUE)
        if found is _ABSENT_VALUE:
            return _ABSENT
        rule = self.compare.get(path, "exact")
        if rule == "set" and isinstance(found, list):
            return "set " + _dump(sorted({_dump(v) for v in found}))
        return _dump(_fold(found) if rule == "casefold" else found)


def right(answer: Answer, expected: Answer) -> bool:
    """Whole-object match: schema-valid, every field equal under its rule, and nothing else in it that was not expected."""
    return answer.valid and answer.keys == expected.keys and answer.rest == expected.rest


def tokens(value: Any) -> list[str]:
    """Words and signs of a scalar in lower case; nothing for null."""
    return [] if value is None else _TOKEN.findall((value if isinstance(value, str) else _dump(value)).casefold())


def items(value: Any) -> list[str]:
    """Items of an array as comparable strings, null and a missing value as no items; a scalar counts as one item."""
    if value is None:
        return []
    return [_dump(v) for v in value] if isinstance(value, list) else [_dump(value)]


def strings(value: Any) -> list[str]:
    """The strings in a value: itself, or those in an array."""
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]


class _Absent:
    """Stands for a key that is not there; null is a value."""


_ABSENT_VALUE = _Absent()


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("the same key twice")
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number too large for a double")
    return number


def _dump(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _plain(value: Any) -> Any:
    # JSON has one kind of number: 1.0 and 1 are the same value.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _fold(value: Any) -> Any:
    if isinstance(value, str):
        return value.casefold()
    return [_fold(v) for v in value] if isinstance(value, list) else value


def _without(value: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """What is left of an object when the fields are taken out."""
    heads: dict[str, list[str]] = {}
    for path in paths:
        head, _, tail = path.partition(".")
        heads.setdefault(head, []).append(tail)
    left = {}
    for name, inner in value.items():
        if "" in heads.get(name, []):
            continue
        left[name] = _without(inner, heads[name]) if name in heads and isinstance(inner, dict) else inner
    return left


def _descend(errors: list[ValidationError]) -> Iterator[ValidationError]:
    for error in errors:
        yield error
        yield from _descend(list(error.context or []))


def _outside(leaf: Field, value: Any) -> bool:
    if leaf.kind == "enum":
        return value is not None and not _among(value, leaf.values)
    if leaf.kind == "array_enum" and isinstance(value, list):
        return any(not _among(v, leaf.values) for v in value)
    return False


def _among(value: Any, allowed: tuple[Any, ...]) -> bool:
    return any(_dump(value) == _dump(v) for v in allowed)
