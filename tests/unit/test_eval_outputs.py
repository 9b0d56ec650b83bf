import pytest
from test_eval_predictions import SCHEMA

from pp_assets.evaluation.outputs import OutputReader, right, strict_json, tokens
from pp_resources.errors import UserError

GOOD = '{"intent":"buy","urgent":true,"order":"A1","items":["x","y"],"count":2}'


def reader(**compare):
    rules = {"intent": "exact", "urgent": "exact", "order": "exact", "items": "ordered", "count": "exact"}
    return OutputReader(SCHEMA, {**rules, **compare})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1e999}', "a number too large for a double"),
        ('{"a": 1, "a": 1}', "the same key twice"),
        ('{"a": {"b": 1, "b": 2}}', "the same key twice"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"a": 1} and more', "Extra data"),
        ('Here it is: {"a": 1}', "Expecting value"),
        ('```json\n{"a": 1}\n```', "Expecting value"),
        ("{'a': 1}", "Expecting property name"),
        ('{"a": 1,}', "Illegal trailing comma|Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ("", "Expecting value"),
    ],
)
def test_only_strict_json_is_read(text, why):
    with pytest.raises(ValueError, match=why):
        strict_json(text)


def test_white_space_around_and_pairs_of_surrogates_are_json():
    assert strict_json(' \n{"a": "\\ud83d\\ude00"}\t') == {"a": "😀"}


@pytest.mark.parametrize(
    ("text", "json_ok", "valid", "forbidden", "out_of_enum"),
    [
        (GOOD, True, True, False, False),
        ('{"intent":"buy","urgent":true}', True, True, False, False),
        ('{"intent":"hold","urgent":true}', True, False, False, True),
        ('{"intent":"buy","urgent":true,"why":"x"}', True, False, True, False),
        ('{"intent":"buy"}', True, False, False, False),
        ('{"intent":"buy","urgent":1}', True, False, False, False),
        ("[1]", True, False, False, False),
        ('"buy"', True, False, False, False),
        ('{"intent":NaN,"urgent":true}', False, False, False, False),
        ('{"intent":"buy","intent":"buy","urgent":true}', False, False, False, False),
    ],
)
def test_an_answer_is_judged_by_the_schema(text, json_ok, valid, forbidden, out_of_enum):
    answer = reader().read(text)
    assert (answer.json_ok, answer.valid, answer.forbidden, answer.out_of_enum) == (json_ok, valid, forbidden, out_of_enum)
    assert bool(answer.problem) != valid


def test_empty_output_says_so():
    assert reader().read(" \n").problem == "empty output"


@pytest.mark.parametrize(
    "text",
    [
        '{"count":2,"items":["x","y"],"order":"A1","urgent":true,"intent":"buy"}',
        '{ "intent" : "buy", "urgent": true, "order": "A1", "items": ["x", "y"], "count": 2.0 }',
    ],
)
def test_key_order_white_space_and_whole_floats_do_not_matter(text):
    read = reader()
    assert right(read.read(text), read.read(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        '{"intent":"buy","urgent":true,"order":"a1","items":["x","y"],"count":2}',
        '{"intent":"buy","urgent":true,"order":"A1","items":["y","x"],"count":2}',
        '{"intent":"buy","urgent":true,"order":"A1","items":["x","y"],"count":null}',
        '{"intent":"buy","urgent":true,"order":null,"items":["x","y"],"count":2}',
        '{"intent":"buy","urgent":true,"order":"A1","count":2}',
        GOOD[:-1],
    ],
)
def test_any_other_difference_is_wrong(text):
    read = reader()
    assert not right(read.read(text), read.read(GOOD))


def test_an_absent_nullable_field_equals_null():
    read = reader()
    assert right(read.read('{"intent":"buy","urgent":true}'), read.read('{"intent":"buy","urgent":true,"order":null,"count":null}'))


def test_rules_of_comparison_follow_the_rubric():
    read = reader(order="casefold", items="set")
    assert right(read.read('{"intent":"buy","urgent":true,"order":"a1","items":["y","x","x"],"count":2}'), read.read(GOOD))


def test_a_forbidden_key_makes_a_right_answer_wrong():
    read = reader()
    assert not right(read.read(GOOD[:-1] + ',"extra":1}'), read.read(GOOD))


def test_values_outside_the_fields_are_compared_too():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    read = OutputReader(schema, {"a": "exact"})
    assert not right(read.read('{"a":"x","b":1}'), read.read('{"a":"x","b":2}'))
    assert right(read.read('{"a":"x","b":1.0}'), read.read('{"b":1,"a":"x"}'))


def test_nested_objects_are_compared_by_field():
    inner = {"type": ["object", "null"], "properties": {"b": {"type": "boolean"}}}
    read = OutputReader({"type": "object", "properties": {"a": inner}}, {"a.b": "exact"})
    assert not right(read.read('{"a":null}'), read.read('{"a":{}}'))
    assert not right(read.read('{"a":{"b":true}}'), read.read('{"a":{"b":false}}'))


def test_true_is_not_one():
    read = OutputReader({"type": "object", "properties": {"a": {}}}, {"a": "exact"})
    assert not right(read.read('{"a":true}'), read.read('{"a":1}'))


def test_an_expected_output_that_breaks_the_schema_is_refused():
    with pytest.raises(UserError, match=r"toy, item 1: the expected output is not valid: \$\.intent: 'hold' is not one of"):
        reader().expected('{"intent":"hold","urgent":true}', "toy, item 1")


def test_tokens_are_words_and_signs_in_lower_case():
    assert tokens("Order A-1, please") == ["order", "a", "-", "1", ",", "please"]
    assert tokens(None) == []
