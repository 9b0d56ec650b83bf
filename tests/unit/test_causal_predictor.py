import json

import pytest
from causal_tiny import INPUTS, OUTPUT, one_at_a_time, write_tiny_base
from jsonschema import Draft202012Validator
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from pp_resources.errors import UserError
from pp_resources.models import causal_decode
from pp_resources.models.causal import CausalPredictor, load_adapter, load_model, load_tokenizer
from pp_resources.models.causal_fields import field_confidence, value_spans
from pp_resources.models.causal_grammar import Grammar, tighten
from pp_resources.models.causal_prompt import Prompt, PromptEncoder, token_budget

PROMPT = Prompt("Answer with JSON.", "Keys: order, topic, urgent.\n\nMessage: ", "\n\nJSON:")


@pytest.fixture(scope="module", params=["plain", "chat", "start"])
def base(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return write_tiny_base(folder, chat=request.param == "chat", start=request.param == "start", layers=2)


def predictor(base, **options):
    return CausalPredictor.from_base("tiny", base, OUTPUT, PROMPT, **{"max_new_tokens": 60, "batch_size": 3, **options})


@pytest.mark.parametrize("constrained", [True, False])
def test_a_batch_on_the_shared_prefix_says_what_one_at_a_time_without_any_cache_says(base, constrained):
    made = predictor(base, constrained=constrained)
    assert [p.text for p in made.predict(INPUTS)] == [one_at_a_time(made, text) for text in INPUTS]


def test_constrained_answers_follow_the_schema_and_are_compact(base):
    for answer in predictor(base).predict(INPUTS):
        assert answer.finish_reason == "stop"
        value = json.loads(answer.text)
        Draft202012Validator(OUTPUT).validate(value)
        assert answer.text == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        assert list(value) == ["order", "topic", "urgent"]


def test_answers_come_in_the_order_of_the_inputs_and_do_not_depend_on_the_batch(base):
    made = predictor(base)
    together = made.predict(INPUTS)
    assert [p.text for p in made.predict(INPUTS[::-1])] == [p.text for p in together][::-1]
    assert [made.predict([text])[0].text for text in INPUTS] == [p.text for p in together]
    assert made.predict([]) == []


@pytest.mark.parametrize("constrained", [True, False])
def test_rows_that_are_read_in_pieces_and_wait_for_room_say_the_same(base, constrained, monkeypatch):
    texts = [*INPUTS, " ".join(INPUTS), INPUTS[1] + INPUTS[0]]
    whole = predictor(base, constrained=constrained, batch_size=64).predict(texts)
    monkeypatch.setattr(causal_decode, "CHUNK", 7)
    monkeypatch.setattr(causal_decode, "PASS", {"cpu": 20})
    monkeypatch.setattr(causal_decode, "ROOM", 400)
    assert [p.text for p in predictor(base, constrained=constrained).predict(texts)] == [p.text for p in whole]


def test_an_answer_that_leaves_no_choice_needs_no_pass(tmp_path):
    schema = {"type": "object", "properties": {"a": {"const": "bill"}}, "required": ["a"], "additionalProperties": False}
    made = CausalPredictor.from_base("x", write_tiny_base(tmp_path), schema, PROMPT)
    made.predict(INPUTS[:1])
    made.model.register_forward_pre_hook(lambda *_: pytest.fail("a pass was made"))
    assert {(p.text, p.confidence, p.finish_reason) for p in made.predict(INPUTS)} == {('{"a":"bill"}', 1.0, "stop")}
    cut = CausalPredictor("x", made.model, made.tokenizer, schema, PROMPT, max_new_tokens=2)
    cut._prefix = made._prefix
    assert [p.finish_reason for p in cut.predict(INPUTS[:1])] == ["length"]


def test_confidence_is_the_product_over_the_fields_choices(base):
    for answer in predictor(base).predict(INPUTS):
        assert set(answer.fields) == {"order", "topic", "urgent"}
        assert 0 < answer.confidence <= min(answer.fields.values()) <= 1
        assert answer.tokens_in > 0 and answer.tokens_out > 0 and answer.latency_ms > 0


def test_an_answer_that_the_budget_cuts_says_so(base):
    for answer in predictor(base, max_new_tokens=4).predict(INPUTS):
        assert answer.finish_reason == "length"
        assert answer.tokens_out == 4


def test_an_answer_that_the_budget_cuts_in_its_forced_end_says_so_too(base):
    whole = predictor(base).predict(INPUTS[:1])[0].tokens_out
    cut = [predictor(base, max_new_tokens=limit).predict(INPUTS[:1])[0] for limit in range(whole - 4, whole + 1)]
    assert [answer.finish_reason for answer in cut] == ["length"] * 4 + ["stop"]
    assert json.loads(cut[-1].text)


def test_an_input_that_does_not_fit_the_context_is_not_cut_but_reported(base):
    short, long = predictor(base).predict([INPUTS[0], "word " * 2000])
    assert short.finish_reason == "stop"
    assert (long.text, long.finish_reason) == ("", "length")
    assert long.tokens_in > 2000


def test_a_schema_that_the_grammar_cannot_enforce_is_refused_by_name(tmp_path):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}, "contains": {"const": "x"}}},
        "required": ["a"],
    }
    with pytest.raises(UserError, match="cannot enforce the output schema") as error:
        CausalPredictor.from_base("x", write_tiny_base(tmp_path), schema, PROMPT)
    assert "contains" in str(error.value) and "decoding.constrained" in str(error.value)


