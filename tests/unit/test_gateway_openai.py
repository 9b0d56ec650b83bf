"""The `openai` client against the gateway: what it sends and reads, with nothing changed but the base URL."""

import json

import numpy as np
import openai
import pytest
from gateway_place import TEXT, ask, place, running
from pydantic import BaseModel
from test_package import SCHEMA
from upstream_stub import ANSWER, stub

SERVING = {"variants": {"encoder": {"kind": "package", "recipe": "encoder-lora"}, "twin": {"kind": "package", "recipe": "encoder-lora"}}}
USER = [{"role": "user", "content": TEXT}]
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


@pytest.fixture(scope="module")
def upstream():
    with stub() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory, upstream):
    gateway = {"models": {"big": {"url": upstream.url, "model": "m", "price_in": 1.0, "price_out": 2.0}}}
    with running(place(tmp_path_factory.mktemp("gateway"), SERVING, gateway)) as made:
        yield made


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_task_answers_as_a_model(client, server):
    answer = client.chat.completions.create(model="toy", messages=USER, user="person-2", metadata={"app": "test"}, temperature=0.5)
    assert answer.choices[0].message.content == server.infer().json["output"]["raw"] and answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens and answer.valid is True
    row = next(row for row in server.place.rows() if row["id"] == answer.id)
    assert (row["subject"], json.loads(row["tags"]), row["episode"]) == ("person-2", {"app": "test"}, answer.episode_id)


def test_a_variant_is_pinned_by_name_or_field(client):
    assert client.chat.completions.create(model="toy::twin", messages=USER).variant_name == "twin"
    assert client.chat.completions.create(model="toy", messages=USER, extra_body={"variant_name": "twin"}).variant_name == "twin"


def test_a_stream_has_the_chunks_that_clients_put_together(client):
    chunks = list(client.chat.completions.create(model="toy", messages=USER, stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    whole = client.chat.completions.create(model="toy", messages=USER)
    assert said == whole.choices[0].message.content and chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop" and chunks[-1].usage == whole.usage


def test_a_form_of_ones_own_holds(client):
    assert client.chat.completions.create(model="toy", messages=USER, response_format=FORM).choices
    narrower = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["colour"]}}}
    with pytest.raises(openai.UnprocessableEntityError) as error:
        client.chat.completions.create(model="toy", messages=USER, response_format=narrower)
    assert error.value.code == "invalid_output"

    class Ticket(BaseModel):
        topic: str
        order: str | None
        angry: bool

    parsed = client.chat.completions.parse(model="toy", messages=USER, response_format=Ticket).choices[0].message.parsed
    assert parsed is not None and parsed.topic in SCHEMA["properties"]["topic"]["enum"]


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"model": "nothing"}, openai.NotFoundError, "unknown_function"),
        ({"model": "toy::nothing"}, openai.NotFoundError, "unknown_variant"),
        ({"messages": []}, openai.BadRequestError, "wrong_request"),
        ({"messages": [{"role": "system", "content": "x"}]}, openai.BadRequestError, "no_user_message"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, openai.BadRequestError, None),
        ({"n": 2}, openai.BadRequestError, "unsupported_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "unsupported_parameter"),
        ({"response_format": {"type": "json_schema"}}, openai.BadRequestError, "wrong_request"),
        ({"messages": [{"role": "user", "content": "x" * 300}]}, openai.APIStatusError, "input_too_long"),
    ],
)
def test_errors_are_those_of_the_client(client, change, error, code):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**({"model": "toy", "messages": USER} | change))
    assert caught.value.code == (code or "unsupported_content") and caught.value.type == (
        "not_found_error" if error is openai.NotFoundError else "invalid_request_error"
    )


def test_models_are_listed_and_found_by_name(client):
    names = [model.id for model in client.models.list()]
    assert {"toy", "toy::encoder", "toy::twin", "big"} <= set(names) and client.models.retrieve("toy::twin").id == "toy::twin"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_embeddings_are_unit_vectors_of_the_encoder(client):
    texts = [TEXT, "please give me my money back", "the weather is fine"]
    made = client.embeddings.create(model="embedding", input=texts)
    vectors = np.array([one.embedding for one in made.data])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5) and vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    plain = client.embeddings.create(model="embedding", input=TEXT, encoding_format="float").data[0].embedding
    assert np.allclose(plain, vectors[0], atol=1e-5) and made.usage.prompt_tokens > 10
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="nothing", input=TEXT)


def test_a_remote_model_answers_under_its_name_here(client, server, upstream):
    answer = client.chat.completions.create(model="big", messages=USER, max_tokens=7, extra_body={"tags": {"a": "b"}})
    assert answer.choices[0].message.content == ANSWER and answer.model == "big" and upstream.seen[-1]["model"] == "m"
    assert upstream.seen[-1]["max_tokens"] == 7 and "tags" not in upstream.seen[-1]
    row = next(row for row in server.place.rows() if row["id"] == answer.id)
    assert (row["task"], row["variant"], row["output"]) == ("big", "m", ANSWER) and row["cost"] == pytest.approx(20e-6)


def test_a_remote_stream_is_passed_on_and_kept(client, server, upstream):
    chunks = list(client.chat.completions.create(model="big", messages=USER, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER, "no usage was asked for"
    row = next(row for row in server.place.rows() if row["id"] == chunks[0].id)
    assert row["output"] == ANSWER and row["tokens_in"] == 10
    upstream.breaks = True
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="big", messages=USER, stream=True))
    upstream.breaks = False
    row = server.place.rows()[-1]
    assert row["output"] == ANSWER[: len(ANSWER) // 2] and "broke off" in row["error"]


def test_a_remote_answer_is_held_to_the_form(client, upstream):
    assert client.chat.completions.create(model="big", messages=USER, response_format=FORM).choices
    upstream.text = "sorry"
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="big", messages=USER, response_format=FORM)
    upstream.text = ANSWER


def test_plain_http_reads_the_same(server):
    answer = ask(server.url, "/v1/chat/completions", {"model": "toy", "messages": USER})
    assert answer.json["object"] == "chat.completion" and answer.headers["content-type"] == "application/json"
