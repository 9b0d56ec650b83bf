import json
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from test_eval_predictions import spec

from pp_assets.evaluation.baselines import DESCRIPTIONS, classical_baselines
from pp_resources.errors import UserError

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["intent", "urgent", "topics", "order", "contact"],
    "properties": {
        "intent": {"enum": ["refund", "greeting", "absent"]},
        "urgent": {"type": ["boolean", "null"]},
        "topics": {"type": "array", "items": {"enum": ["money", "time"]}},
        "order": {"type": ["string", "null"], "x-verbatim": True},
        "names": {"type": "array", "items": {"type": "string"}},
        "amount": {"type": ["number", "null"]},
        "contact": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
        "kind": {"const": "message"},
    },
}
WORDS = ["money", "back", "please", "now", "hello", "there", "late", "Ann", "Bob", "A1", "Rome", "Oslo"]


def example(text, intent, topics=(), order=None, names=(), amount=None, city="Rome", urgent=False):
    contact = {"city": city}
    output = {"intent": intent, "urgent": urgent, "topics": list(topics), "order": order, "names": list(names), "amount": amount}
    return SimpleNamespace(input_text=text, output={**output, "contact": contact, "kind": "message"})


TRAIN = [
    example("money back for A1 now", "refund", ["money"], "A1", urgent=True),
    example("money back please Ann", "refund", ["money"], names=["Ann"]),
    example("please my money back it was 20", "refund", ["money"], amount=20),
    example("hello there", "greeting"),
    example("hello hello from Oslo", "greeting", city="Oslo"),
    example("late late money", "refund", ["money", "time"]),
]
ASKED = ("money back for A1 now please", "hello there Bob", "hello hello again from Oslo", "zzz", "")
TEST = [SimpleNamespace(input_text=text) for text in ASKED]


def embed(texts):
    """Bags of words as unit vectors."""
    rows = np.array([[text.split().count(word) for word in WORDS] for text in texts], dtype=float).reshape(len(texts), len(WORDS))
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def task(schema=SCHEMA):
    return spec(io_schema={"output": schema})


def said(predictions):
    return [json.loads(p.text) for p in predictions]


def test_every_baseline_answers_every_text_with_a_valid_object():
    found = classical_baselines(task(), TRAIN, TEST, embed)
    assert list(found) == ["majority", "tfidf-logreg", "knn"] == list(DESCRIPTIONS)
    for predictions in found.values():
        assert len(predictions) == len(TEST)
        for p, output in zip(predictions, said(predictions)):
            jsonschema.validate(output, SCHEMA)
            assert 0 < p.confidence <= 1 and p.latency_ms > 0 and set(p.fields) == {"intent", "urgent", "topics"}


def test_the_majority_is_the_most_frequent_value_of_each_field():
    output = said(classical_baselines(task(), TRAIN, TEST, embed)["majority"])[1]
    empty = {"order": None, "names": [], "amount": None}
    assert output == {"intent": "refund", "urgent": False, "topics": ["money"], "contact": {"city": "Rome"}, "kind": "message", **empty}


@pytest.mark.parametrize("name", ["tfidf-logreg", "knn"])
def test_learning_baselines_classify_and_copy_what_stands_in_the_input(name):
    outputs = said(classical_baselines(task(), TRAIN, TEST, embed)[name])
    assert [o["intent"] for o in outputs[:3]] == ["refund", "greeting", "greeting"]
    assert outputs[0]["topics"] == ["money"]
    assert outputs[0]["order"] == "A1"
    assert outputs[1]["order"] is None
    assert outputs[2]["contact"] == {"city": "Oslo"}


def test_a_value_of_the_neighbour_that_is_not_in_the_input_is_not_copied():
    test = [SimpleNamespace(input_text="money back for B7 now")]
    assert said(classical_baselines(task(), TRAIN, test, embed)["knn"])[0]["order"] is None


def test_outputs_of_the_test_set_are_never_read():
    class Sealed:
        input_text = "hello"

        @property
        def output(self):
            raise AssertionError("the test output was read")

    assert classical_baselines(task(), TRAIN, [Sealed()], embed)


def test_keys_that_are_optional_may_be_absent():
    inner = {"type": "object", "properties": {"s": {"type": "string"}}}
    schema = {"type": "object", "properties": {"a": {"enum": ["absent", "there"]}, "n": inner}}
    train = [SimpleNamespace(input_text=f"word {i}", output={"a": "absent"} if i % 3 else {"n": {"s": "word"}}) for i in range(9)]
    for predictions in classical_baselines(task(schema), train, TEST[:2], embed).values():
        for output in said(predictions):
            jsonschema.validate(output, schema)


def test_an_object_that_the_schema_refuses_as_a_whole_becomes_the_usual_one():
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}, "b": {"enum": ["x", "y"]}},
        "anyOf": [{"properties": {"a": {"const": "x"}, "b": {"const": "y"}}}, {"properties": {"a": {"const": "y"}, "b": {"const": "x"}}}],
    }
    train = [SimpleNamespace(input_text=str(i), output={"a": "x", "b": "y"} if i % 2 else {"a": "y", "b": "x"}) for i in range(4)]
    for predictions in classical_baselines(task(schema), train, TEST, embed).values():
        for output in said(predictions):
            jsonschema.validate(output, schema)


def test_texts_without_a_word_fall_back_to_the_majority():
    train = [SimpleNamespace(input_text="!!!", output={"a": True}), SimpleNamespace(input_text="???", output={"a": True})]
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}}
    assert said(classical_baselines(task(schema), train, TEST[:1], embed)["tfidf-logreg"]) == [{"a": True}]


def test_equal_data_give_equal_answers():
    first, second = (classical_baselines(task(), TRAIN, TEST, embed) for _ in range(2))
    for name in first:
        assert [(p.text, p.confidence, p.fields) for p in first[name]] == [(p.text, p.confidence, p.fields) for p in second[name]]


def test_without_training_examples_there_is_no_baseline():
    with pytest.raises(UserError, match="no training examples"):
        classical_baselines(task(), [], TEST, embed)
