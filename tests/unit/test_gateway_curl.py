"""curl against a running gateway: what the README's words come to on a command line."""

import json
import shutil
import subprocess

import pytest
from chat_place import LATE, RIGHT, TASK, chat_place

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


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


def test_an_inference_and_what_is_said_of_it(served):
    status, kind, said = curl(served, "/inference", {"function_name": TASK, "input": LATE})
    answer = json.loads(said)
    assert (status, kind) == (200, "application/json") and answer["output"]["parsed"] == RIGHT and answer["valid"]
    body = {"metric_name": "intent_accuracy", "value": True, "inference_id": answer["inference_id"], "idempotency_key": "curl-1"}
    status, _, said = curl(served, "/feedback", body)
    assert status == 200 and json.loads(said)["created"] and not json.loads(curl(served, "/feedback", body)[2])["created"]


def test_a_chat_completion_whole_and_as_a_stream(served):
    asked = {"model": TASK, "messages": [{"role": "user", "content": LATE}]}
    status, _, said = curl(served, "/v1/chat/completions", asked)
    assert status == 200 and json.loads(json.loads(said)["choices"][0]["message"]["content"]) == RIGHT
    status, kind, said = curl(served, "/v1/chat/completions", asked | {"stream": True})
    events = [line.removeprefix("data: ") for line in said.splitlines() if line.startswith("data: ")]
    pieces = [json.loads(one)["choices"][0]["delta"].get("content", "") for one in events[:-1]]
    assert (status, kind.partition(";")[0], events[-1]) == (200, "text/event-stream", "[DONE]") and json.loads("".join(pieces)) == RIGHT


def test_models_and_health(served):
    assert {one["id"] for one in json.loads(curl(served, "/v1/models")[2])["data"]} >= {TASK, f"{TASK}::first", "writer"}
    assert curl(served, "/health")[0] == 200 and curl(served, "/openapi.json")[0] == 200
    assert "pp_" in curl(served, "/metrics")[2]


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
