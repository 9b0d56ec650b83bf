"""Arrays of objects: one copied string marks each object, its other fields are chosen."""

import json
import math
from dataclasses import replace

import pytest
import torch
from test_encoder_tokens import tiny, tokenizer  # noqa: F401
from test_encoder_training import FAST, load_predictor, task, train

from pp_assets.task.examples import Example
from pp_resources.models.encoder.compile import Head, compile_schema
from pp_resources.models.encoder.conventions import data_problems
from pp_resources.models.encoder.decode import HeadDecoder
from pp_resources.models.encoder.targets import BEGIN, INSIDE, OUTSIDE, head_loss, target_of
from pp_resources.models.encoder.tokens import collate, encode

ITEM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "mood"],
    "properties": {"name": {"type": "string"}, "mood": {"enum": ["good", "bad"]}, "stars": {"type": "integer", "minimum": 1, "maximum": 3}},
}


def schema_of(**more):
    return {
        "type": "object",
        "required": ["x"],
        "properties": {"x": {"type": "array", "items": {"$ref": "#/$defs/item"}, **more}},
        "$defs": {"item": ITEM},
    }


(HEAD,) = compile_schema(schema_of())
TEXT = "red tea pot and lid and tea"
LABELS = 3 + 2 + 4


def test_an_array_of_objects_is_tags_with_choices_and_survives_json():
    assert (HEAD.kind, HEAD.anchor) == ("items", "name")
    assert [(field.path, field.values) for field in HEAD.fields] == [("mood", ("good", "bad")), ("stars", (1, 2, 3, None))]
    assert Head.from_json(json.loads(json.dumps(HEAD.to_json()))) == HEAD


def test_each_place_of_a_name_is_tagged_with_the_fields_of_its_object(tokenizer):  # noqa: F811
    (row,) = encode(tokenizer, [TEXT], 64)

    def target(*items):
        return target_of(HEAD, row, TEXT, {"x": list(items)})

    o, b, i = OUTSIDE, BEGIN, INSIDE
    assert target() == target_of(HEAD, row, TEXT, {"x": None}) == ([o] * 9, [])
    tags, spans = target({"name": "tea", "mood": "bad"}, {"name": "red tea pot", "mood": "good", "stars": 2})
    assert tags == [o, b, i, i, o, o, o, b, o]
    assert spans == [(1, 3, [0, 1]), (7, 7, [1, 3])]
    assert target({"name": "order", "mood": "bad"}) is None
    assert target({"name": "tea", "mood": "bad"}, {"name": "tea", "mood": "good"}) is None
    assert target({"name": "tea", "mood": "so so"}) is None


def decode(tokenizer, spans, leaf=None, text=TEXT):  # noqa: F811
    """Decode one row with `spans` of (first token, last token, scores of mood and stars) tagged with certainty."""
    schema = schema_of(**(leaf or {}))
    (head,) = compile_schema(schema)
    (row,) = encode(tokenizer, [text], 64)
    logits = torch.zeros((1, len(row.ids), LABELS))
    logits[..., OUTSIDE] = 50.0
    for first, last, scores in spans:
        logits[0, first : last + 1, :3] = torch.tensor([0.0, 0.0, 50.0])
        logits[0, first, :3] = torch.tensor([0.0, 50.0, 0.0])
        logits[0, first : last + 1, 3:] = torch.tensor(scores)
    ((value, p),) = HeadDecoder(head, 4, schema).decode(logits, [row], [text])
    return value, p


def test_objects_come_in_the_order_of_the_text_with_the_best_choice_of_each_field(tokenizer):  # noqa: F811
    one, two = (5, 5, [0.0, 9.0, 0.0, 0.0, 0.0, 9.0]), (1, 3, [9.0, 0.0, 9.0, 0.0, 0.0, 0.0])
    value, p = decode(tokenizer, [one, two])
    assert value == [{"name": "red tea pot", "mood": "good", "stars": 1}, {"name": "lid", "mood": "bad"}]
    assert 0.99 < p < 1
    assert decode(tokenizer, [])[0] == []
    assert [v["name"] for v in decode(tokenizer, [one, two], {"maxItems": 1})[0]] == ["red tea pot"]
    assert decode(tokenizer, [], {"type": ["array", "null"], "minItems": 1})[0] is None


def test_what_several_places_of_one_name_say_is_averaged_to_one_object(tokenizer):  # noqa: F811
    sure, unsure = [0.0, 5.0, 0.0, 0.0, 0.0, 5.0], [1.0, 0.0, 2.0, 0.0, 0.0, 0.0]
    assert decode(tokenizer, [(2, 2, sure), (7, 7, unsure)])[0] == [{"name": "tea", "mood": "bad"}]
    assert decode(tokenizer, [(2, 2, unsure), (7, 7, sure)])[0] == [{"name": "tea", "mood": "bad"}]


def test_the_loss_falls_where_tags_or_choices_gain(tokenizer):  # noqa: F811
    rows = encode(tokenizer, [TEXT, "tea"], 64)
    words = collate(rows, 0).words
    targets = [target_of(HEAD, rows[0], TEXT, {"x": [{"name": "red tea pot", "mood": "bad", "stars": 3}]}), None]
    logits = torch.zeros((2, 9, LABELS), requires_grad=True)
    (slope,) = torch.autograd.grad(head_loss(HEAD, logits, targets, words, 4, 0.0), logits)
    assert slope[0, 1, BEGIN] < 0 and slope[0, 2, INSIDE] < 0 and slope[0, 5, OUTSIDE] < 0
    assert (slope[0, 1:4, 4] < 0).all() and (slope[0, 1:4, 3] > 0).all() and (slope[0, 1:4, 7] < 0).all()
    assert not slope[0, 4:, 3:].any() and not slope[1].any()
    nothing = target_of(HEAD, rows[0], TEXT, {"x": []})
    assert head_loss(HEAD, logits, [nothing, None], words, 4, 0.0).item() == pytest.approx(math.log(3))


def test_names_that_are_not_copied_are_refused():
    good = ("a lid", {"x": [{"name": "lid", "mood": "bad"}]})
    assert data_problems(schema_of(), [good]) == []
    (problem,) = data_problems(schema_of(), [good, ("a lid", {"x": [{"name": "pot", "mood": "bad"}]})])
    assert problem.startswith("field 'x' is not copied from the input (1 of 2 values are not in it)")


def test_objects_are_learnt_from_rows(tiny, tmp_path):  # noqa: F811
    output = schema_of() | {"additionalProperties": False}
    names, moods = ["tea pot", "lid", "red pot", "tea"], {"good": "please", "bad": "refund"}

    def row(i):
        said = [(names[(i + k) % 4], ("good", "bad")[(i >> (k + 1)) % 2]) for k in range(i % 3)]
        text = " and ".join(f"{moods[mood]} the {name}" for name, mood in said) or "hello"
        return Example(f"{i:x}", text, {"x": [{"name": name, "mood": mood, "stars": 1 + (mood == "good")} for name, mood in said]})

    recipe = replace(FAST, params=replace(FAST.params, epochs=8, lr=2e-3, head_lr=1e-2, hidden_dropout=0.0))
    train(tiny, tmp_path / "out", recipe=recipe, rows=[row(i) for i in range(120)], val=[row(i) for i in range(120, 140)], output=output)
    unseen = [row(i) for i in range(140, 180)]
    answers = load_predictor(tmp_path / "out", task(tiny, output), threads=1).predict([r.input_text for r in unseen])
    assert sum(json.loads(a.text) == r.output for a, r in zip(answers, unseen)) >= 36
