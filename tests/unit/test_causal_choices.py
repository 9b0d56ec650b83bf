import json
from math import exp

import pytest
import torch
from architectures import write_architecture
from causal_tiny import INPUTS, OUTPUT, write_tiny_base

from pp_resources.models.bases import TINY_BASE, find_base
from pp_resources.models.causal import CausalPredictor
from pp_resources.models.causal_choices import alternatives, listed_values
from pp_resources.models.causal_prompt import Prompt

PROMPT = Prompt("Answer with JSON.", "Keys: order, topic, urgent.\n\nMessage: ", "\n\nJSON:")


def written(made, text, answer, path, value):
    """The probability of an answer's beginning with another value of a field, up to the character after it, by one plain pass."""
    others = json.loads(answer)
    said = json.dumps({**others, path: value}, separators=(",", ":"), ensure_ascii=False)
    end = said.index(f'"{path}":') + len(f'"{path}":') + len(json.dumps(value))
    encoded = made.tokenizer(said, return_offsets_mapping=True)
    ids = [token for token, (first, _) in zip(encoded["input_ids"], encoded["offset_mapping"]) if first <= end]
    prompt = made.encoder.prefix_ids + made.encoder.suffix_ids(text)
    logits = made.model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return exp(sum(float(row[token]) for row, token in zip(logits, ids)))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_the_values_of_a_field_share_one_probability_as_the_plain_model_would_share_it(name, tmp_path):
    made = CausalPredictor.from_base("x", write_architecture(tmp_path, name), OUTPUT, PROMPT, max_new_tokens=60)
    for text, answer in zip(INPUTS, made.predict(INPUTS, distributions=True)):
        assert set(answer.choices) == {"topic", "urgent"}
        for path, values in {"topic": ["bill", "parcel", "other"], "urgent": [True, False]}.items():
            with torch.inference_mode():
                each = [written(made, text, answer.text, path, value) for value in values]
            assert dict(answer.choices[path]) == pytest.approx({v: p / sum(each) for v, p in zip(values, each)}, abs=1e-5)
            assert [p for _, p in answer.choices[path]] == sorted((p for _, p in answer.choices[path]), reverse=True)
    assert all(not answer.choices for answer in made.predict(INPUTS))


@pytest.mark.parametrize("room", [1, 700, 32768], ids=["an answer at a time", "a few", "all"])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2"])
def test_answers_that_are_read_together_have_the_distributions_that_each_has_alone(name, room, tmp_path, monkeypatch):
    made = CausalPredictor.from_base("x", write_architecture(tmp_path, name), OUTPUT, PROMPT, max_new_tokens=60)
    texts = [*INPUTS, "", "Tell me about B7. " * 12]
    alone = [made.predict([text], distributions=True)[0] for text in texts]
    monkeypatch.setattr("pp_resources.models.causal_choices.ROOM", room)
    for answer, other in zip(made.predict(texts, distributions=True), alone):
        assert answer.text == other.text and answer.choices.keys() == other.choices.keys() == {"topic", "urgent"}
        for path, among in answer.choices.items():
            assert dict(among) == pytest.approx(dict(other.choices[path]), abs=1e-5)


def test_the_values_of_all_fields_of_all_answers_take_two_passes(tmp_path):
    made = CausalPredictor.from_base("x", write_tiny_base(tmp_path), OUTPUT, PROMPT, max_new_tokens=60)
    made.predict(INPUTS)  # computes the prefix, and tries once whether it can be shared
    passes = []
    made.model.register_forward_hook(lambda *_: passes.append(1))
    made.predict(INPUTS)
    decoding = len(passes)
    made.predict(INPUTS, distributions=True)
    assert len(passes) == 2 * decoding + 2, "the answers once, and all values of all their fields once"


def test_on_the_trained_base_the_value_that_was_said_is_the_likeliest():
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Lisbon", "Lisb", "Paris", None]}, "name": {"type": ["string", "null"], "maxLength": 30}},
        "required": ["city", "name"],
        "additionalProperties": False,
    }
    prompt = Prompt("You answer with JSON only.", "Extract the following fields: city, name.\n\nMessage:\n", "\n\nJSON:\n")
    made = CausalPredictor.from_base("base", find_base(TINY_BASE), schema, prompt, max_new_tokens=60)
    (answer,) = made.predict(["My name is Anna Keller. I live in Lisbon."], distributions=True)
    found = answer.choices["city"]
    assert {value for value, _ in found} == {"Lisbon", "Lisb", "Paris", None} and sum(p for _, p in found) == pytest.approx(1)
    assert found[0].value == json.loads(answer.text)["city"]


def test_values_that_begin_alike_are_told_apart_behind_their_end(tmp_path):
    made = CausalPredictor.from_base("x", write_tiny_base(tmp_path), OUTPUT, PROMPT)
    schema = {"type": "object", "properties": {"n": {"enum": [1, 12, 123]}, "m": {"type": "string"}}}
    answer = alternatives(listed_values(schema), made.tokenizer, [7, 8], '{"n":12,"m":"x"}')
    (among,) = answer.fields
    texts = [made.tokenizer.decode([*answer.tokens[: among.same], *tail]) for tail in among.tails]
    assert among.values == [1, 12, 123]
    assert all(text.rstrip('"m:').endswith(f"{value},") for value, text in zip(among.values, texts))
    assert answer.tokens[:2] == [7, 8] and len(answer.tokens) == among.same, "what follows the last value is not read"
    assert len({tail[0] for tail in among.tails}) == 1


def test_a_cut_answer_has_no_choices(tmp_path):
    made = CausalPredictor.from_base("x", write_tiny_base(tmp_path), OUTPUT, PROMPT, max_new_tokens=3)
    assert [dict(answer.choices) for answer in made.predict(INPUTS, distributions=True)] == [{}] * len(INPUTS)
