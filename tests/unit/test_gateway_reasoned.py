"""Variants that are asked for steps before the answer: the answer is given alone, and the steps are stored with it."""

import json
import math

import pytest
from gateway_place import TEXT, events, place, running
from test_package import tiny_base
from upstream_stub import ANSWER, stub

from pp_assets.prompts.applying import applied, own_words
from pp_assets.prompts.search.export import exported, wording_of
from pp_assets.prompts.wording import Shown, Wording, reasoned_schema
from pp_assets.serving.local import served_wording
from pp_assets.task.spec import load_task
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError

WORDS = ("system_prompt", "instruction_template")
STEPS = ['The text says "refund".', "Its order is A7, and jo@example.com is not."]
SAID = json.dumps({"reasoning": STEPS, "answer": json.loads(ANSWER)})


def variants(url: str, **more):
    return {"far": {"kind": "remote", "url": url, "model": "m", "max_tokens": 100, "reasoned": True, **more}}


def test_who_asks_gets_the_bare_answer_and_the_row_has_the_steps(tmp_path):
    with stub(SAID) as up:
        where = place(tmp_path, {"variants": variants(up.url), "redact": {"kinds": ["email"]}})
        with running(where) as made:
            said = made.infer().json
            assert json.loads(said["output"]["raw"]) == said["output"]["parsed"] == json.loads(ANSWER) and said["valid"]
            assert said["usage"]["output_tokens"] == 5 and "reasoning" not in json.dumps(said)
            chat = made.chat(max_tokens=20).json
            assert json.loads(chat["choices"][0]["message"]["content"]) == json.loads(ANSWER)
        task = load_task("toy", where.settings.tasks)
        row = where.rows()[0]
        assert json.loads(row["output"]) == json.loads(ANSWER) and row["valid"]
        assert json.loads(row["decision"])["reasoning"] == [STEPS[0], STEPS[1].replace("jo@example.com", "[EMAIL_1]")]
        first, second = up.seen
        assert first["response_format"]["json_schema"]["schema"] == reasoned_schema(task.output_schema)
        assert (first["max_tokens"], second["max_tokens"]) == (420, 340), "steps take none of the answer's tokens"


def test_a_stream_has_the_answer_in_one_piece(tmp_path):
    with stub(SAID) as up:
        where = place(tmp_path, {"variants": variants(up.url)})
        with running(where) as made:
            piece, whole, done = events(made.infer(stream=True).body)
            assert json.loads(piece["raw"]) == whole["output"]["parsed"] == json.loads(ANSWER) and done == "[DONE]"
            told = [one["choices"][0]["delta"].get("content") for one in events(made.chat(stream=True).body) if one != "[DONE]"]
            assert json.loads("".join(text for text in told if text)) == json.loads(ANSWER)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (ANSWER, True),  # the form was not kept, but the answer is there
        (SAID[:40], False),
        ('{"reasoning": ["a"]}', False),
        ('{"reasoning": "a", "answer": {"topic": "weather"}}', False),
        ('{"reasoning": [], "answer": {"topic": "refund", "order": "\\ud800", "angry": false}}', False),
    ],
)
def test_an_answer_without_the_form_is_checked_as_it_is(tmp_path, text, valid):
    with stub(text) as up, running(place(tmp_path, {"variants": variants(up.url)})) as made:
        said = made.infer()
        assert said.status == 200 and said.json["valid"] is valid


def test_a_caller_s_own_form_is_asked_for_behind_the_steps(tmp_path):
    form = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
    with stub('{"reasoning": ["x"], "answer": {"topic": "rain"}}') as up:
        with running(place(tmp_path, {"variants": variants(up.url)})) as made:
            assert made.infer(output_schema=form).json["output"]["parsed"] == {"topic": "rain"}
        assert up.seen[0]["response_format"]["json_schema"]["schema"] == reasoned_schema(form)


def test_one_that_fails_while_it_thinks_leaves_a_stream_to_another(tmp_path):
    with stub(SAID) as up:
        up.fail = [500]
        more = {"retries": {"most": 0}}
        serving = {
            "variants": {**variants(up.url, **more), "other": {"kind": "remote", "url": up.url, "model": "m"}},
            "routing": {"metric": "right", "champion": "far", "weights": {"far": 1.0}},
            "fallbacks": ["other"],
        }
        with running(place(tmp_path, serving)) as made:
            *_, whole, _ = events(made.infer(stream=True).body)
        assert whole["variant_name"] == "other" and [one["variant"] for one in whole["fallbacks"]] == ["far"]


