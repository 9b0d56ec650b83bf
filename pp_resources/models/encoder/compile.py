"""Compiles an output schema to heads: which layer answers which field, and which fields no layer can answer.

enum, boolean, const, integer of a few values → one choice; array of enums → flags; string → a span of the input (or null);
number, date, time → one of those that stand in the input; array of strings → tagged spans of the input; array of objects → tagged spans,
each with the choices of its object's other fields.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pp_resources.errors import UserError
from pp_resources.json_schema import Field, Schema, leaf_fields, output_validator, resolve
from pp_resources.models.encoder.objects import place_of
from pp_resources.models.encoder.readings import FORMATS, Reader

MAX_CHOICES = 16  # an integer between two bounds that lets no more values through is a choice among them
_LOGIC = ("not", "allOf", "anyOf", "oneOf", "if")
_SPAN_LIMITS = ("pattern", "format", *_LOGIC)
# Rules over several fields at once, which heads that answer one field each cannot keep.
_OBJECT_RULES = (
    *_LOGIC,
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
)


@dataclass(frozen=True)
class Head:
    """One answered field.

    `values` are the choices of a "choice" (None among them when allowed) or the flags of "flags"; `schema` is the leaf's.
    `nullable`: None is an answer (null, or the field left out). `empty_is_null`: no flag and no tag mean None, not an empty list.
    "value" (a number, a date, a time): `reader` finds its candidates in the input; `fallback` answers a field that may not be null when
    there is none. "items": the tagged spans are the values of `anchor`, a path in an object of the list, and `fields` are the heads of
    its other paths. `whole_words`: copied strings begin and end where words do. `temperature` divides the logits, of lists the logarithm of
    the probability of the whole list, so that probabilities are those seen on validation rows; `label_temperature` divides the logits of
    flags for the probability of each one.
    """

    path: str
    kind: Literal["choice", "flags", "span", "tags", "value", "items"]
    values: tuple[Any, ...]
    nullable: bool
    schema: Mapping[str, Any]
    empty_is_null: bool = False
    reader: Reader | None = None
    fallback: Any = None
    anchor: str = ""
    fields: tuple["Head", ...] = ()
    whole_words: bool = False
    temperature: float = 1.0
    label_temperature: float = 1.0

    @property
    def listing(self) -> bool:
        """Whether the answer is a list."""
        return self.kind in ("flags", "tags", "items")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"values": list(self.values)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Head":
        reader = Reader(**stored["reader"]) if stored.get("reader") else None
        fields = tuple(cls.from_json(field) for field in stored.get("fields", ()))
        return cls(**{**stored, "values": tuple(stored["values"]), "reader": reader, "fields": fields})


def compile_schema(schema: Schema) -> list[Head]:
    """One head per leaf in schema order; `conventions.learn` adds what the data say. Raises UserError naming every field that no head can
    produce."""
    problems = schema_problems(schema)
    if problems:
        raise UserError("; ".join(problems), where="io_schema.output", how="use a causal variant (lora-r8) for this task")
    return [_head(leaf, schema) for leaf in leaf_fields(schema)]


def same(a: Any, b: Any) -> bool:
    """Equal as JSON has it: 1 is 1.0, but not true."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def schema_problems(schema: Schema) -> list[str]:
    """Why heads cannot produce this output, one sentence a field; empty when they can."""
    reasons = _rules_over_fields(schema)
    reasons += [(leaf.path, reason) for leaf in leaf_fields(schema) if (reason := _structural_problem(leaf, schema))]
    return [problem(path, reason) for path, reason in reasons]


def problem(path: str, reason: str) -> str:
    """The sentence that refuses a field, or the whole output when `path` is empty."""
    return f"{f'field {path!r}' if path else 'the output'} {reason}, which no encoder head can produce: use a causal variant"


def item_schema(root: Schema, array: Schema) -> dict[str, Any]:
    """The schema of the objects in an array as one of its own, with the definitions that it may refer to."""
    definitions = {name: root[name] for name in ("$defs", "definitions") if name in root}
    return definitions | resolve(root, array.get("items"))[0]


def _head(leaf: Field, root: Schema) -> Head:
    nullable = _nullable(leaf)
    null = (None,) if nullable else ()
    if leaf.kind in ("boolean", "enum", "const", "null") or _few(leaf):
        return Head(leaf.path, "choice", (*_values(leaf, root), *null), nullable, leaf.schema)
    if leaf.kind == "array_enum":
        return Head(leaf.path, "flags", _values(leaf, root), nullable, leaf.schema)
    if leaf.kind == "array_string":
        return Head(leaf.path, "tags", (), nullable, leaf.schema)
    if leaf.kind == "other":
        inner = item_schema(root, leaf.schema)
        anchor = next(field.path for field in leaf_fields(inner) if field.kind == "string")
        fields = tuple(_head(field, inner) for field in leaf_fields(inner) if field.path != anchor)
        return Head(leaf.path, "items", (), nullable, leaf.schema, anchor=anchor, fields=fields)
    reads = leaf.kind if leaf.kind in ("number", "integer") else _typed_format(leaf)
    if reads:
        return Head(leaf.path, "value", (), nullable, leaf.schema, reader=Reader(reads))  # type: ignore[arg-type]
    return Head(leaf.path, "span", (), nullable, leaf.schema)


