"""JSON Schemas as the pipeline sees them: flat fields by dotted path, one canonical form of an output, one validator.

Schemas are checked when a task is loaded (`schema_check.py`), so the functions here may assume a sound one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

Schema = Mapping[str, Any]
Kind = Literal["enum", "boolean", "string", "number", "integer", "array_enum", "array_string", "const", "null", "other"]
_SCALARS = (str, bool, int, float, type(None))
_MISSING = object()


@dataclass(frozen=True)
class Field:
    """One leaf of the output.

    `path` is dotted; `schema` is the leaf's own, references followed and the null alternative taken away. `required` and `nullable`
    speak of the leaf in the whole object: below an optional or nullable object, a leaf is not required and nullable. `values` holds
    the allowed values of enum, array_enum and const (null left out), else nothing.
    """

    path: str
    schema: Schema
    kind: Kind
    nullable: bool
    required: bool
    values: tuple[Any, ...] = ()

    @property
    def verbatim(self) -> bool:
        """Whether the value must occur in the input text (`x-verbatim` on the leaf or on the items of an array)."""
        items = self.schema.get("items")
        return bool(self.schema.get("x-verbatim") or (isinstance(items, Mapping) and items.get("x-verbatim")))


def output_validator(schema: Schema) -> Validator:
    """The one validator of outputs, for data and for answers. `format` is an annotation, as the JSON Schema standard has it by default."""
    return validator_for(schema, default=Draft202012Validator)(schema)


def leaf_fields(schema: Schema) -> list[Field]:
    """Every leaf of an object schema in schema order, nested objects flattened with dots; what has no simple kind (free-form objects,
    arrays of objects, unions, recursion) is one leaf of kind "other"."""
    return list(_leaves(schema, schema, "", required=True, nullable=False, refs=()))


def get_path(obj: Any, path: str, default: Any = None) -> Any:
    """Value at a dotted path, `default` when it is not there."""
    for part in path.split("."):
        if not isinstance(obj, Mapping) or part not in obj:
            return default
        obj = obj[part]
    return obj


def set_path(obj: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path, making the objects on the way."""
    *parents, last = path.split(".")
    for part in parents:
        obj = obj.setdefault(part, {})
    obj[last] = value


def canonical_output(schema: Schema, obj: Any) -> Any:
    """One form for equal outputs: keys in schema order, an absent optional nullable field becomes null, unknown keys last and sorted,
    whole floats as integers where the schema says integer. What is no object where an object belongs is left as it is."""
    return _canonical(schema, schema, obj)


def dump_output(schema: Schema, obj: Any) -> str:
    """Canonical output as compact JSON: no spaces, text not escaped to ASCII."""
    return json.dumps(canonical_output(schema, obj), ensure_ascii=False, separators=(",", ":"))


def resolve(root: Schema, node: Any) -> tuple[dict[str, Any], bool]:
    """A schema node with local references followed and a null alternative taken away: (node, whether null is allowed).

    A union of several alternatives that are not null keeps its `anyOf`; a recursive reference is followed by one step only.
    """
    found: dict[str, Any] = dict(node) if isinstance(node, Mapping) else {}
    nullable, seen = False, set()
    while True:
        if "$ref" in found and found["$ref"] not in seen:
            seen.add(found["$ref"])
            target = follow(root, found.pop("$ref"))
            found = {**(target if isinstance(target, Mapping) else {}), **found}
            continue
        branches = found.get("anyOf", found.get("oneOf", found.get("allOf")))
        if isinstance(branches, list):
            rest = [b for b in branches if not _is_null(root, b)] if "allOf" not in found else branches
            nullable |= len(rest) < len(branches)
            outer = {k: v for k, v in found.items() if k not in ("anyOf", "oneOf", "allOf")}
            if len(rest) == 1:
                found = {**rest[0], **outer} if isinstance(rest[0], Mapping) else outer
                continue
            if len(rest) < len(branches):
                found = {**outer, "anyOf": rest}
        break
    kinds = found.get("type")
    null_by_type = isinstance(kinds, list) and "null" in kinds
    if isinstance(kinds, list) and null_by_type:
        left = [k for k in kinds if k != "null"]
        found["type"] = left[0] if len(left) == 1 else left
    values = found.get("enum")
    if isinstance(values, list) and values != [None]:
        # Both the list and the type, where there is one, must let null through.
        null_by_type = None in values and (kinds is None or null_by_type)
        found["enum"] = [v for v in values if v is not None]
    return found, nullable or null_by_type


def follow(root: Schema, ref: str) -> Any:
    """The node that a local reference (`#`, `#/$defs/x`) names, None when it names nothing."""
    node: Any = root if ref == "#" or ref.startswith("#/") else None
    for part in ref.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            return None
    return node


