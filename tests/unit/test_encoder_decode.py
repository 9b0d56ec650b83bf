import itertools
import json
import math
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_encoder_tokens import tiny, tokenizer  # noqa: F401
from transformers import AutoModel

from pp_resources.json_schema import get_path, output_validator
from pp_resources.models.encoder.compile import compile_schema, schema_problems
from pp_resources.models.encoder.conventions import learn
from pp_resources.models.encoder.decode import HeadDecoder, _best_path
from pp_resources.models.encoder.model import HeadStack
from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.models.encoder.targets import INSIDE, OUTSIDE
from pp_resources.models.encoder.tokens import Encoded

WIDTH = 3


def row_of(text):
    """Words as tokens between two special ones."""
    spans = [m.span() for m in re.finditer(r"\S+", text)]
    n = len(spans) + 2
    return Encoded(list(range(n)), [(0, 0), *spans, (0, 0)], [0] * n, False)


def decoder(leaf, *, required=True, empty_is_null=False, **root):
    schema = {"type": "object", "properties": {"x": leaf}, "required": ["x"] if required else [], **root}
    (head,) = learn(compile_schema(schema), [("", {"x": None})] if empty_is_null else [])
    return HeadDecoder(head, WIDTH, schema)


def span(leaf, text, scores, null=0.0, **more):
    """Decode one span row; `scores` by (first word, last word), counted from 0."""
    row = row_of(text)
    logits = torch.full((1, 1 + len(row.ids) * WIDTH), -50.0)
    logits[0, 0] = null
    for (first, last), score in scores.items():
        logits[0, 1 + (first + 1) * WIDTH + last - first] = score
    ((value, p),) = decoder(leaf, **more).decode(logits, [row], [text])
    return value, p


def flags(leaf, chances, **more):
    logits = torch.tensor([chances]).logit()
    ((value, p),) = decoder({"type": "array", "items": {"enum": ["a", "b", "c"]}, **leaf}, **more).decode(logits, [row_of("x")], ["x"])
    return value, p


def tags(leaf, text, marks, **more):
    """Decode one row whose words are marked with certainty by letters of `marks`."""
    row = row_of(text)
    logits = torch.full((1, len(row.ids), 3), -20.0)
    for at, mark in enumerate(f"O{marks}O"):
        logits[0, at, "OBI".index(mark)] = 0.0
    ((value, p),) = decoder({"type": "array", "items": {"type": "string"}, **leaf}, **more).decode(logits, [row], [text])
    return value, p


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_best_path_is_the_best_of_all_paths(logs):
    def score(path):
        allowed = path[0] != INSIDE and all(b != INSIDE or a != OUTSIDE for a, b in itertools.pairwise(path))
        return sum(row[t] for row, t in zip(logs, path)) if allowed else -math.inf

    path, total = _best_path(logs)
    assert score(path) == pytest.approx(total)
    assert total == pytest.approx(max(score(p) for p in itertools.product(range(3), repeat=len(logs))))


def test_no_words_have_an_empty_path():
    assert _best_path([]) == ([], 0.0)


def test_a_choice_is_the_most_probable_value_with_its_probability():
    ((value, p),) = decoder({"enum": ["a", "b"]}).decode(torch.tensor([[0.0, math.log(3)]]), [row_of("x")], ["x"])
    assert value == "b"
    assert p == pytest.approx(0.75)


def test_a_span_is_the_best_range_or_null():
    text, nullable = "order A1 and B2 now", {"type": ["string", "null"]}
    assert span(nullable, text, {(1, 1): 9.0, (1, 3): 8.0})[0] == "A1"
    assert span(nullable, text, {(1, 1): 8.0, (1, 3): 9.0})[0] == "A1 and B2"
    assert span(nullable, text, {(1, 1): 1.0}, null=5.0) == (None, pytest.approx(1 / (1 + math.exp(-4))))
    assert span({"type": "string"}, text, {(1, 1): 1.0}, null=5.0)[0] == "A1"


def test_a_span_that_the_schema_forbids_gives_way_to_the_next_best():
    text, scores = "order A1 and B2 now", {(0, 0): 9.0, (3, 3): 8.0, (1, 1): 7.0}
    assert span({"type": ["string", "null"], "pattern": "^[A-Z][0-9]$"}, text, scores)[0] == "B2"
    assert span({"type": ["string", "null"], "pattern": "^[A-Z][0-9]$"}, text, scores, null=8.5)[0] is None
    assert span({"type": "string", "maxLength": 2}, text, scores)[0] == "B2"
    assert span({"type": "string", "minLength": 4}, text, {**scores, (0, 0): 1.0, (0, 1): 2.0})[0] == "order A1"
    assert span({"$ref": "#/$defs/id"}, text, scores, required=False, **{"$defs": {"id": {"type": "string", "pattern": "^B"}}})[0] == "B2"