def _nullable(leaf: Field) -> bool:
    return leaf.nullable or not leaf.required


def _few(leaf: Field) -> range | None:
    """The integers between the bounds of a field when they are few."""
    low, high = leaf.schema.get("minimum"), leaf.schema.get("maximum")
    if leaf.kind != "integer" or low is None or high is None or not 0 <= high - low < MAX_CHOICES:
        return None
    return range(math.ceil(low), math.floor(high) + 1)


def _typed_format(leaf: Field) -> str | None:
    name = leaf.schema.get("format")
    return name if leaf.kind == "string" and name in FORMATS and not leaf.verbatim else None


def _values(leaf: Field, root: Schema) -> tuple[Any, ...]:
    """The listed values, once each and without those that another keyword of the field forbids."""
    schema = resolve(root, leaf.schema.get("items"))[0] if leaf.kind == "array_enum" else leaf.schema
    allowed = output_validator(root).evolve(schema=schema)
    found: list[Any] = []
    for value in (False, True) if leaf.kind == "boolean" else _few(leaf) or leaf.values:
        if allowed.is_valid(value) and not any(same(value, known) for known in found):
            found.append(value)
    return tuple(found)


def _rules_over_fields(schema: Schema) -> list[tuple[str, str]]:
    found = []
    for place in place_of(schema).objects():
        rules = [name for name in _OBJECT_RULES if name in place.schema]
        if rules:
            found.append((place.path, f"is an object with a rule over several fields ({rules[0]!r})"))
    return found


def _structural_problem(leaf: Field, root: Schema) -> str | None:
    if (leaf.kind in ("boolean", "enum", "const", "array_enum") or _few(leaf)) and not _values(leaf, root):
        return "has no value that all its keywords allow"
    if leaf.kind == "other":
        return _items_problem(leaf, root) or _list_problem(leaf, root)
    if leaf.kind == "string" and not _nullable(leaf) and not _typed_format(leaf):
        limits = [name for name in _SPAN_LIMITS if name in leaf.schema]
        if limits:
            return f"must match {limits[0]!r} and may not be null"
    return _list_problem(leaf, root)


def _items_problem(leaf: Field, root: Schema) -> str | None:
    """Why tags with choices cannot write an array of objects: one copied string has to mark each object, all else is chosen."""
    items, null = resolve(root, leaf.schema.get("items"))
    if leaf.schema.get("type") != "array" or items.get("type") != "object" or not items.get("properties") or null or "anyOf" in items:
        return "is free-form, a union, or an array of neither values nor plain objects"
    inner = item_schema(root, leaf.schema)
    fields = leaf_fields(inner)
    anchors = [field for field in fields if field.kind == "string"]
    if len(anchors) != 1:
        names = f" ({', '.join(repr(field.path) for field in anchors)})" if anchors else ""
        return f"is an array of objects with {len(anchors)} copied strings each{names}, where exactly one has to mark an object"
    if _nullable(anchors[0]):
        return f"is an array of objects whose only copied string {anchors[0].path!r} may be missing"
    for path, reason in _rules_over_fields(inner):
        return f"is an array of objects with {path or 'one'!r} that {reason}"
    for field in fields:
        if field is not anchors[0] and field.kind not in ("boolean", "enum", "const", "null") and not _few(field):
            return f"is an array of objects whose field {field.path!r} is neither the copied string nor one of a few values"
        if field is not anchors[0] and field.kind != "null" and not _values(field, inner):
            return f"is an array of objects whose field {field.path!r} has no value that all its keywords allow"
    return None


def _list_problem(leaf: Field, root: Schema) -> str | None:
    least = leaf.schema.get("minItems", 0)
    if leaf.kind == "array_enum":
        rules = [name for name in (*_LOGIC, "contains") if name in leaf.schema]
        if rules:
            return f"is a list with a rule on its combination ({rules[0]!r})"
        if least > min(len(_values(leaf, root)), leaf.schema.get("maxItems", least)):
            return f"is a list of at least {least} items, which its values and 'maxItems' do not allow without repeating one"
    if leaf.kind in ("array_string", "other"):
        if _nullable(leaf):
            return f"is a list of at least {least} copied strings" if least > 1 else None
        if not output_validator(root).evolve(schema=leaf.schema).is_valid([]):
            return "is a list of copied strings that may not be empty"
    return None
