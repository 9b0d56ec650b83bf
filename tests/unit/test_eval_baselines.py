import json
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from test_encoder_tokens import tiny  # noqa: F401
from test_eval_predictions import spec

from pp_assets.evaluation.baselines import DESCRIPTIONS, classical_baselines
from pp_assets.evaluation.field_guess import strength
from pp_assets.training import contrastive
from pp_resources.errors import UserError
from pp_resources.models.embedder import Embedder

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
    return row(text, {**output, "contact": contact, "kind": "message"})


def row(text, output, group=""):
    return SimpleNamespace(input_text=text, output=output, group=group)


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
    found = classical_baselines(task(), TRAIN, TEST, embed, lambda _texts, _classes: embed)
    assert list(found) == ["majority", "tfidf-logreg", "knn", "embedding-logreg", "contrastive-logreg"] == list(DESCRIPTIONS)
    for predictions in found.values():
        assert len(predictions) == len(TEST)
        for p, output in zip(predictions, said(predictions)):
            jsonschema.validate(output, SCHEMA)
            assert 0 < p.confidence <= 1 and p.latency_ms > 0 and set(p.fields) == {"intent", "urgent", "topics"}


def test_the_majority_is_the_most_frequent_value_of_each_field():
    output = said(classical_baselines(task(), TRAIN, TEST, embed)["majority"])[1]
    empty = {"order": None, "names": [], "amount": None}
    assert output == {"intent": "refund", "urgent": False, "topics": ["money"], "contact": {"city": "Rome"}, "kind": "message", **empty}


@pytest.mark.parametrize("name", ["tfidf-logreg", "knn", "embedding-logreg"])
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
    train = [row(f"word {i}", {"a": "absent"} if i % 3 else {"n": {"s": "word"}}) for i in range(9)]
    for predictions in classical_baselines(task(schema), train, TEST[:2], embed).values():
        for output in said(predictions):
            jsonschema.validate(output, schema)


def test_an_object_that_the_schema_refuses_as_a_whole_becomes_the_usual_one():
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}, "b": {"enum": ["x", "y"]}},
        "anyOf": [{"properties": {"a": {"const": "x"}, "b": {"const": "y"}}}, {"properties": {"a": {"const": "y"}, "b": {"const": "x"}}}],
    }
    train = [row(str(i), {"a": "x", "b": "y"} if i % 2 else {"a": "y", "b": "x"}) for i in range(4)]
    for predictions in classical_baselines(task(schema), train, TEST, embed).values():
        for output in said(predictions):
            jsonschema.validate(output, schema)


def test_texts_without_a_word_fall_back_to_the_majority():
    train = [row("!!!", {"a": True}), row("???", {"a": True})]
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}}
    assert said(classical_baselines(task(schema), train, TEST[:1], embed)["tfidf-logreg"]) == [{"a": True}]


def test_equal_data_give_equal_answers():
    first, second = (classical_baselines(task(), TRAIN, TEST, embed) for _ in range(2))
    for name in first:
        assert [(p.text, p.confidence, p.fields) for p in first[name]] == [(p.text, p.confidence, p.fields) for p in second[name]]


def test_without_training_examples_there_is_no_baseline():
    with pytest.raises(UserError, match="no training examples"):
        classical_baselines(task(), [], TEST, embed)


def test_what_has_no_choice_to_make_has_no_classifier():
    schema = {"type": "object", "properties": {"order": {"type": ["string", "null"]}}}
    train = [row("order A1", {"order": "A1"}), row("hello", {"order": None})]
    assert set(classical_baselines(task(schema), train, TEST[:1], embed, lambda *_: embed)) == {"majority", "tfidf-logreg", "knn"}


def test_regularisation_is_chosen_on_whole_groups():
    """Four copies of each row: where copies may stand on both sides, to learn them by heart looks best."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40)
    signal = np.where(rng.random(40) < 0.8, labels, 1 - labels)[:, None] - 0.5
    features = np.repeat(np.hstack([signal, rng.normal(size=(40, 80)) * 0.3]), 4, axis=0)
    labels, rows = np.repeat(labels, 4), np.arange(160)
    assert strength(features, labels, [str(i // 4) for i in rows]) < strength(features, labels, [str(i) for i in rows])
    assert strength(features, labels, ["one"] * len(rows)) == 1.0


def test_contrastive_tuning_moves_equal_classes_together_and_is_the_same_again(tiny, monkeypatch):  # noqa: F811
    monkeypatch.setattr(contrastive, "MAX_STEPS", 30)
    monkeypatch.setattr(contrastive, "RATE", 3e-3)  # the base of this test is random and of two narrow layers
    words = {0: ["refund", "money"], 1: ["where", "parcel"]}
    texts = [f"{words[i % 2][i // 2 % 2]} my pot {'please' if i % 3 else 'order'} {i}" for i in range(24)]
    classes = np.array([[i % 2] for i in range(24)])

    def gap(vectors):
        likeness = vectors @ vectors.T
        same = classes == classes.T
        return likeness[same].mean() - likeness[~same].mean()

    first, second = (contrastive.tuned_embedder(tiny, texts, classes, seed=3).embed(texts) for _ in range(2))
    assert gap(first) > gap(Embedder(tiny).embed(texts)) + 0.1
    assert np.array_equal(first, second) and not np.array_equal(
        first, contrastive.tuned_embedder(tiny, texts, classes, seed=4).embed(texts)
    )
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
