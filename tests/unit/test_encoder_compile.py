import pytest

from pp_resources.errors import UserError
from pp_resources.json_schema import output_validator
from pp_resources.models.encoder.compile import Head, compile_schema, same, schema_problems
from pp_resources.models.encoder.conventions import data_problems, learn
from pp_resources.models.encoder.objects import assemble, place_of
from pp_resources.models.encoder.occurrences import occurrences

CAUSAL = "which no encoder head can produce: use a causal variant"
WORDS = {"type": "array", "items": {"type": "string"}}


def obj(properties, required=None, **more):
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required, **more}


def objects(properties, required=None, **more):
    return {"type": "array", "items": obj(properties, required, **more)}


def compiled(leaf, required=True):
    (head,) = compile_schema(obj({"x": leaf}, ["x"] if required else []))
    return head.kind, head.values, head.nullable


@pytest.mark.parametrize(
    ("leaf", "kind", "values", "nullable"),
    [
        ({"enum": ["a", "b"]}, "choice", ("a", "b"), False),
        ({"type": ["string", "null"], "enum": ["a", "b", None]}, "choice", ("a", "b", None), True),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, "choice", ("a", None), True),
        ({"enum": [1, 2.5, True]}, "choice", (1, 2.5, True), False),
        ({"type": "boolean"}, "choice", (False, True), False),
        ({"type": ["boolean", "null"]}, "choice", (False, True, None), True),
        ({"const": "v1"}, "choice", ("v1",), False),
        ({"type": "null"}, "choice", (None,), True),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "flags", ("a", "b"), False),
        ({"type": ["array", "null"], "items": {"enum": ["a"]}}, "flags", ("a",), True),
        ({"type": "string"}, "span", (), False),
        ({"type": ["string", "null"], "pattern": "^A"}, "span", (), True),
        ({"type": "string", "minLength": 1, "maxLength": 9}, "span", (), False),
        (WORDS, "tags", (), False),
        ({**WORDS, "maxItems": 2, "uniqueItems": True}, "tags", (), False),
        ({**WORDS, "type": ["array", "null"], "minItems": 1}, "tags", (), True),
        ({"type": "number"}, "value", (), False),
        ({"type": ["integer", "null"], "minimum": 0}, "value", (), True),
        ({"type": "integer", "minimum": 1, "maximum": 100}, "value", (), False),
        ({"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 3}, "choice", (3, 6, 9), False),
        ({"type": ["integer", "null"], "minimum": 1, "maximum": 2}, "choice", (1, 2, None), True),
        ({"type": "string", "format": "date"}, "value", (), False),
        ({"type": ["string", "null"], "format": "date-time"}, "value", (), True),
        ({"type": ["string", "null"], "format": "date", "x-verbatim": True}, "span", (), True),
        (objects({"a": {"type": "string"}, "b": {"type": "boolean"}}), "items", (), False),
    ],
)
def test_each_leaf_kind_gets_its_head(leaf, kind, values, nullable):
    assert compiled(leaf) == (kind, values, nullable)


def test_a_field_that_may_be_left_out_has_no_value_as_an_answer():
    assert compiled({"enum": ["a"]}, required=False) == ("choice", ("a", None), True)
    assert compiled({"type": "string", "pattern": "^A"}, required=False) == ("span", (), True)


def test_values_that_another_keyword_forbids_and_repeated_ones_are_no_choices():
    assert compiled({"type": "string", "enum": ["a", "long", 3, "a"], "maxLength": 2})[1] == ("a",)
    assert compiled({"enum": [1, 1.0, True]})[1] == (1, True)
    assert compiled({"type": "array", "items": {"type": "string", "enum": ["a", "long"], "maxLength": 2}})[1] == ("a",)