def test_examples_stand_in_the_form_that_is_asked_for(tmp_path):
    with stub(SAID) as up:
        shown = {"shown": {"kind": "few_shot", "of": "far", "examples": 2, "reasoned": True}}
        with running(place(tmp_path, {"variants": variants(up.url) | shown})) as made:
            assert made.infer(variant_name="shown").json["valid"]
        assert up.seen[0]["messages"][-1]["content"].count('Output: {"reasoning":[],"answer":{"topic":') == 2


def terse(folder):
    """A tiny base that ends every text, and every list after its first entry."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    model, tokenizer = LlamaForCausalLM.from_pretrained(tiny_base(folder)), AutoTokenizer.from_pretrained(folder)
    model.model.embed_tokens.weight.data[:, 0] = 10.0  # what all hidden states share
    for sign, weight in (('"', 2.0), ("]", 1.0)):
        model.lm_head.weight.data[tokenizer.convert_tokens_to_ids(sign), 0] = weight
    model.save_pretrained(folder)
    return folder


def test_the_model_of_this_machine_is_bound_to_steps_and_an_answer(tmp_path):
    base = terse(tmp_path / "base")
    kinds = {"plain": {"kind": "prompt"}, "steps": {"kind": "prompt", "reasoned": True}, "near": {"kind": "dicl", "reasoned": True}}
    where = place(tmp_path, {"variants": kinds}, base_model_id=str(base), decoding={"max_new_tokens": 64})
    with running(where) as made:
        said = {name: made.infer(variant_name=name).json for name in kinds}
    rows = {row["variant"]: row for row in where.rows()}
    for name in ("steps", "near"):
        assert said[name]["valid"] and said[name]["finish_reason"] == "stop" and json.loads(rows[name]["decision"])["reasoning"] == [""]
        fields = said[name]["fields"]
        assert set(fields) == {"topic", "order", "angry"} and said[name]["confidence"] == pytest.approx(math.prod(fields.values()))
        assert said[name]["usage"]["output_tokens"] > said["plain"]["usage"]["output_tokens"], "the steps are paid for"
    assert said["plain"]["valid"] and "reasoning" not in json.loads(rows["plain"]["decision"])


def test_a_searched_prompt_is_served_word_for_word(tmp_path):
    with stub(SAID) as up:
        where = place(tmp_path, {"variants": {"far": {"kind": "remote", "url": up.url, "model": "m", "price_in": 1.0, "price_out": 1.0}}})
        task = load_task("toy", where.settings.tasks)
        shots = (Shown("refund {{ me }}", json.loads(ANSWER), ("It says refund.",)), Shown("late", json.loads(ANSWER)))
        wording = Wording("Think {% first.", "{{ schema }} {{ labels }}\n{{ examples }}Input: {{ input_text }}", shots, reasoned=True)
        prompt = exported(task.spec, wording) | {"asked": "m"}
        made_of, _ = applied(task, prompt, "searched", of="far", overwrite=False, settings=where.settings)
        assert made_of["reasoned"] and made_of["price_in"] == 1.0
        there = load_task("toy", where.settings.tasks)
        write_atomic(where.settings.home / "providers.yaml", json.dumps({"providers": {"house": {"url": up.url}}}))
        listed, _ = applied(there, prompt | {"asked": "house/m"}, "listed", of=None, overwrite=False, settings=where.settings)
        assert listed == {"kind": "remote", "provider": "house", "model": "m"} | {k: made_of[k] for k in (*WORDS, "reasoned")}
        there = load_task("toy", where.settings.tasks)
        by_address, _ = applied(there, prompt | {"asked": f"{up.url}#m"}, "addressed", of=None, overwrite=False, settings=where.settings)
        assert (by_address["url"], by_address["model"]) == (up.url, "m")
        with pytest.raises(UserError, match="known: far"):
            applied(there, prompt | {"asked": "nobody/m"}, "other", of=None, overwrite=False, settings=where.settings)
        assert served_wording(there.spec, there.spec.serving.variants["searched"]).digest(there.spec) == prompt["digest"]
        with running(where) as made:
            assert made.infer(variant_name="searched").json["valid"]
        assert up.seen[0]["messages"] == wording_of(prompt).messages(task.spec, TEXT)
        with pytest.raises(UserError, match="a task's own prompt does not"):
            own_words(task, prompt)
        with pytest.raises(UserError, match="was scored"):
            applied(there, prompt | {"digest": "0" * 64}, "other", of="far", overwrite=False, settings=where.settings)
