import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_encoder_tokens import tiny, tokenizer  # noqa: F401
from transformers import AutoModel

from pp_resources.models.encoder.compile import compile_schema
from pp_resources.models.encoder.model import HeadStack
from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.models.interface import ranked

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["intent", "trip", "names", "version"],
    "properties": {
        "intent": {"enum": ["a", "b", "c"]},
        "trip": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"type": ["string", "null"]}, "day": {"type": ["string", "null"]}},
        },
        "names": {"type": "array", "items": {"type": "string"}},
        "topics": {"type": "array", "items": {"enum": ["x", "y"]}},
        "version": {"const": 1},
    },
}
TEXTS = [
    "refund",
    "where is my red tea pot",
    "",
    "Hello Order 42",
    "please play the tea, and the pot and 17 lids from me to you!",
    "🙂",
    "refund",
]


@pytest.fixture(scope="module")
def predictor(tiny, tokenizer):  # noqa: F811
    torch.manual_seed(3)
    heads = HeadStack(compile_schema(SCHEMA), 32, 4, 0.1)
    for weight in heads.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return EncoderPredictor("toy", AutoModel.from_pretrained(tiny), heads, tokenizer, SCHEMA, 24, batch_size=3)


def close(one, other):
    assert one.text == other.text
    assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
    assert one.fields == pytest.approx(other.fields, abs=1e-5)
    assert (one.tokens_in, one.finish_reason) == (other.tokens_in, other.finish_reason)


def test_answers_come_in_the_order_of_the_inputs(predictor):
    forward, backward = predictor.predict(TEXTS), predictor.predict(TEXTS[::-1])
    assert len({p.text for p in forward}) > 3
    for one, other in zip(forward, backward[::-1]):
        close(one, other)


def test_an_answer_does_not_depend_on_its_neighbours(predictor):
    together = predictor.predict(TEXTS)
    for text, answer in zip(TEXTS, together):
        close(predictor.predict([text])[0], answer)
    for answer, other in zip(together, predictor.predict([*TEXTS, "tea " * 30])):
        close(answer, other)


def test_the_same_call_gives_the_same_answers(predictor):
    once, again = ([replace(p, latency_ms=0.0) for p in predictor.predict(TEXTS)] for _ in range(2))
    assert once == again


def test_keys_are_in_schema_order_and_every_field_has_a_probability(predictor):
    for answer in predictor.predict(TEXTS):
        assert list(json.loads(answer.text)) == ["intent", "trip", "names", "topics", "version"]
        assert list(answer.fields) == ["intent", "trip.city", "trip.day", "names", "topics", "version"]
        assert all(0 <= p <= 1 for p in answer.fields.values())
        assert answer.confidence == pytest.approx(torch.tensor(list(answer.fields.values())).prod().item(), rel=1e-4)
        assert answer.latency_ms > 0


def test_a_text_that_is_longer_than_all_windows_is_cut_and_says_so(predictor):
    most = 22 + 15 * 16  # 24 tokens, two of them special, the last quarter of each window read twice
    one, short, long = predictor.predict(["tea " * 22, "tea " * most, "tea " * (most + 1)])
    assert (one.finish_reason, one.tokens_in) == ("stop", 24)
    assert (short.finish_reason, short.tokens_in) == ("stop", most + 2)
    assert (long.finish_reason, long.tokens_in) == ("length", most + 2)


def test_nothing_asked_is_nothing_answered_and_an_empty_text_is_answered(predictor):
    assert predictor.predict([]) == []
    (answer,) = predictor.predict([""])
    output = json.loads(answer.text)
    assert (output["trip"], output["names"]) == ({"city": None, "day": None}, [])
    assert answer.tokens_in == 2


def test_the_probability_of_every_listed_value_is_given_where_asked_for(predictor):
    assert all(answer.choices == {} for answer in predictor.predict(TEXTS))
    for answer in predictor.predict(TEXTS, distributions=True):
        said = json.loads(answer.text)
        assert list(answer.choices) == ["intent", "topics"], "what can be one thing only is no choice"
        among = answer.choices["intent"]
        assert {value for value, _ in among} == {"a", "b", "c"} and sum(p for _, p in among) == pytest.approx(1)
        assert among[0] == (said["intent"], pytest.approx(answer.fields["intent"]))
        topics = answer.choices["topics"]
        assert {value for value, p in topics if p > 0.5} == {*said["topics"]}
        assert math.prod(max(p, 1 - p) for _, p in topics) == pytest.approx(answer.fields["topics"])
        assert all(one.probability >= other.probability for one, other in pairwise([*among]))


def test_equal_probabilities_keep_the_order_of_the_schema_and_true_is_not_one():
    assert ranked([1, True, "1", None], [0.25, 0.25, 0.3, 0.2]) == [("1", 0.3), (1, 0.25), (True, 0.25), (None, 0.2)]
    assert [type(choice.value) for choice in ranked([1, True], [0.5, 0.5])] == [int, bool]