def test_heads_come_in_schema_order_with_dotted_paths_and_survive_json():
    schema = obj({"z": {"type": "boolean"}, "who": obj({"name": {"type": "string"}, "role": {"enum": ["a"]}}), "b": WORDS})
    schema["properties"] |= {"n": {"type": "number"}, "list": objects({"a": {"type": "string"}, "b": obj({"c": {"type": "boolean"}})})}
    heads = compile_schema(schema)
    assert [h.path for h in heads] == ["z", "who.name", "who.role", "b", "n", "list"]
    assert (heads[-1].anchor, [h.path for h in heads[-1].fields]) == ("a", ["b.c"])
    assert [Head.from_json(h.to_json()) for h in heads] == heads


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        ({"type": "object"}, "is free-form, a union, or an array of neither"),
        ({"anyOf": [{"type": "string"}, {"type": "boolean"}]}, "is free-form, a union, or an array of neither"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "is free-form, a union, or an array of neither"),
        ({"type": "array", "items": {"type": "number"}}, "is free-form, a union, or an array of neither"),
        (
            {"type": "array", "items": {"anyOf": [obj({"a": {"type": "string"}}), {"type": "null"}]}},
            "is free-form, a union, or an array of",
        ),
        (objects({"a": {"enum": ["x"]}}), "is an array of objects with 0 copied strings each, where exactly one has to mark an object"),
        (
            objects({"a": {"type": "string"}, "b": {"type": "string"}}),
            "is an array of objects with 2 copied strings each ('a', 'b'), where",
        ),
        (objects({"a": {"type": ["string", "null"]}}), "is an array of objects whose only copied string 'a' may be missing"),
        (
            objects({"a": {"type": "string"}, "n": {"type": "number"}}),
            "is an array of objects whose field 'n' is neither the copied string nor",
        ),
        (
            objects({"a": {"type": "string"}, "n": {"enum": [1], "type": "string"}}),
            "is an array of objects whose field 'n' has no value that",
        ),
        (
            objects({"a": {"type": "string"}}, minProperties=1),
            "is an array of objects with 'one' that is an object with a rule over several",
        ),
        (objects({"a": {"type": "string"}}) | {"minItems": 1}, "is a list of copied strings that may not be empty"),
        ({"type": "integer", "minimum": 1, "maximum": 3, "multipleOf": 5}, "has no value that all its keywords allow"),
        ({"type": "string", "pattern": "^A"}, "must match 'pattern' and may not be null"),
        ({"type": "string", "format": "email"}, "must match 'format' and may not be null"),
        ({"type": "string", "format": "date", "x-verbatim": True}, "must match 'format' and may not be null"),
        ({"type": "string", "not": {"const": "x"}}, "must match 'not' and may not be null"),
        ({**WORDS, "minItems": 1}, "is a list of copied strings that may not be empty"),
        ({**WORDS, "contains": {"const": "x"}}, "is a list of copied strings that may not be empty"),
        ({**WORDS, "type": ["array", "null"], "minItems": 2}, "is a list of at least 2 copied strings"),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3}, "is a list of at least 3 items"),
        (
            {"type": "array", "items": {"enum": ["a", "b"]}, "contains": {"const": "a"}},
            "is a list with a rule on its combination ('contains')",
        ),
        ({"type": "string", "enum": [1, 2]}, "has no value that all its keywords allow"),
        (obj({"a": {"type": "boolean"}}, minProperties=1), "is an object with a rule over several fields ('minProperties')"),
    ],
)
def test_a_leaf_that_no_head_can_produce_is_refused_by_name(leaf, reason):
    schema = obj({"fine": {"type": "boolean"}, "x": leaf})
    (problem,) = schema_problems(schema)
    assert problem.startswith(f"field 'x' {reason}")
    assert problem.endswith(CAUSAL)
    with pytest.raises(UserError) as error:
        compile_schema(schema)
    assert str(error.value) == f"io_schema.output: {problem}; use a causal variant (lora-r8) for this task"


def test_every_refused_field_is_named_in_one_error():
    with pytest.raises(UserError, match=r"field 'a' is free-form.*field 'b\.c' is free-form"):
        compile_schema(obj({"a": {"type": "object"}, "b": obj({"c": {"type": "array"}})}))


def test_a_rule_over_the_whole_output_is_refused():
    rule = {"if": {"properties": {"a": {"const": True}}}, "then": {"properties": {"b": {"const": True}}}}
    (problem,) = schema_problems(obj({"a": {"type": "boolean"}, "b": {"type": "boolean"}}, **rule))
    assert problem == f"the output is an object with a rule over several fields ('if'), {CAUSAL}"


