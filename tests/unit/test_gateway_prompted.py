"""Variants that are prompts: the task's language model as it is, with examples, with examples chosen for each input."""

import json

import pytest
from gateway_place import ask, place, running
from test_package import tiny_base
from upstream_stub import ANSWER, stub

from pp_assets.data.labels import label_fields
from pp_assets.prompts.dicl.stage import encoder_name
from pp_assets.serving.local import training_shots
from pp_assets.task.examples import read_split
from pp_assets.task.spec import load_task, parse_spec
from pp_resources.artifacts import ArtifactStore
from pp_resources.errors import UserError
from pp_resources.models.embedder import Embedder
from pp_resources.store.opened import open_store
from pp_resources.store.work import Example

VARIANTS = {
    "plain": {"kind": "prompt"},
    "worded": {"kind": "prompt", "system_prompt": "Be brief."},
    "shots": {"kind": "few_shot", "examples": 2},
    "near": {"kind": "dicl", "examples": 1},
    "encoder": {"kind": "package", "recipe": "encoder-lora"},
}


def shelved(where, rows):
    """Put worked examples into the store, with vectors of the task's encoder."""
    spec = load_task("toy", where.settings.tasks).spec
    vectors = Embedder.of(spec.encoder_model_id, 1).embed([text for text, _ in rows])
    encoder = encoder_name(spec.encoder_model_id)
    open_store(where.settings.home).write_many(
        [
            Example(task="toy", input=text, output=json.dumps(output), embedding=vector.tobytes(), encoder=encoder)
            for (text, output), vector in zip(rows, vectors)
        ]
    )


def test_prompts_of_one_base_answer_and_keep_the_schema(tmp_path):
    base = tiny_base(tmp_path / "base")
    where = place(tmp_path, {"variants": VARIANTS}, base_model_id=str(base), decoding={"max_new_tokens": 64})
    shots = training_shots(ArtifactStore(where.settings.home), load_task("toy", where.settings.tasks), 1)
    shelved(where, [(shots[0].input_text, shots[0].output)])
    with running(where) as made:
        said = {name: made.infer(variant_name=name) for name in VARIANTS}
        assert {answer.status for answer in said.values()} == {200}
        whole = [answer.json for answer in said.values() if answer.json["finish_reason"] == "stop"]
        assert whole and all(answer["valid"] for answer in whole)
        tokens = {name: answer.json["usage"]["input_tokens"] for name, answer in said.items()}
        assert tokens["plain"] < tokens["near"] < tokens["shots"] and tokens["plain"] != tokens["worded"]
        bases = made.gateway.builder.local._bases._loaded
        assert sorted(family for family, _ in bases) == ["causal", "encoder"], "one language model for four variants"
        assert ask(made.url, "/health").json["examples"] == {"toy": {"examples": 1, "error": "", "neighbours": {}}}


def test_a_remote_model_is_shown_the_examples_of_its_input_as_they_come(tmp_path):
    with stub() as up:
        variants = {"far": {"kind": "remote", "url": up.url, "model": "m"}, "near": {"kind": "dicl", "of": "far", "examples": 1}}
        where = place(tmp_path, {"variants": variants})
        with running(where) as made:
            assert made.infer(variant_name="near").status == 200
            shelved(where, [("send order B9 back", json.loads(ANSWER)), ("what a fine day", json.loads(ANSWER))])
            for _kept, refresher in made.gateway.builder.examples._kept.values():
                refresher.refresh()
            assert made.infer(variant_name="near").status == 200
    before, after = (json.dumps(body) for body in up.seen)
    assert "order B9" in after and "order B9" not in before and "fine day" not in after


def test_neighbours_of_an_encoder_have_a_say_where_validation_rows_show_a_gain(tmp_path):
    where = place(tmp_path, {"variants": {"near": {"kind": "package", "recipe": "encoder-lora", "neighbours": True}}})
    task = load_task("toy", where.settings.tasks)
    train = read_split(ArtifactStore(where.settings.home).require("datasets", "toy", "").path, "train")
    with running(where) as made:
        alone = made.infer().json
        assert alone["valid"] and ask(made.url, "/health").json["examples"]["toy"]["examples"] == 0
        shelved(where, [(row.input_text, row.output) for row in train])
        ((_, refresher),) = made.gateway.builder.examples._kept.values()
        assert refresher.refresh()
        told = ask(made.url, "/health").json["examples"]["toy"]
        assert told["examples"] == len(train) and set(told["neighbours"]) == set(label_fields(task.output_schema))
        assert made.infer().json["valid"]
        ((blended, _),) = made.gateway.builder.examples._blended.values()
        assert all(blend.rows for blend in blended.blends.values()), "fitted on validation rows"


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        ({"variants": {"a": {"kind": "prompt"}}, "fallbacks": ["b"]}, "serving.fallbacks: 'b' is no variant; known: a"),
        ({"variants": {"a": {"kind": "ensemble", "members": ["a", "b"]}}}, "serving.variants.a: 'a' is itself made of variants"),
        ({"variants": {"a": {"kind": "few_shot", "of": "a"}}}, "serving.variants.a.of: 'a' is no remote variant; known: none"),
        (
            {"variants": {"a": {"kind": "remote", "url": "x", "model": "m"}}},
            "serving.variants.a.remote.url: 'x' is no address of a provider",
        ),
        ({"variants": {"a": {"kind": "remote", "url": "http://x", "modl": "m"}}}, "unknown key 'modl' .*did you mean 'model'"),
        ({"variants": {"a": {"kind": "remote", "url": "http://x", "model": "m", "price_in": 1.0}}}, "price_in and price_out go together"),
        ({"redact": {"patterns": {"x": "("}}}, "serving.redact.patterns.x: no regular expression"),
        (
            {"routing": {"metric": "m", "champion": "a", "weights": {"a": 1.0}}, "variants": {"b": {"kind": "prompt"}}},
            "weights: 'a' is no v",
        ),
    ],
)
def test_a_section_that_is_not_sound_is_told_by_field(serving, said):
    from pathlib import Path

    raw = load_task("support-triage", Path("tasks")).spec.model_dump(mode="json")
    with pytest.raises(UserError, match=said):
        parse_spec(raw | {"serving": serving}, "task.yaml")


def test_how_a_task_is_served_is_no_part_of_what_it_is(tmp_path):
    from pp_assets.pipeline import answering_spec

    where = place(tmp_path)
    before = load_task("toy", where.settings.tasks)
    where.write({"variants": VARIANTS})
    after = load_task("toy", where.settings.tasks)
    assert after.spec.serving and after.digest == before.digest and answering_spec(after.spec) == answering_spec(before.spec)