def not_verbatim(schema: Schema, output: Any, input_text: str) -> list[tuple[str, str]]:
    """(JSON path, value) of each string under `"x-verbatim": true` that does not occur in the input, letter for letter."""
    return [(path, value) for path, value in _verbatim(schema, schema, output, "$") if value not in input_text]


def mentions_verbatim(node: Any) -> bool:
    """Whether `x-verbatim` is set anywhere in a schema."""
    if isinstance(node, Mapping):
        return bool(node.get("x-verbatim")) or any(mentions_verbatim(v) for v in node.values())
    return isinstance(node, list) and any(mentions_verbatim(v) for v in node)


def _verbatim(root: Schema, node: Any, value: Any, path: str) -> Iterator[tuple[str, str]]:
    node, _ = resolve(root, node)
    for branch in node.get("anyOf", node.get("oneOf", [])):
        yield from _verbatim(root, branch, value, path)
    if isinstance(value, str):
        if node.get("x-verbatim"):
            yield path, value
    elif isinstance(value, list):
        # On an array, the mark speaks for its strings.
        items = node.get("items", {})
        marked = {**items, "x-verbatim": True} if node.get("x-verbatim") and isinstance(items, Mapping) else items
        for i, item in enumerate(value):
            yield from _verbatim(root, marked, item, f"{path}[{i}]")
    elif isinstance(value, Mapping):
        for name, child in node.get("properties", {}).items():
            if name in value:
                yield from _verbatim(root, child, value[name], f"{path}.{name}")


def _leaves(root: Schema, node: Any, path: str, *, required: bool, nullable: bool, refs: tuple[str, ...]) -> Iterator[Field]:
    ref = node.get("$ref") if isinstance(node, Mapping) else None
    inner, null_here = resolve(root, node)
    nullable = nullable or null_here
    recursive = ref is not None and ref in refs
    if "properties" in inner and inner.get("type", "object") == "object" and "anyOf" not in inner and not recursive:
        must = inner.get("required", [])
        for name, child in inner["properties"].items():
            yield from _leaves(
                root,
                child,
                f"{path}.{name}" if path else name,
                required=required and not null_here and name in must,
                nullable=nullable or not required,
                refs=(*refs, ref) if ref else refs,
            )
        return
    kind, values = ("other", ()) if recursive else _kind(root, inner)
    yield Field(path, inner, kind, nullable or kind == "null", required, values)


def _kind(root: Schema, node: dict[str, Any]) -> tuple[Kind, tuple[Any, ...]]:
    if "const" in node:
        return ("null", ()) if node["const"] is None else ("const", (node["const"],))
    if "enum" in node:
        values = tuple(node["enum"])
        if values == (None,):
            return "null", ()
        if not all(isinstance(v, _SCALARS) for v in values):
            return "other", ()
        return ("boolean", ()) if set(map(repr, values)) == {"True", "False"} else ("enum", values)
    kind = node.get("type")
    if kind == "array":
        items, null_items = resolve(root, node.get("items", {}))
        inner, values = _kind(root, items) if items else ("other", ())
        if inner in ("enum", "string") and not null_items and "prefixItems" not in node:
            return ("array_enum", values) if inner == "enum" else ("array_string", ())
        return "other", ()
    if kind in ("string", "boolean", "number", "integer", "null"):
        return kind, ()
    return "other", ()


def _canonical(root: Schema, node: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = _branch(root, node, value)
        properties = inner.get("properties", {})
        out = {}
        for name, child in properties.items():
            found = value.get(name, _MISSING)
            if found is not _MISSING:
                out[name] = _canonical(root, child, found)
            elif name not in inner.get("required", ()) and _takes_null(root, child):
                out[name] = None
        return out | {name: value[name] for name in sorted(value.keys() - properties.keys())}
    if isinstance(value, list):
        inner, _ = resolve(root, node)
        first = inner.get("prefixItems", [])
        return [_canonical(root, first[i] if i < len(first) else inner.get("items", {}), v) for i, v in enumerate(value)]
    if isinstance(value, float) and value.is_integer() and resolve(root, node)[0].get("type") == "integer":
        return int(value)
    return value


def _branch(root: Schema, node: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    inner, _ = resolve(root, node)
    options = inner.get("anyOf", inner.get("oneOf", []))
    for option in options:
        if output_validator({**option, "$defs": root.get("$defs", {})}).is_valid(value):
            return _branch(root, option, value)
    return inner


def _takes_null(root: Schema, node: Any) -> bool:
    inner, nullable = resolve(root, node)
    return nullable or _is_null(root, inner)


def _is_null(root: Schema, node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    target = follow(root, node["$ref"]) if "$ref" in node else node
    if not isinstance(target, Mapping):
        return False
    return target.get("type") in ("null", ["null"]) or target.get("enum") == [None] or target.get("const", _MISSING) is None
