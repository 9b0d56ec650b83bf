"""Who may ask, how often and how much; feedback; what is told of the gateway; what is not written down."""

import hashlib
import json
import socket
import threading
import time

import pytest
from gateway_place import TEXT, ask, place, running
from upstream_stub import ANSWER, stub

from pp_assets.data.clean import PII
from pp_assets.serving.spec import Redact
from pp_gateway.serve.engine import Batcher, Engine
from pp_gateway.serve.said import Failed
from pp_resources.store.ids import uuid7
from pp_resources.store.opened import open_store
from pp_resources.store.read_feedback import feedback_on, feedback_since


def sha(key):
    return hashlib.sha256(key.encode()).hexdigest()


GATEWAY = {
    "keys": {"app": {"sha256": sha("app-key")}, "slow": {"sha256": sha("slow-key"), "per_second": 0.01, "burst": 2}},
    "redact": {"kinds": ["email"], "patterns": {"order": r"\bA\d+\b"}},
    "in_flight": 3,
    "batch": {"depth": 2},
}
APP = {"Authorization": "Bearer app-key"}


@pytest.fixture(scope="module")
def upstream():
    with stub() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory, upstream):
    remote = {"kind": "remote", "url": upstream.url, "model": "m"}
    serving = {"variants": {"encoder": {"kind": "package", "recipe": "encoder-lora"}, "big": remote}}
    with running(place(tmp_path_factory.mktemp("gateway"), serving, GATEWAY)) as made:
        yield made


def infer(server, **more):
    return ask(server.url, "/inference", {"function_name": "toy", "input": TEXT} | more, **APP)


def say(server, **more):
    return ask(server.url, "/feedback", {"metric_name": "right", "value": True} | more, **APP)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nothing"}, {"Authorization": "app-key x"}, {"X-API-Key": ""}])
def test_without_a_key_nobody_is_let_in(server, headers):
    answer = ask(server.url, "/inference", {"function_name": "toy", "input": TEXT}, **headers)
    assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert ask(server.url, "/v1/models", **headers).json["error"]["type"] == "authentication_error"
    assert ask(server.url, "/reload", {}, **headers).status == 401


def test_a_key_may_come_in_either_header(server):
    assert infer(server).status == 200 and ask(server.url, "/v1/models", X_API_Key="app-key").status == 200


def test_a_caller_that_asks_too_often_is_told_when_to_come_back(server):
    slow = {"Authorization": "Bearer slow-key"}
    assert [ask(server.url, "/v1/models", **slow).status for _ in range(3)] == [200, 200, 429]
    answer = ask(server.url, "/v1/models", **slow)
    assert 50 <= int(answer.headers["retry-after"]) <= 100 and answer.json["error"]["type"] == "rate_limit_error"
    assert infer(server).status == 200, "others are let in"


def test_more_than_can_be_under_way_is_refused_at_once(server, upstream):
    upstream.hang = 1.0
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(infer(server, variant_name="big"))) for _ in range(5)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    upstream.hang = 0.0
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 503, 503]
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 503)


def test_nothing_goes_on_for_a_caller_that_has_gone_away(server, upstream):
    upstream.hang = 2.0
    with socket.create_connection(server.url.removeprefix("http://").split(":")) as caller:
        body = json.dumps({"function_name": "toy", "input": TEXT, "variant_name": "big", "episode_id": "left"}).encode()
        head = f"POST /inference HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer app-key\r\nContent-Length: {len(body)}\r\n"
        caller.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        time.sleep(0.5)
    ends, began = time.monotonic() + 1.2, time.monotonic()
    while not (rows := [row for row in server.place.rows() if row["episode"] == "left"]) and time.monotonic() < ends:
        time.sleep(0.02)
    upstream.hang = 0.0
    assert rows and rows[0]["error"] == "the caller went away" and time.monotonic() - began < 1.2
    assert ask(server.url, "/health").json["in_flight"] == 0


def test_personal_data_is_given_to_the_model_and_not_to_the_store(server, upstream):
    said = infer(server, input="mail a@b.example about A7", variant_name="big", tags={"from": "a@b.example"}).json
    assert said["output"]["raw"] == ANSWER and "a@b.example" in upstream.seen[-1]["messages"][1]["content"]
    row = server.place.rows()[-1]
    assert row["input"] == "mail [EMAIL_1] about [ORDER]" and json.loads(row["tags"]) == {"from": "[EMAIL_1]"}
    assert '"order": "[ORDER]"' in row["output"]
    say(server, inference_id=row["id"], metric_name="comment", value="ask c@d.example")
    (comment,) = feedback_on(open_store(server.place.settings.home), row["id"])
    assert comment.comment == "ask [EMAIL_1]"
    assert set(Redact.model_json_schema()["properties"]["kinds"]["items"]["enum"]) == set(PII)


