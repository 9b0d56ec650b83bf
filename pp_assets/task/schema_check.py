"""Faults in a schema that a person wrote, found before anything is computed: each with the field, what is wrong and the nearest match."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jsonschema import SchemaError
from jsonschema.validators import validator_for

from pp_resources.errors import nearest
from pp_resources.json_schema import follow

_SUBSCHEMA = (
    *("items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames", "unevaluatedItems"),
    "unevaluatedProperties",
)
_SUBSCHEMA_MAP = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SUBSCHEMA_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
# Keywords of draft 2020-12 and its predecessors. The standard ignores unknown ones, which turns a typo into a rule that never holds.
_KEYWORDS = {
    *_SUBSCHEMA,
    *_SUBSCHEMA_MAP,
    *_SUBSCHEMA_LIST,
    *("$schema", "$id", "$ref", "$anchor", "$comment", "$vocabulary", "$dynamicRef", "$dynamicAnchor", "id"),
    *("type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength"),
    *("pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties", "required"),
    *("dependentRequired", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format"),
    *("contentEncoding", "contentMediaType", "contentSchema", "dependencies", "additionalItems"),
}
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class SchemaFault:
    """`at` is the place inside the schema (`properties.team.enum`), empty for the schema itself."""

    at: str
    what: str
    how: str = ""


def schema_fault(schema: Mapping[str, Any], *, output: bool) -> SchemaFault | None:
    """The first fault of a schema, None when it is sound. An `output` schema must describe an object with named properties."""
    draft = schema.get("$schema", _DRAFT)
    validator: Any = validator_for({"$schema": draft}, default=cast(Any, None))
    if validator is None:
        return SchemaFault("$schema", f"unknown JSON Schema draft {draft!r}", f"use {_DRAFT}, or leave it out")
    for fault in _keyword_faults(schema, ""):
        return fault
    try:
        validator.check_schema(schema)
    except SchemaError as error:
        is_type = [*error.absolute_path][-1:] == ["type"] and isinstance(error.instance, str)
        how = nearest(str(error.instance), _TYPES) if is_type else ""
        return SchemaFault(".".join(map(str, error.absolute_path)), f"not a JSON Schema: {error.message}", how)
    for fault in _reference_faults(schema, schema, ""):
        return fault
    return _output_fault(schema) if output else None


def _keyword_faults(node: Any, at: str) -> Iterator[SchemaFault]:
    for place, inner in _nodes(node, at):
        for key in inner:
            if key not in _KEYWORDS and not key.startswith("x-"):
                where = f"{place}.{key}" if place else key
                how = f"{nearest(key, _near(key))} (own annotations start with 'x-')"
                yield SchemaFault(where, f"unknown JSON Schema keyword {key!r}", how)
        if "x-verbatim" in inner and not isinstance(inner["x-verbatim"], bool):
            yield SchemaFault(f"{place}.x-verbatim".lstrip("."), "must be true or false")
        properties = inner.get("properties")
        for name in properties if isinstance(properties, Mapping) else ():
            if "." in name or not name:
                how = "use '_', since a dot separates the levels of a field's path"
                yield SchemaFault(f"{place}.properties.{name}".lstrip("."), f"property name {name!r} holds a dot or is empty", how)
        required = inner.get("required")
        if isinstance(properties, Mapping) and isinstance(required, list):
            for name in required:
                if name not in properties:
                    where = f"{place}.required".lstrip(".")
                    yield SchemaFault(where, f"{name!r} is not among the properties", nearest(str(name), properties))


def _near(key: str) -> set[str]:
    # Listing every keyword helps nobody: without a close one, name those that are used daily.
    daily = {"type", "properties", "required", "enum", "items", "additionalProperties", "description", "x-verbatim"}
    return {*_KEYWORDS, "x-verbatim"} if "did you mean" in nearest(key, {*_KEYWORDS, "x-verbatim"}) else daily


def _reference_faults(root: Mapping[str, Any], node: Any, at: str) -> Iterator[SchemaFault]:
    for place, inner in _nodes(node, at):
        ref = inner.get("$ref")
        if ref is None:
            continue
        where = f"{place}.$ref".lstrip(".")
        if not ref.startswith("#"):
            yield SchemaFault(where, f"reference {ref!r} leaves the schema", "put the definition under $defs and write '#/$defs/<name>'")
        elif follow(root, ref) is None:
            known = [f"#/$defs/{name}" for name in root.get("$defs", {})]
            yield SchemaFault(where, f"reference {ref!r} names nothing", nearest(ref, known))


def _output_fault(schema: Mapping[str, Any]) -> SchemaFault | None:
    if schema.get("type") != "object":
        how = "wrap the value in an object with one property"
        return SchemaFault("type", f"the output must be an object (type: object), not {schema.get('type')!r}", how)
    if not schema.get("properties"):
        return SchemaFault("properties", "the output has no properties")
    return None


def _nodes(node: Any, at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every subschema with its place; values of `properties`, `default`, `const` and the like are no schemas."""
    if not isinstance(node, Mapping):
        return
    yield at, node
    for key in _SUBSCHEMA:
        yield from _nodes(node.get(key), f"{at}.{key}".lstrip("."))
    for key in _SUBSCHEMA_MAP:
        inner = node.get(key)
        for name, child in inner.items() if isinstance(inner, Mapping) else ():
            yield from _nodes(child, f"{at}.{key}.{name}".lstrip("."))
    for key in _SUBSCHEMA_LIST:
        inner = node.get(key)
        for i, child in enumerate(inner if isinstance(inner, list) else ()):
            yield from _nodes(child, f"{at}.{key}.{i}".lstrip("."))
