"""Tasks over HTTP: answers, what is kept of them, and what is refused."""

import asyncio
import json
import time

import pytest
from gateway_place import TEXT, ask, events, place, running

from pp_gateway.serve.said import Asked, Failed, Said
from pp_gateway.serve.variants import Steps

SERVING = {
    "variants": {
        "encoder": {"kind": "package", "recipe": "encoder-lora"},
        "both": {"kind": "ensemble", "members": ["encoder", "twin"]},
        "best": {"kind": "best_of_n", "candidates": ["encoder", "twin"]},
        "steps": {"kind": "cascade", "steps": ["encoder", "twin"], "threshold": 1.0},
        "judged": {"kind": "best_of_n", "candidates": ["encoder", "twin"], "by": "contract"},
        "twin": {"kind": "package", "recipe": "encoder-lora"},
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(place(tmp_path_factory.mktemp("gateway"), SERVING)) as made:
        yield made


def test_an_answer_comes_with_ids_and_its_row_is_in_the_store(server):
    answer = server.infer(tags={"app": "test"}, subject="person-1", episode_id="e-1")
    assert answer.status == 200, answer.body
    said = answer.json
    assert said["variant_name"] == "encoder" and said["episode_id"] == "e-1" and said["valid"] is True
    assert said["output"]["parsed"] == json.loads(said["output"]["raw"]) and 0 < said["confidence"] <= 1
    assert said["usage"]["input_tokens"] > 3 and said["usage"]["cost"] is None, "a model of one's own is unpriced"
    row = server.place.rows()[-1]
    assert row["id"] == said["inference_id"] and (row["task"], row["variant"]) == ("toy", "encoder")
    assert (row["input"], row["output"], row["valid"], row["subject"]) == (TEXT, said["output"]["raw"], 1, "person-1")
    assert json.loads(row["tags"]) == {"app": "test"} and row["config"] == server.gateway.now.functions["toy"].digest


@pytest.mark.parametrize("variant", ["encoder", "twin", "both", "best", "judged", "steps"])
def test_every_kind_of_variant_gives_the_answer_of_its_parts(server, variant):
    said = server.infer(variant_name=variant).json
    assert said["variant_name"] == variant and said["valid"] and said["output"] == server.infer().json["output"]
    assert said["usage"]["input_tokens"] == server.infer().json["usage"]["input_tokens"] * (1 if variant in ("encoder", "twin") else 2)


def test_a_cascade_goes_on_from_what_is_not_sure_not_valid_or_not_said():
    heard = []

    class Step:
        def __init__(self, name, *said):
            self.name, self.said = name, said

        async def ask(self, _asked):
            heard.append(self.name)
            if not self.said:
                raise Failed(503, "away", "nobody is there")
            return Said(*self.said)

    def taken(*steps):
        heard.clear()
        made = Steps([(step.name, step) for step in steps], 0.8, lambda text: text == "good")
        return asyncio.run(made.ask(Asked("text", time.monotonic() + 9))).parts, list(heard)

    sure, last = Step("sure", "good", 0.8), Step("last", "bad", None)
    assert taken(sure, last) == (["sure"], ["sure"])
    for step in (Step("unsure", "good", 0.79), Step("silent", "good", None), Step("invalid", "bad", 1.0), Step("away")):
        assert taken(step, last) == (["last"], [step.name, "last"]) and taken(step, sure, last) == (["sure"], [step.name, "sure"])
    assert taken(Step("unsure", "good", 0.1), Step("away")) == (["unsure"], ["unsure", "away"])
    with pytest.raises(Failed):
        taken(Step("away"), Step("gone"))


def test_the_last_user_message_is_the_input(server):
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}, {"role": "user", "content": TEXT}]
    said = ask(server.url, "/inference", {"function_name": "toy", "input": {"messages": messages}}).json
    assert said["output"] == server.infer().json["output"]


def test_a_dry_run_keeps_nothing(server):
    before = len(server.place.rows())
    assert server.infer(dryrun=True).status == 200 and len(server.place.rows()) == before


def test_a_stream_ends_when_its_row_is_kept(server):
    *pieces, whole, done = events(server.infer(stream=True).body)
    assert done == "[DONE]" and "".join(piece["raw"] for piece in pieces) == whole["output"]["raw"]
    assert {piece["inference_id"] for piece in pieces} == {whole["inference_id"]} == {server.place.rows()[-1]["id"]}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "wrong_request"),
        ({"function_name": "toy"}, 400, "wrong_request"),
        ({"function_name": "toy", "input": TEXT, "inputt": 1}, 400, "wrong_request"),
        ({"function_name": "toy", "input": " "}, 400, "empty_input"),
        ({"function_name": "toy", "input": "x" * 201}, 413, "input_too_long"),
        ({"function_name": "toy", "input": "forbidden words"}, 400, "wrong_input"),
        ({"function_name": "toy", "input": "a\0b"}, 400, "wrong_request"),
        ({"function_name": "tyo", "input": TEXT}, 404, "unknown_function"),
        ({"function_name": "toy", "input": TEXT, "variant_name": "encode"}, 404, "unknown_variant"),
        ({"function_name": "toy", "input": TEXT, "episode_id": "a b"}, 400, "wrong_request"),
        ({"function_name": "toy", "input": TEXT, "output_schema": {"type": "nothing"}}, 400, "wrong_schema"),
        ({"function_name": "toy", "input": TEXT, "output_schema": {"$ref": "http://127.0.0.1:1/x"}}, 400, "wrong_schema"),
        ({"function_name": "toy", "input": TEXT, "output_schema": {"$ref": "#"}}, 400, "wrong_schema"),
        ({"function_name": "toy", "input": TEXT, "output_schema": {"required": ["colour"]}}, 422, "invalid_output"),
    ],
)
def test_a_request_that_is_at_fault_is_told_so(server, body, status, code):
    answer = ask(server.url, "/inference", body)
    assert (answer.status, answer.json["error"]["code"]) == (status, code), answer.body


def test_doors_that_are_not_there(server):
    assert ask(server.url, "/nothing").status == 404
    assert ask(server.url, "/inference").status == 405
    assert ask(server.url, "/inference", {}, Content_Type="text/plain").status == 415
    assert ask(server.url, "/inference", b" " * (2 << 20)).status == 413
    assert ask(server.url, "/inference", {}, Host="evil.example").status == 403, "a page of another site under a name of its own"


def test_without_a_section_every_package_is_served(tmp_path):
    where = place(tmp_path)
    with running(where) as made:
        assert made.infer().json["variant_name"] == "encoder-lora"
        assert made.gateway.now.functions["toy"].variants.keys() == {"encoder-lora"}