def test_a_folder_that_is_no_causal_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(UserError, match="not a causal language model"):
        load_model(tmp_path)


def test_an_adapter_with_a_weight_too_few_is_refused(tmp_path):
    model = load_model(write_tiny_base(tmp_path / "base"))
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(file)
    gone = min(weights)
    save_file({name: weight for name, weight in weights.items() if name != gone}, file)
    with pytest.raises(UserError, match=f"1 weights differ, such as {gone}; use the base that it was trained on"):
        load_adapter(load_model(tmp_path / "base"), tmp_path / "adapter")


def test_an_adapter_of_other_shapes_is_refused(tmp_path):
    model = load_model(write_tiny_base(tmp_path / "base"))
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({name: weight[:, :1].clone() for name, weight in load_file(file).items()}, file)
    with pytest.raises(UserError, match="does not fit the base model"):
        load_adapter(load_model(tmp_path / "base"), tmp_path / "adapter")


def test_the_chat_template_is_used_where_there_is_one(tmp_path):
    encoder = PromptEncoder(load_tokenizer(write_tiny_base(tmp_path, chat=True)), PROMPT)
    assert encoder.text("hi") == (
        "<|system|>\nAnswer with JSON.<end>\n<|user|>\nKeys: order, topic, urgent.\n\nMessage: hi\n\nJSON:<end>\n<|assistant|>\n"
    )


def test_without_a_chat_template_the_prompt_ends_in_a_line_end(tmp_path):
    encoder = PromptEncoder(load_tokenizer(write_tiny_base(tmp_path)), PROMPT)
    assert encoder.text("hi") == "Answer with JSON.\n\nKeys: order, topic, urgent.\n\nMessage: hi\n\nJSON:\n"
    assert encoder.prefix_text.endswith("\n\n")


def test_a_start_token_stands_once_at_the_front_where_the_tokenizer_wants_one(tmp_path):
    encoder = PromptEncoder(load_tokenizer(write_tiny_base(tmp_path, start=True)), PROMPT)
    assert encoder.prefix_ids[0] == 2
    assert 2 not in encoder.prefix_ids[1:] + encoder.suffix_ids("hi") + encoder.completion_ids("{}")


def test_a_template_without_a_system_role_gets_the_system_prompt_in_the_message(tmp_path):
    tokenizer = load_tokenizer(write_tiny_base(tmp_path))
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}[{{ m.content }}]{% endfor %}"
    )
    assert PromptEncoder(tokenizer, PROMPT).text("hi") == "[Answer with JSON.\n\nKeys: order, topic, urgent.\n\nMessage: hi\n\nJSON:]"


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path):
    tokenizer = load_tokenizer(write_tiny_base(tmp_path))
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end token"):
        PromptEncoder(tokenizer, PROMPT)


