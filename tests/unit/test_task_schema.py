"""Output schemas: flat fields, canonical form, verbatim strings."""

import json

import pytest

from pp_assets.task.schema_check import schema_fault
from pp_resources.json_schema import canonical_output, dump_output, get_path, leaf_fields, not_verbatim, output_validator, set_path

PLACE = {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": ["string", "null"]}}, "required": ["city"]}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["team", "where"],
    "$defs": {"place": PLACE},
    "properties": {
        "team": {"type": "string", "enum": ["a", "b"]},
        "mood": {"anyOf": [{"type": "string", "enum": ["good", "bad"]}, {"type": "null"}]},
        "urgent": {"enum": [True, False]},
        "count": {"type": "integer"},
        "score": {"type": ["number", "null"]},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
        "names": {"type": "array", "items": {"type": "string", "x-verbatim": True}},
        "where": {"$ref": "#/$defs/place"},
        "also": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
        "things": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string"}}}},
        "kind": {"const": "v1"},
        "free": {"type": "object"},
        "enum_with_null": {"enum": ["p", None]},
    },
}


def test_leaves_are_flat_and_typed() -> None:
    kinds = {f.path: (f.kind, f.nullable, f.required) for f in leaf_fields(SCHEMA)}
    assert kinds == {
        "team": ("enum", False, True),
        "mood": ("enum", True, False),
        "urgent": ("boolean", False, False),
        "count": ("integer", False, False),
        "score": ("number", True, False),
        "tags": ("array_enum", False, False),
        "names": ("array_string", False, False),
        "where.city": ("string", False, True),
        "where.zip": ("string", True, False),
        "also.city": ("string", True, False),
        "also.zip": ("string", True, False),
        "things": ("other", False, False),
        "kind": ("const", False, False),
        "free": ("other", False, False),
        "enum_with_null": ("enum", True, False),
    }
    values = {f.path: f.values for f in leaf_fields(SCHEMA)}
    assert values["mood"] == ("good", "bad") and values["tags"] == ("x", "y") and values["enum_with_null"] == ("p",)
    assert [f.path for f in leaf_fields(SCHEMA) if f.verbatim] == ["names"]


def test_an_enum_without_null_does_not_become_nullable_by_its_type() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], "enum": ["x"]}}}
    assert not leaf_fields(schema)[0].nullable
    assert not output_validator(schema).is_valid({"a": None})


def test_a_recursive_schema_ends_in_one_leaf() -> None:
    tree = {"type": "object", "properties": {"name": {"type": "string"}, "child": {"$ref": "#/$defs/node"}}}
    schema = {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": tree}}
    assert [(f.path, f.kind) for f in leaf_fields(schema)] == [("root.name", "string"), ("root.child", "other")]
    assert canonical_output(schema, {"root": {"child": {"name": "b"}, "name": "a"}}) == {"root": {"name": "a", "child": {"name": "b"}}}


def test_equal_outputs_have_one_text() -> None:
    one = {"where": {"zip": None, "city": "Oslo"}, "team": "a", "count": 2.0}
    two = {"count": 2, "team": "a", "where": {"city": "Oslo"}, "score": None}
    assert dump_output(SCHEMA, one) == dump_output(SCHEMA, two)
    assert dump_output(SCHEMA, one) == (
        '{"team":"a","mood":null,"count":2,"score":null,"where":{"city":"Oslo","zip":null},"also":null,"enum_with_null":null}'
    )
    assert output_validator(SCHEMA).is_valid(json.loads(dump_output(SCHEMA, one)))


def test_canonical_form_keeps_what_it_does_not_know() -> None:
    assert list(canonical_output(SCHEMA, {"z": 1, "b": 2, "team": "a"}))[-2:] == ["b", "z"]
    assert canonical_output(SCHEMA, [1, "x"]) == [1, "x"] and canonical_output(SCHEMA, None) is None
    assert dump_output(SCHEMA, {"team": "ä", "where": {"city": "北京", "zip": None}}).startswith('{"team":"ä"')


def test_objects_in_arrays_are_put_in_schema_order_too() -> None:
    item = {"properties": {"a": {"type": "string"}, "b": {"type": ["string", "null"]}}}
    schema = {"type": "object", "properties": {"l": {"type": "array", "items": item}}}
    assert dump_output(schema, {"l": [{"b": "2", "a": "1"}, {"a": "3"}]}) == '{"l":[{"a":"1","b":"2"},{"a":"3","b":null}]}'


def test_paths_are_read_and_written() -> None:
    obj: dict = {}
    set_path(obj, "a.b.c", 1)
    assert obj == {"a": {"b": {"c": 1}}} and get_path(obj, "a.b.c") == 1
    assert get_path(obj, "a.x") is None and get_path(obj, "a.b.c.d", "none") == "none"


def test_verbatim_strings_are_looked_up_letter_for_letter() -> None:
    assert not_verbatim(SCHEMA, {"names": ["Ann", "bob"]}, "Ann met Bob") == [("$.names[1]", "bob")]
    item = {"type": "object", "properties": {"n": {"type": ["string", "null"], "x-verbatim": True}}}
    nested = {"type": "object", "properties": {"items": {"type": "array", "items": item}}}
    assert not_verbatim(nested, {"items": [{"n": "x"}, {"n": None}, {"n": "q"}]}, "x y") == [("$.items[2].n", "q")]
    whole = {"type": "object", "properties": {"l": {"type": "array", "x-verbatim": True, "items": {"type": "string"}}}}
    assert not_verbatim(whole, {"l": ["a", "z"]}, "a b") == [("$.l[1]", "z")]


@pytest.mark.parametrize(
    ("schema", "at", "text"),
    [
        ({"type": "object", "properties": {"a": {"$schema": 1, "minimum": "x"}}}, "properties.a", "not a JSON Schema"),
        ({"$schema": "http://json-schema.org/draft-99/schema#", "type": "object"}, "$schema", "unknown JSON Schema draft"),
        ({"type": "object"}, "properties", "the output has no properties"),
        ({"type": "object", "properties": {"a": {"anyOf": [{"typ": "string"}]}}}, "properties.a.anyOf.0.typ", "unknown JSON Schema"),
    ],
)
def test_a_bad_schema_is_named_by_its_place(schema: dict, at: str, text: str) -> None:
    fault = schema_fault(schema, output=True)
    assert fault is not None and fault.at.startswith(at) and text in fault.what


def test_older_drafts_and_own_annotations_are_accepted() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"enum": {"type": "string", "x-note": "a property may be named like a keyword", "default": {"anything": 1}}},
    }
    assert schema_fault(schema, output=True) is None
