import json
from random import Random

import pytest
import torch
from jsonschema import Draft202012Validator
from transformers import LogitsProcessorList

from bench.decode import MaskByGrammar
from bench.make_base.corpus import example
from pp_resources.models.bases import TINY_BASE, find_base
from pp_resources.models.causal import CausalPredictor, load_model, load_tokenizer
from pp_resources.models.causal_prompt import Prompt

PROMPT = Prompt("You answer with JSON only.", "Extract the following fields: name, order_number, city.\n\nMessage:\n", "\n\nJSON:\n")
NULLABLE = {"type": ["string", "null"], "maxLength": 40}
SCHEMA = {"type": "object", "properties": dict.fromkeys(("name", "order_number", "city"), NULLABLE), "additionalProperties": False}
INPUTS = ["My name is Anna Keller. My order AB-1234 is late. I live in Lisbon.", "Hello, this is Bruno. Order number 55871."]


@pytest.fixture(scope="module")
def base():
    return find_base(TINY_BASE)


def test_the_shipped_base_is_small_and_complete(base):
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "LICENSE"}
    files = list(base.iterdir())
    assert names <= {file.name for file in files}
    assert sum(file.stat().st_size for file in files) < 12_000_000
    assert not [file for file in files if file.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_the_shipped_base_answers_with_json_bound_and_mostly_also_free(base):
    model, tokenizer = load_model(base), load_tokenizer(base)
    for constrained in (True, False):
        made = CausalPredictor("base", model, tokenizer, SCHEMA, PROMPT, constrained=constrained, max_new_tokens=60)
        for answer in made.predict(INPUTS):
            assert answer.finish_reason == "stop"
            assert isinstance(json.loads(answer.text), dict)
            if constrained:
                Draft202012Validator(SCHEMA).validate(json.loads(answer.text))


def test_the_shipped_base_says_what_generate_says_under_the_same_masks(base):
    made = CausalPredictor.from_base("base", base, SCHEMA, PROMPT, max_new_tokens=60)
    names, cities = ("Anna Keller", "Bruno", "Zoë", "Li Wei"), ("Lisbon", "Köln", "Rio")
    texts = [*INPUTS, *(f"This is {name} from {city}, order {len(name)}{len(city)}70-X." for name in names for city in cities)]
    prompts = [made.encoder.prefix_ids + made.encoder.suffix_ids(text) for text in texts]
    width = max(map(len, prompts))
    ids = torch.tensor([[1] * (width - len(prompt)) + prompt for prompt in prompts])
    masks = LogitsProcessorList([MaskByGrammar(made.grammar, len(texts))])
    said = made.model.generate(input_ids=ids, attention_mask=(ids != 1).long(), logits_processor=masks, max_new_tokens=60, do_sample=False)
    decoded = made.tokenizer.batch_decode(said[:, width:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert [answer.text for answer in made.predict(texts)] == decoded


def test_a_word_has_the_same_tokens_wherever_it_stands(base):
    tokenizer = load_tokenizer(base)
    for word in ("kettle", "stapler", "Zwölf", "AB-1234"):
        pieces = tokenizer(word)["input_ids"]
        for around in ('{"a":"%s"}', "a %s, b", "\n%s\n", '["x","%s"]'):
            before, after = around.split("%s")
            ids = tokenizer(around % word)["input_ids"]
            assert ids == tokenizer(before)["input_ids"] + pieces + tokenizer(after)["input_ids"]


def test_the_tokenizer_writes_every_text(base):
    tokenizer = load_tokenizer(base)
    for text in ("naïve  café\t\n\n", "日本語 🙂", '{"a":"b\\u00e9"}', "<|end|"):
        assert tokenizer.decode(tokenizer(text)["input_ids"], clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("held_out", [False, True])
def test_the_corpus_is_a_function_of_the_seed_and_its_copied_strings_stand_in_the_input(held_out):
    copied = 0
    for seed in range(300):
        before, text, after, answer = example(Random(seed), 0.2, held_out)
        assert (before, text, after, answer) == example(Random(seed), 0.2, held_out)
        assert after.endswith("\n")
        assert answer == json.dumps(json.loads(answer), ensure_ascii=False, separators=(",", ":"))
        copied += sum(isinstance(v, str) and v in text for v in json.loads(answer).values())
    assert copied > 100
