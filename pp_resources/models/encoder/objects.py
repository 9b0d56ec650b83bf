"""The objects around the fields: which may be null or absent, and how the answers of all fields become one valid object."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pp_resources.json_schema import Field, Schema, leaf_fields, resolve

_ABSENT = object()


@dataclass(frozen=True)
class Place:
    """A property of the output, or the output itself. `children` is None for a field; `null` says that null is a value that it may have."""

    name: str
    path: str
    schema: Schema
    required: bool
    null: bool
    children: tuple["Place", ...] | None = None

    def objects(self) -> Iterator["Place"]:
        """This place and all below it that are objects with named properties."""
        if self.children is not None:
            yield self
            for child in self.children:
                yield from child.objects()


def place_of(schema: Schema) -> Place:
    """The tree of a whole output schema."""
    return _place(schema, schema, "", "", True, {leaf.path: leaf for leaf in leaf_fields(schema)})


def assemble(place: Place, values: Mapping[str, Any]) -> Any:
    """The output from one value a field (by dotted path, None for no value).

    A field without a value is null where that is allowed, else left out. An object that lacks a required field, or holds nothing, is itself
    null or left out, where it may be.
    """
    made = _assemble(place, values)
    return {} if made is _ABSENT else made


def _place(root: Schema, node: Any, name: str, path: str, required: bool, leaves: Mapping[str, Field]) -> Place:
    inner, null = resolve(root, node)
    if path in leaves:
        return Place(name, path, inner, required, null or leaves[path].kind == "null")
    must = inner.get("required", [])
    children = inner["properties"].items()
    below = tuple(_place(root, child, key, f"{path}.{key}" if path else key, key in must, leaves) for key, child in children)
    return Place(name, path, inner, required, null, below)


def _assemble(place: Place, values: Mapping[str, Any]) -> Any:
    """The value of a place, _ABSENT when it has none."""
    nothing = None if place.null else _ABSENT
    if place.children is None:
        value = values[place.path]
        return nothing if value is None else value
    made = {child.name: _assemble(child, values) for child in place.children}
    optional = place.null or not place.required
    lacks = any(made[child.name] is _ABSENT for child in place.children if child.required)
    if optional and (lacks or all(value is _ABSENT or value is None or value == [] for value in made.values())):
        return nothing
    # What lacks a field here and may not be left out itself takes the object above with it; that one may, or the field could not be None.
    return _ABSENT if lacks else {name: value for name, value in made.items() if value is not _ABSENT}
