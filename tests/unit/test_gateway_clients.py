"""Other clients against a running gateway: curl, and what the `openai` client does beyond plain calls."""

import asyncio
import json
import shutil
import subprocess

import openai
import pytest
from chat_place import LATE, RIGHT, TASK, chat_place

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with chat_place(tmp_path_factory.mktemp("curl")) as made:
        yield made[0]


def curl(served, path, body=None, *more):
    """Status, content type and body."""
    words = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", "--write-out", "\n%{http_code} %{content_type}"]
    if body is not None:
        words += ["--json" if not more else "--data-binary", body if isinstance(body, str) else json.dumps(body)]
    done = subprocess.run([*words, *more, served.url + path], capture_output=True, text=True, check=True)
    said, _, end = done.stdout.rpartition("\n")
    status, _, kind = end.partition(" ")
    return int(status), kind, said


@needs_curl
def test_an_inference_and_what_is_said_of_it(served):
    status, kind, said = curl(served, "/inference", {"function_name": TASK, "input": LATE})
    answer = json.loads(said)
    assert (status, kind) == (200, "application/json") and answer["output"]["parsed"] == RIGHT and answer["valid"]
    body = {"metric_name": "intent_accuracy", "value": True, "inference_id": answer["inference_id"], "idempotency_key": "curl-1"}
    status, _, said = curl(served, "/feedback", body)
    assert status == 200 and json.loads(said)["created"] and not json.loads(curl(served, "/feedback", body)[2])["created"]


@needs_curl
def test_a_chat_completion_whole_and_as_a_stream(served):
    asked = {"model": TASK, "messages": [{"role": "user", "content": LATE}]}
    status, _, said = curl(served, "/v1/chat/completions", asked)
    assert status == 200 and json.loads(json.loads(said)["choices"][0]["message"]["content"]) == RIGHT
    status, kind, said = curl(served, "/v1/chat/completions", asked | {"stream": True})
    events = [line.removeprefix("data: ") for line in said.splitlines() if line.startswith("data: ")]
    pieces = [json.loads(one)["choices"][0]["delta"].get("content", "") for one in events[:-1]]
    assert (status, kind.partition(";")[0], events[-1]) == (200, "text/event-stream", "[DONE]") and json.loads("".join(pieces)) == RIGHT


@needs_curl
def test_models_and_health(served):
    assert {one["id"] for one in json.loads(curl(served, "/v1/models")[2])["data"]} >= {TASK, f"{TASK}::first", "writer"}
    assert curl(served, "/health")[0] == 200 and curl(served, "/openapi.json")[0] == 200
    assert "pp_" in curl(served, "/metrics")[2]


@needs_curl
@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        ("{", (), 400),
        ({"function_name": "triage", "input": LATE}, (), 404),
        ({"function_name": TASK, "input": LATE}, ("--header", "Content-Type: text/plain"), 415),
        ({"function_name": TASK, "input": ""}, (), 400),
    ],
)
def test_what_is_wrong_is_told_as_json(served, body, more, status):
    found, kind, said = curl(served, "/inference", body, *more)
    assert (found, kind) == (status, "application/json") and json.loads(said)["error"]["code"]


def test_the_asynchronous_client_asks_many_at_once(served):
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            messages = [{"role": "user", "content": LATE}]
            made = await asyncio.gather(*(client.chat.completions.create(model=TASK, messages=messages) for _ in range(8)))
            stream = await client.chat.completions.create(model=TASK, messages=messages, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return [*(one.choices[0].message.content for one in made), "".join(pieces)]

    assert [json.loads(text) for text in asyncio.run(ask())] == [RIGHT] * 9


def test_the_streaming_helper_and_raw_responses(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": LATE}]
        with client.chat.completions.stream(model=TASK, messages=messages) as stream:
            kinds = [event.type for event in stream]
            said = stream.get_final_completion().choices[0]
        assert json.loads(said.message.content) == RIGHT and said.finish_reason == "stop" and "content.delta" in kinds
        raw = client.chat.completions.with_raw_response.create(model=TASK, messages=messages)
        assert raw.status_code == 200 and raw.parse().model == TASK
