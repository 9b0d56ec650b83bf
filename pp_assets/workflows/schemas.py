"""Schemas of answers: JSON Schema as it is, or the short form `field: type`, which requires every field and allows no other."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from pp_assets.task.spec_file import Where
from pp_resources.errors import nearest

SHORT: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "text": {"type": "string"},
    "float": {"type": "number"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "int": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "bool": {"type": "boolean"},
    "array": {"type": "array"},
    "list": {"type": "array"},
    "object": {"type": "object"},
}
_TELLING = {"$schema", "$ref", "$defs", "properties", "anyOf", "oneOf", "allOf", "enum", "const", "items"}
_BESIDE_TYPE = {"title", "description", "default", "examples", "format", "pattern", "required", "additionalProperties", "uniqueItems"}
_BESIDE_TYPE |= {
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "multipleOf",
}


def is_json_schema(given: Mapping[str, Any]) -> bool:
    """Whether a mapping is JSON Schema, not `field: type`."""
    return bool(_TELLING & given.keys()) or ("type" in given and given.keys() <= _BESIDE_TYPE | {"type"})


def full(given: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema of either form, one that `faults` finds nothing in."""
    return dict(given) if is_json_schema(given) else closed({name: _short(value) for name, value in given.items()})


def closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object with exactly these fields."""
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": dict(properties)}


def faults(given: Mapping[str, Any], where: Where = ()) -> Iterator[tuple[Where, str, str]]:
    """What is wrong with a schema: place in it, what, how to mend it."""
    if is_json_schema(given):
        try:
            Draft202012Validator.check_schema(given)
        except SchemaError as error:
            yield (*where, *error.absolute_path), f"no JSON Schema: {error.message[:200]}", ""
        return
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from faults(value, (*where, name))
        elif not isinstance(value, str):
            yield (*where, name), f"{value!r} is no type", f"known: {', '.join(sorted(SHORT))}"
        elif value.removeprefix("list[").removesuffix("]") not in SHORT:
            yield (*where, name), f"unknown type {value!r}", nearest(value, SHORT)


def type_of(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: a type's name or a schema."""
    return _short(given)


def _short(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return full(value)
    if value.startswith("list[") and value.endswith("]"):
        return {"type": "array", "items": dict(SHORT[value[5:-1]])}
    return dict(SHORT[value])