def test_strings_that_are_not_copied_are_refused_with_their_counts():
    schema = obj({"city": {"type": ["string", "null"]}, "who": obj({"names": WORDS})})
    good = [("fly to Oslo with Ann", {"city": "Oslo", "who": {"names": ["Ann"]}})] * 9
    assert data_problems(schema, good) == []
    one_of_ten = [*good, ("fly north", {"city": "Oslo", "who": {"names": ["Ann"]}})]
    assert data_problems(schema, one_of_ten) == []
    more = [*one_of_ten, ("fly", {"city": None, "who": {"names": ["Ben", "Cy"]}})]
    assert data_problems(schema, more) == [f"field 'who.names' is not copied from the input (3 of 12 values are not in it), {CAUSAL}"]
    assert data_problems(schema, [("x", {"city": None, "who": None})]) == []


def test_lists_without_items_become_null_where_the_data_write_null():
    schema = obj({"a": {**WORDS, "type": ["array", "null"]}, "b": WORDS}, ["b"])
    heads = compile_schema(schema)

    def empties(*outputs):
        return [h.empty_is_null for h in learn(heads, [("x", output) for output in outputs])]

    assert empties({"a": None, "b": []}, {"b": []}, {"a": [], "b": []}) == [True, False]
    assert empties({"a": [], "b": []}, {"a": ["x"], "b": []}) == [False, False]


def test_whole_words_are_learnt_from_where_values_stand():
    heads = compile_schema(obj({"names": WORDS, "code": {"type": ["string", "null"]}}))

    def whole(*more):
        some = [("fly with Ann to gate B7", {"names": ["Ann", "Ben"], "code": "B7"})] * 99
        return [head.whole_words for head in learn(heads, [*some, *more])]

    assert whole() == [True, True]
    assert whole(("see Anna", {"names": ["Ann"], "code": None})) == [True, True]
    assert whole(*[("gate B7", {"names": [], "code": "7"})] * 2) == [True, False]


def test_values_are_the_same_as_json_has_it():
    assert same(1, 1.0) and same("a", "a") and same(None, None) and same(True, True)
    assert not same(1, True) and not same(False, 0) and not same("1", 1) and not same(None, False)


@pytest.mark.parametrize(
    ("text", "value", "places"),
    [
        ("Al and Al", "Al", [(0, 2), (7, 9)]),
        ("Also Al", "Al", [(5, 7)]),
        ("Also, also", "Al", [(0, 2)]),
        ("for $40.", "$40", [(4, 7)]),
        ("xab ab ab", "ab ab", [(4, 9)]),
        ("al", "Al", []),
        ("any", "", []),
    ],
)
def test_a_value_is_found_at_word_borders_first(text, value, places):
    assert occurrences(text, value) == places


NESTED = obj(
    {
        "sure": {"type": "boolean"},
        "trip": obj({"city": {"type": "string"}, "day": {"type": ["string", "null"]}, "tags": WORDS}, ["city", "day"]),
        "note": {"type": "string"},
        "empty": obj({}),
    },
    ["sure", "empty"],
)


@pytest.mark.parametrize(
    ("trip", "note", "expected"),
    [
        (("Oslo", "May", ["x"]), "n", {"sure": True, "trip": {"city": "Oslo", "day": "May", "tags": ["x"]}, "note": "n", "empty": {}}),
        (("Oslo", None, None), None, {"sure": True, "trip": {"city": "Oslo", "day": None}, "empty": {}}),
        ((None, "May", []), None, {"sure": True, "empty": {}}),
        ((None, None, []), None, {"sure": True, "empty": {}}),
    ],
)
def test_an_object_without_a_required_value_goes_away_where_it_may(trip, note, expected):
    values = {"sure": True, "note": note, **dict(zip(("trip.city", "trip.day", "trip.tags"), trip))}
    made = assemble(place_of(NESTED), values)
    assert made == expected
    assert output_validator(NESTED).is_valid(made)


def test_an_object_that_may_be_null_is_null_when_it_holds_nothing():
    inner = obj({"a": {"type": ["string", "null"]}, "deep": obj({"b": {"type": "string"}})})
    schema = obj({"x": {"anyOf": [inner, {"type": "null"}]}})
    place = place_of(schema)
    assert assemble(place, {"x.a": None, "x.deep.b": None}) == {"x": None}
    assert assemble(place, {"x.a": "v", "x.deep.b": None}) == {"x": None}
    assert assemble(place, {"x.a": None, "x.deep.b": "v"}) == {"x": {"a": None, "deep": {"b": "v"}}}
