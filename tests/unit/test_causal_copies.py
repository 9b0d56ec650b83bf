"""Strings that an answer must copy: whatever the weights, constrained decoding takes them from the input."""

import json
import random

import pytest
from causal_tiny import one_at_a_time, write_tiny_base

from pp_resources.json_schema import not_verbatim, output_validator
from pp_resources.models.bases import TINY_BASE, find_base
from pp_resources.models.causal import CausalPredictor, load_tokenizer
from pp_resources.models.causal_grammar import Grammar, unenforced
from pp_resources.models.causal_prompt import Prompt

TEXT = 'Ask Zoë at "Kiosk 7"\nfor order \\A-1042, not B-7 — twice: A-1042.'
COPY = {"type": "string", "x-verbatim": True}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "order", "names", "parts", "place"],
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "order": {"type": ["string", "null"], "minLength": 2, "maxLength": 6, "x-verbatim": True},
        "names": {"type": "array", "x-verbatim": True, "maxItems": 3, "items": {"type": "string", "minLength": 1, "maxLength": 10}},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "count"],
                "properties": {"name": {"$ref": "#/$defs/copied"}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
            },
        },
        "place": {"type": ["object", "null"], "properties": {"city": {"type": ["string", "null"], "x-verbatim": True}}},
    },
    "$defs": {"copied": {**COPY, "minLength": 1}},
}
ANSWER = {"kind": "a", "order": "A-1042", "names": ["Zoë"], "parts": [{"name": '"Kiosk 7"\nfor', "count": 2}], "place": {"city": None}}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(find_base(TINY_BASE))


@pytest.fixture(scope="module")
def grammar(tokenizer):
    return Grammar(tokenizer, SCHEMA, len(tokenizer))


def accepts(grammar, tokenizer, answer, text=TEXT):
    said = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    return grammar.accepts([*tokenizer(said)["input_ids"], tokenizer.eos_token_id], text)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({}, True),
        ({"order": None, "names": [], "parts": [], "place": None}, True),
        ({"order": "\\A-10"}, True),
        ({"order": "A-1043"}, False),
        ({"order": "a-1042"}, False),
        ({"order": "A"}, False),
        ({"order": "A-1042,"}, False),
        ({"order": "\n"}, False),
        ({"names": ["Zoë", "B-7", "twice"]}, True),
        ({"names": ["Zoë", "B-7", "twice", "not"]}, False),
        ({"names": ["Zoe"]}, False),
        ({"names": [""]}, False),
        ({"parts": [{"name": "\\", "count": 1}, {"name": "—", "count": 0}]}, True),
        ({"parts": [{"name": "Kiosk 8", "count": 2}]}, False),
        ({"parts": [{"name": "Kiosk 7", "count": 12}]}, False),
        ({"place": {"city": "Kiosk"}}, True),
        ({"place": {"city": "Oslo"}}, False),
        ({"kind": "c"}, False),
    ],
)
def test_what_is_copied_stands_in_the_input_letter_for_letter(grammar, tokenizer, change, allowed):
    answer = ANSWER | change
    assert accepts(grammar, tokenizer, answer) is allowed
    assert (output_validator(SCHEMA).is_valid(answer) and not not_verbatim(SCHEMA, answer, TEXT)) is allowed


def test_without_an_input_to_copy_from_the_schema_alone_holds(grammar, tokenizer):
    assert accepts(grammar, tokenizer, ANSWER, text="")
    assert not accepts(grammar, tokenizer, ANSWER, text="another text")


def test_an_input_shorter_than_what_must_be_copied_does_not_cut_the_answer_off(grammar, tokenizer):
    schema = {"type": "object", "required": ["a"], "properties": {"a": {**COPY, "minLength": 3}}}
    short = Grammar(tokenizer, schema, len(tokenizer))
    assert accepts(short, tokenizer, {"a": "xyz"}, text="ab"), "the schema alone"
    assert accepts(short, tokenizer, {"a": "abc"}, text="abc") and not accepts(short, tokenizer, {"a": "xyz"}, text="abc")


def test_an_input_of_many_pages_is_no_problem(grammar, tokenizer):
    r = random.Random(0)
    text = "".join(chr(r.choice([*range(32, 127), 228, 8364, 128512])) for _ in range(20_000)) + "A-1042"
    assert accepts(grammar, tokenizer, ANSWER | {"names": [], "parts": []}, text)
    assert not accepts(grammar, tokenizer, ANSWER | {"names": [], "parts": [], "order": "A-1043"}, text)


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (COPY, []),
        ({"anyOf": [COPY, {"type": "null"}]}, []),
        ({**COPY, "pattern": "^A"}, ["properties.a.x-verbatim"]),
        ({"type": "array", "items": {**COPY, "format": "date"}}, ["properties.a.items.x-verbatim"]),
        ({"type": "object", "properties": {"b": COPY}}, ["properties.a.x-verbatim"]),
        ({"type": "object", "required": ["b"], "properties": {"b": COPY}}, []),
        ({"$ref": "#/$defs/tree"}, ["properties.a.properties.parts.items.x-verbatim"]),
    ],
)
def test_a_copy_that_the_grammar_cannot_hold_an_answer_to_is_named(tokenizer, node, named):
    tree = {"type": "object", "required": ["b"], "properties": {"b": COPY, "parts": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}
    schema = {"type": "object", "required": ["a"], "properties": {"a": node}, "$defs": {"tree": tree | {"required": ["b", "parts"]}}}
    assert unenforced(schema) == named
    assert Grammar(tokenizer, schema, len(tokenizer)).start("xyz").is_error() is False


def test_a_model_that_knows_nothing_still_copies_and_says_what_plain_decoding_says(tmp_path):
    made = CausalPredictor.from_base("x", write_tiny_base(tmp_path), SCHEMA, Prompt("", "Text: ", "\nJSON:\n"), max_new_tokens=120)
    texts = [TEXT, "tea", 'say "yes"', "ä\tb"]
    done = 0
    for text, answer in zip(texts, made.predict(texts), strict=True):
        assert answer.text == one_at_a_time(made, text) or answer.finish_reason == "length"
        if answer.finish_reason == "stop":
            output = json.loads(answer.text)
            assert output_validator(SCHEMA).is_valid(output) and not not_verbatim(SCHEMA, output, text)
            done += 1
    assert done
