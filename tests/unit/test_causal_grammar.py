import json

import pytest
from causal_tiny import OUTPUT, write_tokenizer

from pp_resources.errors import UserError
from pp_resources.models.causal_grammar import Grammar, unenforced


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def schema_of(value, **more):
    return {"type": "object", "properties": {"a": value}, "required": ["a"], "additionalProperties": False, **more}


TWO = {"b": {"type": "integer"}, "c": {"type": "integer"}}
# A schema of "a", and a value of "a" that breaks it.
ENFORCED = {
    "minimum": ({"type": "integer", "minimum": 3}, 2),
    "maximum": ({"type": "integer", "maximum": 3}, 4),
    "exclusiveMinimum": ({"type": "number", "exclusiveMinimum": 3}, 3),
    "exclusiveMaximum": ({"type": "number", "exclusiveMaximum": 3}, 3),
    "multipleOf": ({"type": "integer", "multipleOf": 3}, 4),
    "minLength": ({"type": "string", "minLength": 3}, "ab"),
    "maxLength": ({"type": "string", "maxLength": 3}, "abcd"),
    "pattern": ({"type": "string", "pattern": "^a+$"}, "b"),
    "pattern with a length": ({"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}, "aaaa"),
    "format": ({"type": "string", "format": "date"}, "2024-13-01"),
    "enum": ({"enum": ["x", 1, None]}, "y"),
    "const": ({"const": {"b": 1}}, {"b": 2}),
    "minItems": ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1]),
    "maxItems": ({"type": "array", "items": {"type": "integer"}, "maxItems": 1}, [1, 2]),
    "prefixItems": ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, ["x"]),
    "anyOf": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x"),
    "oneOf": ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "x"),
    "allOf": ({"allOf": [{"type": "integer", "minimum": 0}, {"maximum": 5}]}, 7),
    "patternProperties": ({"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}, {"y": 1}),
    "additionalProperties": ({"type": "object", "additionalProperties": {"type": "integer"}}, {"b": "x"}),
    "minProperties": ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}, {}),
    "maxProperties": ({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 1}, {"x": 1, "y": 2}),
    "required": ({"type": "object", "properties": TWO, "required": ["b"]}, {"c": 1}),
}
REFUSED = {
    "contains": {"type": "array", "contains": {"const": 1}},
    "minContains": {"type": "array", "minContains": 1},
    "maxContains": {"type": "array", "maxContains": 1},
    "unevaluatedItems": {"type": "array", "unevaluatedItems": False},
    "unevaluatedProperties": {"type": "object", "unevaluatedProperties": False},
    "propertyNames": {"type": "object", "propertyNames": {"pattern": "^x"}},
    "not": {"type": "string", "not": {"const": "x"}},
    "if": {"type": "integer", "if": {"minimum": 3}},
    "then": {"type": "integer", "then": {"maximum": 3}},
    "else": {"type": "integer", "else": {"maximum": 3}},
    "dependentRequired": {"type": "object", "properties": TWO, "dependentRequired": {"b": ["c"]}},
    "dependentSchemas": {"type": "object", "properties": TWO, "dependentSchemas": {"b": {"required": ["c"]}}},
    "dependencies": {"type": "object", "properties": TWO, "dependencies": {"b": ["c"]}},
    "$dynamicRef": {"$dynamicRef": "#/$defs/x"},
    "$dynamicAnchor": {"$dynamicAnchor": "x", "type": "integer"},
}
PASSED_OVER = {
    "contentEncoding": ({"type": "string", "contentEncoding": "base64"}, "%"),
    "contentMediaType": ({"type": "string", "contentMediaType": "application/json"}, "%"),
    "contentSchema": ({"type": "string", "contentSchema": {"type": "integer"}}, "%"),
    "format": ({"type": "string", "format": "regex"}, "("),
    "uniqueItems": ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True}, [1, 1]),
}


def accepts(tokenizer, schema, value):
    ids = tokenizer(json.dumps({"a": value}, separators=(",", ":")))["input_ids"]
    return Grammar(tokenizer, schema, len(tokenizer)).accepts([*ids, tokenizer.eos_token_id], "no text")


@pytest.mark.parametrize("name", ENFORCED)
def test_an_answer_that_breaks_this_keyword_cannot_be_said(tokenizer, name):
    node, wrong = ENFORCED[name]
    assert unenforced(schema_of(node)) == []
    assert not accepts(tokenizer, schema_of(node), wrong)


@pytest.mark.parametrize("name", REFUSED)
def test_a_keyword_that_the_grammar_refuses_is_named_with_its_place(tokenizer, name):
    schema = schema_of(REFUSED[name], **{"$defs": {"x": {"type": "integer"}}})
    assert unenforced(schema) == [f"properties.a.{name}"]
    with pytest.raises(UserError, match="cannot enforce the output schema"):
        Grammar(tokenizer, schema, len(tokenizer))


@pytest.mark.parametrize("name", PASSED_OVER)
def test_a_keyword_that_the_grammar_passes_over_is_named_with_its_place(tokenizer, name):
    node, wrong = PASSED_OVER[name]
    assert unenforced(schema_of(node)) == [f"properties.a.{name}"]
    assert accepts(tokenizer, schema_of(node), wrong)


def test_places_lead_through_lists_and_definitions_and_not_into_data():
    deep = {"type": "array", "items": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/x"}]}}
    schema = schema_of(deep, **{"$defs": {"x": {"type": "string", "format": "regex", "not": {"const": "y"}}}})
    assert unenforced(schema) == ["$defs.x.format", "$defs.x.not"]
    assert unenforced(schema_of({"enum": [{"not": 1}], "x-note": {"not": 1}})) == []
    assert unenforced(schema_of({"type": "object", "properties": {"not": {"type": "integer"}}})) == []
    assert unenforced(OUTPUT) == []


def test_what_is_no_matter_of_one_keyword_is_told_in_the_compilers_words():
    both = {"oneOf": [{"type": "integer", "minimum": 0}, {"type": "integer", "maximum": 5}]}
    assert "oneOf" in unenforced(schema_of(both))[0]
    assert "look-around" in unenforced(schema_of({"type": "string", "pattern": "^(?=a)b?"}))[0]