def test_feedback_of_every_kind_is_kept_and_counted_once(server):
    said = infer(server, episode_id="e-9").json
    target = {"inference_id": said["inference_id"]}
    assert say(server, **target, idempotency_key="k").json["created"] is True
    again = say(server, **target, idempotency_key="k")
    assert again.status == 200 and again.json["created"] is False
    assert say(server, **target, value=False, idempotency_key="k").status == 409, "one key for two things"
    assert say(server, **target, metric_name="score", value=0.5).status == 200
    demonstration = {"topic": "login", "order": None, "angry": False}
    assert say(server, **target, metric_name="demonstration", value=demonstration, function_name="toy").status == 200
    assert say(server, episode_id="e-9", metric_name="solved", value=True).status == 200
    found = feedback_since(open_store(server.place.settings.home), "toy")
    mine = [one for one in found if one.inference == said["inference_id"] or one.episode == "e-9"]
    assert [(one.kind, one.metric, one.value) for one in mine] == [
        ("boolean", "right", 1.0),
        ("float", "score", 0.5),
        ("demonstration", "", None),
        ("boolean", "solved", 1.0),
    ]
    assert json.loads(mine[2].output) == demonstration and mine[0].source == "app" and mine[0].variant == said["variant_name"]


def test_feedback_may_come_before_its_inference(server):
    early = uuid7()
    assert say(server, episode_id=early, value=False).status == 200
    assert infer(server, episode_id=early).status == 200
    found = [one for one in feedback_since(open_store(server.place.settings.home), "toy") if one.episode == early]
    assert [one.value for one in found] == [0.0]


@pytest.mark.parametrize(
    "body",
    [
        {"value": True},
        {"inference_id": "a", "episode_id": "b"},
        {"inference_id": "a", "value": "yes"},
        {"inference_id": "a", "value": 1e9},
        {"inference_id": "a", "metric_name": "comment", "value": 1},
        {"episode_id": "a", "metric_name": "demonstration", "value": "{}"},
        {"inference_id": "a", "metric_name": "demonstration", "value": {"topic": "pizza"}, "function_name": "toy"},
        {"inference_id": "a", "colour": 1},
        {"inference_id": "a", "metric_name": "demonstration", "value": {"n": 10**40}},
    ],
)
def test_feedback_that_is_at_fault_is_told_so(server, body):
    assert say(server, **body).status == 400


def test_health_and_metrics_tell_what_goes_on(server):
    assert ask(server.url, "/inference", {"function_name": "toy", "input": TEXT, "variant_name": "big"}, **APP).status == 200
    told = ask(server.url, "/health").json
    assert told["ready"] and told["functions"] == {"toy": {"variants": ["big", "encoder"], "trial": None}} and told["log"]["store"] is True
    assert told["rows"]["stored"] > 0 and told["reload"]["ok"] and told["in_flight"] == 0
    page = ask(server.url, "/metrics").body.decode()
    assert 'pp_requests_total{path="/inference",status="200"}' in page and 'pp_answer_seconds_count{task="toy"}' in page
    assert 'pp_answers_total{outcome="ok",task="toy",variant="big"}' in page
    assert ask(server.url, "/live").json == {"live": True}


def test_texts_are_gathered_and_a_full_queue_refuses():
    import asyncio

    sizes: list[int] = []

    def predict(texts):
        sizes.append(len(texts))
        time.sleep(0.02)
        if "bad" in texts:
            raise ValueError("bad")
        return [text.upper() for text in texts]

    async def main():
        engine = Engine(1)
        queue = Batcher(engine, predict, most=4, wait=0.005, depth=6)
        found = await asyncio.gather(*(queue.submit(c) for c in "abcd"), queue.submit("bad"), queue.submit("e"), return_exceptions=True)
        assert found[:4] == ["A", "B", "C", "D"] and isinstance(found[4], ValueError) and found[5] == "E"
        waiting = [queue.submit(c) for c in "abcdefghij"]
        with pytest.raises(Failed, match="6 texts wait"):
            queue.submit("k")
        low = queue.submit("low", low=True)
        waiting[-1].cancel()
        await asyncio.gather(*waiting[:-1])
        assert not low.done() and await low == "LOW", "nobody waits for it: it comes last"
        engine.close()

    asyncio.run(main())
    assert sizes[:2] == [4, 2] and sum(sizes) == 4 + 2 + 2 + 9 + 1


def test_what_is_mounted_beside_the_routes_is_behind_the_same_door(tmp_path):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def page(request):
        if request.method == "POST" and await request.body() == b"fail":
            raise RuntimeError("failed")
        return PlainTextResponse(f"{len(request.state.gateway.now.functions)} {request.state.caller}")

    app = Starlette(routes=[Route("/mine", page, methods=["GET", "POST"])])
    with running(place(tmp_path, gateway={"keys": {"app": {"sha256": sha("app-key")}}, "max_bytes": 2048}), beside=app) as made:
        assert ask(made.url, "/mine").status == 401 and ask(made.url, "/mine", **APP).body == b"1 app"
        assert ask(made.url, "/nothing", **APP).status == 404
        assert ask(made.url, "/mine", b"x" * 3000, **APP).status == 413 and ask(made.url, "/mine", b"fail", **APP).status == 500
        assert ask(made.url, "/mine", b"x", **APP).status == 200
    with running(place(tmp_path / "open"), beside=app) as made:
        assert ask(made.url, "/mine", Origin=made.url).status == 200
        assert ask(made.url, "/mine", b"x", Origin="https://evil.example").status == 403
        assert ask(made.url, "/mine", b"x", Origin="null").status == 403


def test_what_is_nowhere_is_refused_in_the_form_of_all_refusals(tmp_path):
    with running(place(tmp_path)) as made:
        gone = ask(made.url, "/nothing/here")
        assert (gone.status, gone.json["error"]["code"]) == (404, "unknown_path") and "/nothing/here" in gone.json["error"]["what"]
