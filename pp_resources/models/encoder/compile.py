"""Compiles an output schema to heads: which layer answers which field, and which fields no layer can answer.

enum, boolean, const → one choice; array of enums → flags; string → a span of the input (or null);
array of strings → tagged spans of the input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pp_resources.errors import UserError
from pp_resources.json_schema import Field, Schema, get_path, leaf_fields, output_validator, resolve
from pp_resources.models.encoder.objects import place_of
from pp_resources.models.encoder.occurrences import occurrences

# A string field whose gold values are mostly not in the text cannot be learnt as a pointer into it.
MIN_FOUND = 0.9
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
    """

    path: str
    kind: Literal["choice", "flags", "span", "tags"]
    values: tuple[Any, ...]
    nullable: bool
    schema: Mapping[str, Any]
    empty_is_null: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"values": list(self.values)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Head":
        return cls(**{**stored, "values": tuple(stored["values"])})


def compile_schema(schema: Schema) -> list[Head]:
    """One head per leaf in schema order. Raises UserError naming every field that no head can produce."""
    problems = schema_problems(schema)
    if problems:
        raise UserError("; ".join(problems), where="io_schema.output", how="use a causal variant (lora-r8) for this task")
    return [_head(leaf, schema) for leaf in leaf_fields(schema)]


def learn_empties(heads: Sequence[Head], outputs: Sequence[Mapping[str, Any]]) -> list[Head]:
    """The heads with `empty_is_null` where the data mostly write null, or nothing, for a list without items."""
    found = []
    for head in heads:
        if head.kind in ("flags", "tags") and head.nullable:
            values = [get_path(output, head.path) for output in outputs]
            head = replace(head, empty_is_null=values.count(None) > values.count([]))
        found.append(head)
    return found


def same(a: Any, b: Any) -> bool:
    """Equal as JSON has it: 1 is 1.0, but not true."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def schema_problems(schema: Schema, examples: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> list[str]:
    """Why heads cannot produce this output, one sentence a field; empty when they can.

    `examples` are (input text, output): with them, strings that are not copied from the input are found out as well.
    """
    reasons = []
    for place in place_of(schema).objects():
        rules = [name for name in _OBJECT_RULES if name in place.schema]
        if rules:
            reasons.append((place.path, f"is an object with a rule over several fields ({rules[0]!r})"))
    for leaf in leaf_fields(schema):
        reason = _structural_problem(leaf, schema) or _not_copied(leaf, examples)
        if reason:
            reasons.append((leaf.path, reason))
    names = [(f"field {path!r}" if path else "the output", reason) for path, reason in reasons]
    return [f"{name} {reason}, which no encoder head can produce: use a causal variant" for name, reason in names]


def _head(leaf: Field, root: Schema) -> Head:
    nullable = _nullable(leaf)
    null = (None,) if nullable else ()
    match leaf.kind:
        case "boolean" | "enum" | "const" | "null":
            return Head(leaf.path, "choice", (*_values(leaf, root), *null), nullable, leaf.schema)
        case "array_enum":
            return Head(leaf.path, "flags", _values(leaf, root), nullable, leaf.schema)
        case "array_string":
            return Head(leaf.path, "tags", (), nullable, leaf.schema)
        case _:
            return Head(leaf.path, "span", (), nullable, leaf.schema)


def _nullable(leaf: Field) -> bool:
    return leaf.nullable or not leaf.required


def _values(leaf: Field, root: Schema) -> tuple[Any, ...]:
    """The listed values, once each and without those that another keyword of the field forbids."""
    schema = resolve(root, leaf.schema.get("items"))[0] if leaf.kind == "array_enum" else leaf.schema
    allowed = output_validator(root).evolve(schema=schema)
    found: list[Any] = []
    for value in (False, True) if leaf.kind == "boolean" else leaf.values:
        if allowed.is_valid(value) and not any(same(value, known) for known in found):
            found.append(value)
    return tuple(found)


def _structural_problem(leaf: Field, root: Schema) -> str | None:
    if leaf.kind in ("boolean", "enum", "const", "array_enum") and not _values(leaf, root):
        return "has no value that all its keywords allow"
    if leaf.kind in ("number", "integer"):
        return f"is a free {leaf.kind}"
    if leaf.kind == "other":
        return "is free-form, a union, or an array of objects"
    if leaf.kind == "string" and not _nullable(leaf):
        limits = [name for name in _SPAN_LIMITS if name in leaf.schema]
        if limits:
            return f"must match {limits[0]!r} and may not be null"
    return _list_problem(leaf, root)


def _list_problem(leaf: Field, root: Schema) -> str | None:
    least = leaf.schema.get("minItems", 0)
    if leaf.kind == "array_enum":
        rules = [name for name in (*_LOGIC, "contains") if name in leaf.schema]
        if rules:
            return f"is a list with a rule on its combination ({rules[0]!r})"
        if least > min(len(_values(leaf, root)), leaf.schema.get("maxItems", least)):
            return f"is a list of at least {least} items, which its values and 'maxItems' do not allow without repeating one"
    if leaf.kind == "array_string":
        if _nullable(leaf):
            return f"is a list of at least {least} copied strings" if least > 1 else None
        if not output_validator(root).evolve(schema=leaf.schema).is_valid([]):
            return "is a list of copied strings that may not be empty"
    return None


def _not_copied(leaf: Field, examples: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    if leaf.kind not in ("string", "array_string"):
        return None
    total = found = 0
    for text, output in examples:
        value = get_path(output, leaf.path)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                total += 1
                found += bool(occurrences(text, item))
    if total and found < MIN_FOUND * total:
        return f"is not copied from the input ({total - found} of {total} values are not in it)"
    return None