def test_a_span_field_always_has_an_answer_that_is_allowed():
    assert span({"type": "string", "maxLength": 3}, "extraordinary unlimited", {}) == ("ext", 0.0)
    assert span({"type": "string"}, "", {}) == ("", 0.0)
    assert span({"type": ["string", "null"], "pattern": "^Z"}, "a b c d", {}, null=-60.0) == (None, pytest.approx(0.0, abs=1e-4))
    assert span({"type": "string", "pattern": "^Z"}, "a b", {(0, 0): 9.0}, required=False)[0] is None


def test_flags_above_one_half_are_chosen_in_schema_order():
    value, p = flags({}, [0.9, 0.2, 0.6])
    assert value == ["a", "c"]
    assert p == pytest.approx(0.9 * 0.8 * 0.6)
    assert flags({}, [0.1, 0.2, 0.3])[0] == []


def test_flags_keep_to_the_number_of_items_that_the_schema_allows():
    assert flags({"minItems": 2}, [0.1, 0.4, 0.3])[0] == ["b", "c"]
    assert flags({"minItems": 1}, [0.1, 0.4, 0.6])[0] == ["c"]
    assert flags({"maxItems": 1}, [0.8, 0.9, 0.7])[0] == ["b"]
    assert flags({"maxItems": 0}, [0.8, 0.9, 0.7])[0] == []
    assert flags({"minItems": 2, "maxItems": 2}, [0.9, 0.9, 0.95])[0] == ["a", "c"]


def test_lists_without_items_are_null_where_the_schema_or_the_data_say_so():
    nullable = {"type": ["array", "null"]}
    assert flags(nullable, [0.1, 0.1, 0.1])[0] == []
    assert flags(nullable, [0.1, 0.1, 0.1], empty_is_null=True)[0] is None
    assert flags({**nullable, "minItems": 1}, [0.1, 0.1, 0.1])[0] is None
    assert flags({**nullable, "minItems": 2}, [0.1, 0.6, 0.3])[0] == ["b", "c"]
    assert tags(nullable, "a b", "OO")[0] == []
    assert tags(nullable, "a b", "OO", empty_is_null=True)[0] is None
    assert tags({**nullable, "minItems": 1}, "a b", "OO")[0] is None
    assert tags({**nullable, "minItems": 1}, "a b", "OB")[0] == ["b"]


def test_tags_become_strings_of_the_text_once_each():
    text = "red  tea pot and lid and lid"
    assert tags({}, text, "BBIOBOB") == (["red", "tea pot", "lid"], pytest.approx(1.0, abs=1e-4))
    assert tags({}, text, "BIIOOOO")[0] == ["red  tea pot"]
    assert tags({}, text, "OOOOOOO")[0] == []


def test_a_tagged_string_that_the_schema_forbids_is_left_out():
    text = "red tea pot lid"
    assert tags({"maxItems": 2}, text, "BBBB")[0] == ["red", "tea"]
    assert tags({"items": {"type": "string", "pattern": "^t"}}, text, "BBBB")[0] == ["tea"]
    assert tags({"items": {"type": "string", "minLength": 4}}, text, "BBIB")[0] == ["tea pot"]
    by_reference = {"items": {"$ref": "#/$defs/word"}}
    assert tags(by_reference, text, "BBBB", **{"$defs": {"word": {"type": "string", "pattern": "d$"}}})[0] == ["red", "lid"]


@pytest.mark.parametrize("whole_words", [True, False])
def test_copied_strings_are_held_to_the_borders_of_words(whole_words):
    """The pieces of a word, of which some say that it is a name."""
    text, pieces = "see Kim Kardashian", [(0, 3), (4, 7), (8, 12), (12, 18)]
    row = Encoded(list(range(6)), [(0, 0), *pieces, (0, 0)], [0] * 6, False)

    def decode(leaf, logits):
        schema = {"type": "object", "properties": {"x": leaf}}
        (head,) = compile_schema(schema)
        (answer,) = HeadDecoder(replace(head, whole_words=whole_words), WIDTH, schema).decode(logits, [row], [text])
        return answer

    chances = [(0.98, 0.01, 0.01), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8), (0.6, 0.1, 0.3)]  # the last would rather be outside
    value, p = decode(
        {"type": "array", "items": {"type": "string"}}, torch.tensor([[(1.0, 1e-9, 1e-9), *chances, (1.0, 1e-9, 1e-9)]]).log()
    )
    assert value == (["Kim Kardashian"] if whole_words else ["Kim Kard"])
    assert p == pytest.approx(0.98 * 0.7 * 0.8 * (0.3 if whole_words else 0.6), rel=1e-3)
    logits = torch.full((1, 1 + 6 * WIDTH), -50.0)
    for (first, last), score in {(2, 3): 3.0, (4, 4): 2.9, (3, 4): 2.0, (0, 0): 0.0}.items():
        logits[0, 1 + first * WIDTH + last - first] = score
    assert decode({"type": ["string", "null"]}, logits)[0] == ("Kardashian" if whole_words else "Kim Kard")