def test_the_grammar_takes_canonical_answers_and_nothing_else(tmp_path):
    tokenizer = load_tokenizer(write_tiny_base(tmp_path))
    grammar, encoder = Grammar(tokenizer, OUTPUT, len(tokenizer) + 8), PromptEncoder(tokenizer, PROMPT)
    assert grammar.accepts(encoder.completion_ids('{"order":null,"topic":"bill","urgent":true}'), "x")
    for wrong in ('{"topic":"bill","order":null,"urgent":true}', '{"order":null,"topic":"no","urgent":true}', '{"order": null}', "{}"):
        assert not grammar.accepts(encoder.completion_ids(wrong), "x")


def test_nullable_keys_are_always_written_and_unknown_ones_never():
    schema = {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"], "x-note": 1}, "b": {"type": "string"}, "x-c": {"enum": ["x"]}},
        "required": ["b"],
    }
    made = tighten(schema)
    assert made["required"] == ["a", "b"]
    assert made["additionalProperties"] is False
    assert made["properties"]["a"] == {"type": ["string", "null"]}
    assert "x-c" in made["properties"]
    assert tighten({"type": "object", "properties": {}, "additionalProperties": True})["additionalProperties"] is True


def test_items_that_must_not_repeat_are_said_once(tmp_path):
    tokenizer = load_tokenizer(write_tiny_base(tmp_path))
    items = {"type": "array", "items": {"type": ["string", "integer", "boolean"]}, "uniqueItems": True}
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"type": "array", "items": {"type": "integer"}}},
        "$defs": {"x": items},
    }
    grammar = Grammar(tokenizer, schema, len(tokenizer))
    assert grammar.mend('{"a":["é","y","é",1,true],"b":[1,1]}') == '{"a":["é","y",1,true],"b":[1,1]}'
    assert grammar.mend('{"a":["x"]}') == '{"a":["x"]}'
    assert Grammar(tokenizer, OUTPUT, len(tokenizer)).mend("not even JSON") == "not even JSON"


def test_value_spans_name_nested_fields_and_stop_where_the_text_was_cut():
    raw = '{"a":{"é":"ü{","n":[1,{"x":2}]},"b":null}'.encode()
    assert [(path, raw[i:j].decode()) for path, i, j in value_spans(raw)] == [("a.é", '"ü{"'), ("a.n", '[1,{"x":2}]'), ("b", "null")]
    assert [path for path, _, _ in value_spans(b'{"a":1,"b":"cut o')] == ["a"]
    assert value_spans(b"") == []


def test_a_field_is_as_sure_as_the_tokens_that_touch_its_value():
    pieces = [b'{"a":', b'"x', b'y","b":', b"true", b"}"]
    made = field_confidence(pieces, [0.0, -1.0, -0.5, -0.25, 0.0])
    assert made == {"a": pytest.approx(2.718281828**-1.5), "b": pytest.approx(2.718281828**-0.25)}


def test_the_token_budget_is_half_as_much_again_as_nearly_all_answers_need():
    assert token_budget([10] * 100) == 16
    assert token_budget([]) == 256


@pytest.mark.parametrize("constrained", [True, False])
def test_the_same_model_behind_another_prompt_says_what_a_predictor_of_that_prompt_says(base, constrained):
    first, other = predictor(base, constrained=constrained), Prompt("Reply.", "Text: ", "\n\nJSON:")
    first.predict(INPUTS[:1])
    own = CausalPredictor.from_base("tiny", base, OUTPUT, other, constrained=constrained, max_new_tokens=60, batch_size=3)
    behind = first.behind(other)
    assert behind.model is first.model and behind.encoder.prefix_ids != first.encoder.prefix_ids
    assert [p.text for p in behind.predict(INPUTS)] == [p.text for p in own.predict(INPUTS)]
    assert [p.text for p in first.predict(INPUTS)] == [p.text for p in predictor(base, constrained=constrained).predict(INPUTS)]
