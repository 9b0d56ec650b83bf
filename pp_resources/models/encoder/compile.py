"""Compiles an output schema to heads: which layer answers which field, and which fields no layer can answer.

enum, boolean, const → one choice; array of enums → flags; string → a span of the input (or null); array of strings → tagged spans of the input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pp_resources.errors import UserError
from pp_resources.json_schema import Field, Schema, get_path, leaf_fields
from pp_resources.models.encoder.occurrences import occurrences

# A string field whose gold values are mostly not in the text cannot be learnt as a pointer into it.
MIN_FOUND = 0.9
_SPAN_LIMITS = ("pattern", "format")


@dataclass(frozen=True)
class Head:
    """One answered field. `values` are the choices of a "choice" (null among them when allowed) or the flags of "flags"; `schema` is the leaf's."""

    path: str
    kind: Literal["choice", "flags", "span", "tags"]
    values: tuple[Any, ...]
    nullable: bool
    schema: Mapping[str, Any]

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
    return [_head(leaf) for leaf in leaf_fields(schema)]


def schema_problems(schema: Schema, examples: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> list[str]:
    """Why heads cannot produce this output, one sentence a field; empty when they can.

    `examples` are (input text, output): with them, strings that are not copied from the input are found out as well.
    """
    found = []
    for leaf in leaf_fields(schema):
        reason = _structural_problem(leaf) or _not_copied(leaf, examples)
        if reason:
            found.append(f"field {leaf.path!r} {reason}, which no encoder head can produce: use a causal variant")
    return found


def _head(leaf: Field) -> Head:
    null = (None,) if leaf.nullable else ()
    match leaf.kind:
        case "boolean":
            return Head(leaf.path, "choice", (False, True, *null), leaf.nullable, leaf.schema)
        case "enum" | "const":
            return Head(leaf.path, "choice", (*leaf.values, *null), leaf.nullable, leaf.schema)
        case "null":
            return Head(leaf.path, "choice", (None,), True, leaf.schema)
        case "array_enum":
            return Head(leaf.path, "flags", leaf.values, leaf.nullable, leaf.schema)
        case "array_string":
            return Head(leaf.path, "tags", (), leaf.nullable, leaf.schema)
        case _:
            return Head(leaf.path, "span", (), leaf.nullable, leaf.schema)


def _structural_problem(leaf: Field) -> str | None:
    if leaf.kind in ("number", "integer"):
        return f"is a free {leaf.kind}"
    if leaf.kind == "other":
        return "is free-form, a union, or an array of objects"
    if leaf.kind == "string" and not leaf.nullable:
        limits = [name for name in _SPAN_LIMITS if name in leaf.schema]
        if limits:
            return f"must match {limits[0]!r} and may not be null"
    if leaf.kind == "array_string" and leaf.schema.get("minItems", 0) > 0:
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