NULL = {"type": "null"}
TEXT = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", ["string", "null"]])},
    optional={"minLength": st.integers(0, 3), "maxLength": st.integers(3, 8), "pattern": st.sampled_from(["^r", r"\d", "^.{2,5}$"])},
)
CHOICE = st.one_of(
    st.lists(st.sampled_from(["a", "b", 1, True, None]), min_size=1, max_size=4, unique_by=repr).map(lambda v: {"enum": v}),
    st.sampled_from([{"type": "boolean"}, {"const": "v1"}, NULL, {"type": ["boolean", "null"]}]),
)
COUNTS = {"minItems": st.integers(0, 2), "maxItems": st.integers(0, 3), "uniqueItems": st.booleans()}
KINDS = {"type": st.sampled_from(["array", ["array", "null"]])}
FLAGS = st.fixed_dictionaries({**KINDS, "items": st.just({"enum": ["a", "b", "c"]})}, optional=COUNTS)
TAGS = st.fixed_dictionaries({**KINDS, "items": st.sampled_from([{"type": "string"}, {"$ref": "#/$defs/short"}])}, optional=COUNTS)
NUMBERS = st.fixed_dictionaries(
    {"type": st.sampled_from([["number", "null"], ["integer", "null"]])},
    optional={"minimum": st.sampled_from([0, 5]), "multipleOf": st.just(3)},
)
DATES = st.sampled_from([{"type": ["string", "null"], "format": name} for name in ("date", "time", "date-time")])
ITEMS = st.fixed_dictionaries({**KINDS, "items": st.just({"$ref": "#/$defs/part"})}, optional=COUNTS)
LEAF = st.one_of(TEXT, CHOICE, FLAGS, TAGS, NUMBERS, DATES, ITEMS)
PART = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "side"],
    "properties": {"side": {"enum": ["l", "r"]}, "name": {"type": "string", "pattern": "."}, "n": {"type": ["boolean", "null"]}},
}


def objects(children):
    names = st.sampled_from(["p", "q", "r"])

    def build(properties, required, null):
        made = {"type": "object", "additionalProperties": False, "properties": properties, "required": sorted(required & properties.keys())}
        return {"anyOf": [made, NULL]} if null else made

    return st.builds(build, st.dictionaries(names, children, max_size=3), st.frozensets(names), st.booleans())


NODE = st.recursive(LEAF, objects, max_leaves=5)
SCHEMA = st.builds(
    lambda properties, required: {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": sorted(required & properties.keys()),
        "$defs": {"short": {"type": "string", "maxLength": 6}, "part": PART},
    },
    st.dictionaries(st.sampled_from("abcde"), NODE, min_size=1, max_size=4),
    st.frozensets(st.sampled_from("abcde")),
)
INPUT = st.one_of(
    st.lists(
        st.sampled_from(["red", "Tea", "pot", "12", "six", "noon", "3/4/2025", "refund", "naïve", "🙂", "x,y"]), min_size=1, max_size=9
    ).map(" ".join),
    st.text(min_size=3, max_size=20),
    st.just("   "),
)


@pytest.fixture(scope="module")
def encoder(tiny):  # noqa: F811
    return AutoModel.from_pretrained(tiny).eval()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
@given(SCHEMA, st.lists(INPUT, min_size=1, max_size=3), st.integers(0, 2**31), st.booleans())
def test_whatever_the_weights_the_output_is_valid_and_its_strings_are_in_the_input(encoder, tokenizer, schema, texts, seed, nulls):  # noqa: F811
    assume(all(len(text) >= 3 for text in texts) and not schema_problems(schema))
    plan = learn(compile_schema(schema), [("", {})] if nulls else [])
    torch.manual_seed(seed)
    heads = HeadStack(plan, 32, WIDTH, 0.0)
    for weight in heads.parameters():
        torch.nn.init.normal_(weight, std=2.0)
    validator = output_validator(schema)
    copied = [head.path for head in plan if head.kind in ("span", "tags")]
    for text, answer in zip(texts, EncoderPredictor("x", encoder, heads, tokenizer, schema, 64).predict(texts)):
        output = json.loads(answer.text)
        assert not [e.message for e in validator.iter_errors(output)], (text, output)
        assert 0.0 <= answer.confidence <= 1.0
        for path in copied:
            value = get_path(output, path)
            assert all(v in text for v in (value if isinstance(value, list) else [value]) if v is not None)
