"""Answers that go to people: which, how they are marked and kept, and how people work them over HTTP."""

import json
import threading
import time
from typing import Any

import pytest
from gateway_place import Answer, ask, events, place, running

from pp_assets.feedback.inbox import Inbox
from pp_assets.serving.desk import Desk
from pp_gateway.serve.keys import new_key
from pp_resources.store.opened import open_store
from pp_resources.store.read_queue import list_work
from pp_resources.store.retention import erase

RIGHT = {"topic": "refund", "order": "A7", "angry": False}


def serving(**handoff: Any) -> dict[str, Any]:
    return {"variants": {"encoder": {"kind": "package", "recipe": "encoder-lora"}}, "handoff": handoff}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(place(tmp_path_factory.mktemp("queue"), serving(confidence=1.0))) as made:
        yield made


def item(server, text: str = "please refund me for order A7", **more: Any) -> str:
    said = server.infer(text, **more).json
    assert said["handoff"] is True and said["handoff_reason"] == "confidence"
    return str(said["handoff_item"])


def act(server, what: str, of: str = "", by: str = "ann", **more: Any) -> Answer:
    path = f"/api/queue/items/{of}/{what}" if of else f"/api/queue/{what}"
    return ask(server.url, path, {"by": by} | more)


def demonstrations(server) -> dict[str, Any]:
    store = open_store(server.place.settings.home)
    from pp_resources.store.read_feedback import feedback_since

    return {str(one.inference): json.loads(one.output or "null") for one in feedback_since(store, "toy", in_force=True)}


def test_an_unsure_answer_is_marked_and_queued_with_its_row(server):
    id = item(server, episode_id="e-9")
    found = ask(server.url, f"/api/queue/items/{id}").json
    row = server.place.rows()[-1]
    assert found["item"]["inference"] == row["id"] == id and found["item"]["input"] == row["input"]
    assert found["item"]["output"] == json.loads(row["output"]) and found["item"]["state"] == "open"
    assert set(found["item"]["detail"]["fields"]) == {"topic", "order", "angry"} and found["item"]["detail"]["threshold"] == 1.0
    assert found["schema"]["properties"].keys() == {"topic", "order", "angry"}
    chat = server.chat().json
    assert chat["handoff"] is True and chat["handoff_reason"] == "confidence" and chat["handoff_item"] == chat["id"]
    *_, whole, _ = events(server.infer(stream=True).body)
    assert whole["handoff_item"] == whole["inference_id"]
    streamed = [chunk for chunk in events(server.chat(stream=True).body) if chunk != "[DONE]"]
    assert streamed[-1]["handoff_item"] == streamed[-1]["id"]


def test_a_dry_run_is_marked_but_not_queued(server):
    said = server.infer(dryrun=True).json
    assert said["handoff"] is True and said["handoff_item"] is None


def test_an_answer_of_a_person_is_a_demonstration_once(server):
    id = item(server)
    taken = act(server, "claim", id).json["item"]
    assert taken["mine"] and taken["state"] == "claimed" and taken["until"]
    for _ in range(2):  # the same answer again is the same answer
        ended = act(server, "answer", id, output=RIGHT, id="answer-1")
        assert ended.status == 200 and ended.json["item"]["state"] == "answered" and ended.json["item"]["answer"] == RIGHT
    assert demonstrations(server)[id] == RIGHT
    inbox = Inbox(server.place.settings.home)
    assert [json.loads(one.output or "") for one in inbox.entries("toy") if one.input_text.endswith("A7")] == [RIGHT]
    assert act(server, "answer", id, "bob", output={**RIGHT, "angry": True}).status == 409
    assert demonstrations(server)[id] == RIGHT


def test_an_answer_of_another_id_leaves_no_half_behind(server):
    first, second = item(server), item(server)
    assert act(server, "answer", first, output=RIGHT, id="answer-2").status == 200
    clash = act(server, "answer", second, output=RIGHT, id="answer-2")
    assert clash.status == 409 and "taken by another" in clash.json["error"]["what"]
    assert ask(server.url, f"/api/queue/items/{second}").json["item"]["state"] == "open" and second not in demonstrations(server)


def test_what_a_person_ended_can_be_taken_back_by_that_person(server):
    id = item(server)
    act(server, "answer", id, output=RIGHT)
    assert act(server, "undo", id, "bob").status == 409 and id in demonstrations(server)
    back = act(server, "undo", id).json["item"]
    assert back["mine"] and back["state"] == "claimed" and back["answer"] is None and id not in demonstrations(server)
    assert act(server, "undo", id).status == 409
    assert act(server, "answer", id, output={**RIGHT, "topic": "delivery"}).status == 200
    assert demonstrations(server)[id]["topic"] == "delivery"
    other = item(server)
    assert act(server, "skip", other).json["item"]["state"] == "dismissed" and other not in demonstrations(server)
    assert act(server, "undo", other).json["item"]["state"] == "claimed"


def test_two_people_never_hold_one_item(server):
    for _ in range(6):
        item(server)
    found: dict[str, list[str]] = {}

    def work(by: str) -> None:
        found[by] = []
        while (one := act(server, "next", by=by, passed=found[by]).json["item"]) is not None:
            found[by].append(one["id"])

    people = [threading.Thread(target=work, args=(name,)) for name in ("ann", "bob", "cy")]
    for one in people:
        one.start()
    for one in people:
        one.join()
    taken = [id for ids in found.values() for id in ids]
    assert len(taken) == len(set(taken)) >= 6
    theirs = found["bob"] or found["cy"]
    refused = act(server, "answer", theirs[0], "ann", output=RIGHT)
    assert refused.status == 409 and refused.json["error"]["what"].startswith("is claimed by ")
    assert act(server, "claim", theirs[0], "ann").status == act(server, "release", theirs[0], "ann").status == 409
    for by, ids in found.items():
        for id in ids:
            assert act(server, "release", id, by).json["item"]["state"] == "open"


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        ({**RIGHT, "topic": "sports"}, {("topic",): "'sports' is not one of"}),
        ({"topic": "refund"}, {("angry",): "is missing", ("order",): "is missing"}),
        ({**RIGHT, "order": "B9"}, {("order",): "does not occur in the input"}),
        ({**RIGHT, "angry": "no", "topic": 3}, {("angry",): "'no' is not of type 'boolean'", ("topic",): "3 is not one of"}),
        ("nothing", {(): "'nothing' is not of type 'object'"}),
    ],
)
def test_an_answer_that_breaks_the_schema_is_told_by_field(server, output, wrong):
    id = item(server)
    refused = act(server, "answer", id, output=output)
    assert refused.status == 422 and refused.json["error"]["code"] == "wrong_answer"
    said = {tuple(one["path"]): one["message"] for one in refused.json["fields"]}
    assert said.keys() == wrong.keys() and all(said[path].startswith(text) for path, text in wrong.items())
    assert ask(server.url, f"/api/queue/items/{id}").json["item"]["state"] == "open" and id not in demonstrations(server)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/queue/items/none", None, 404),
        ("/api/queue/items/none/claim", {"by": "ann"}, 404),
        ("/api/queue/next", {}, 400),
        ("/api/queue/next", {"by": "ann", "task": "tyo"}, 404),
        ("/api/queue/next", {"by": "ann", "more": 1}, 400),
        ("/api/queue?state=lost", None, 400),
        ("/api/queue?limit=0", None, 400),
        ("/api/queue?limit=%C2%B2", None, 400),
        ("/api/queue/measures?task=tyo", None, 404),
        ("/api/queue/next", b"{", 400),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_form(server, path, body, status):
    refused = ask(server.url, path, body)
    assert refused.status == status and set(refused.json["error"]) == {"what", "code", "how", "where"}


def test_pages_of_other_sites_and_forms_are_refused(server):
    id = item(server)
    body = {"by": "ann"}
    assert ask(server.url, f"/api/queue/items/{id}/claim", body, Origin="http://evil.test").status == 403
    assert ask(server.url, f"/api/queue/items/{id}/claim", body, Host="evil.test").status == 403
    assert ask(server.url, f"/api/queue/items/{id}/claim", body, Content_Type="text/plain").status == 415


def test_the_page_runs_nothing_but_files_of_the_gateway(server):
    page = ask(server.url, "/queue")
    policy = page.headers["Content-Security-Policy"]
    assert page.status == 200 and "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for name in ("door.js", "form.js", "queue.js", "door.css", "queue.css"):
        file = ask(server.url, f"/pages/{name}")
        assert file.status == 200 and b"http://" not in file.body and b"https://" not in file.body
        assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server.url, "/pages/__init__.py").status == 404 and ask(server.url, "/pages/..%2Fsite.py").status == 404


def test_measures_and_live_counts_follow_the_work(server):
    before = ask(server.url, "/api/queue/measures?task=toy").json
    id = item(server)
    said = ask(server.url, f"/api/queue/items/{id}").json["item"]["output"]
    act(server, "answer", id, output=said)
    after = ask(server.url, "/api/queue/measures").json
    assert after["answered_today"] == before["answered_today"] + 1 and after["per_day"][-1]["answered"] == after["answered_today"]
    agreement, earlier = after["agreement"], before["agreement"]
    assert agreement["n"] == earlier["n"] + 1 and agreement["low"] < agreement["rate"] < agreement["high"]
    assert round(agreement["rate"] * agreement["n"]) == round((earlier["rate"] or 0) * earlier["n"]) + 1
    assert after["audited"]["rate"] is None and after["audited"]["why"] == "nobody has answered"
    import urllib.request

    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(server.url + "/api/queue/events", timeout=30) as line:
        assert line.headers["Content-Type"].startswith("text/event-stream")
        first = json.loads(line.readline().removeprefix(b"data: "))
        line.readline()
        item(server)
        then = json.loads(line.readline().removeprefix(b"data: "))
    assert then["toy"]["open"] == first["toy"]["open"] + 1
    listed = ask(server.url, "/api/queue?task=toy&limit=500").json
    assert len(listed["items"]) == then["toy"]["open"] and listed["tasks"] == ["toy"]


def test_what_belongs_to_a_person_goes_with_its_queue_items(server):
    id = item(server, subject="rosa")
    act(server, "answer", id, output=RIGHT)
    store = open_store(server.place.settings.home)
    assert erase(store, "rosa")["queue"] == 1
    assert ask(server.url, f"/api/queue/items/{id}").status == 404 and id not in demonstrations(server)


def test_keys_keep_people_apart(tmp_path):
    secret, key = new_key()
    other, second = new_key()
    keys = {"desk": key.model_dump(exclude_none=True), "app": second.model_dump(exclude_none=True)}
    with running(place(tmp_path, serving(confidence=1.0), {"keys": keys})) as server:
        desk, app = {"Authorization": f"Bearer {secret}"}, {"Authorization": f"Bearer {other}"}
        id = ask(server.url, "/inference", {"function_name": "toy", "input": "hello"}, **app).json["handoff_item"]
        for path in ("/api/queue", "/api/queue/events", f"/api/queue/items/{id}"):
            assert ask(server.url, path).status == 401
        assert ask(server.url, f"/api/queue/items/{id}/claim", {"by": "ann"}).status == 401
        assert ask(server.url, "/queue").status == 200, "the page holds no data"
        assert ask(server.url, f"/api/queue/items/{id}/claim", {"by": "ann"}, **desk).json["item"]["by"] == "desk:ann"
        # Another key cannot speak for people of this one.
        assert ask(server.url, f"/api/queue/items/{id}/release", {"by": "desk:ann"}, **app).status == 409
        assert ask(server.url, f"/api/queue/items/{id}/release", {"by": "ann"}, **app).status == 409
        assert ask(server.url, f"/api/queue/items/{id}/skip", {"by": "ann"}, **desk).json["item"]["state"] == "dismissed"


def item_of(server, id, seconds=20.0):
    """An item once it is in the store: where that was slow its row lies in the journal first."""
    ends = time.monotonic() + seconds
    while "item" not in (said := ask(server.url, f"/api/queue/items/{id}").json) and time.monotonic() < ends:
        time.sleep(0.05)
    return said["item"]


def test_invalid_answers_gates_audits_and_a_full_queue(tmp_path):
    where = place(tmp_path, serving(audit=1.0, most_open=2))
    with running(where) as server:
        said = [server.infer().json for _ in range(3)]
        assert [one["handoff_reason"] for one in said] == ["audit"] * 3 and not any(one["handoff"] for one in said)
        assert [one["handoff_item"] is not None for one in said] == [True, True, False], "what has no room is not queued"
        assert b'pp_handoffs_total{outcome="no room",reason="audit",task="toy"} 1.0' in ask(server.url, "/metrics").body
        where.write(serving(contract_score=1.0, contract_gates=True))
        (where.settings.tasks / "toy" / "contract.yaml").write_text(CONTRACT)
        told = ask(server.url, "/reload", {}).json
        assert told["ok"], told
        doubted = server.infer().json
        assert doubted["handoff"] is True and doubted["handoff_reason"] == "contract"
        found = item_of(server, doubted["handoff_item"])["detail"]["contract"]
        assert found == {"least": 1.0, "gates": ["form/short"], "score": 0.0}
        where.write(serving())
        assert ask(server.url, "/reload", {}).json["ok"] and server.infer().json["handoff"] is False


CONTRACT = """\
version: 1
dimensions:
- label: form
  sub_dimensions:
  - {label: short, kind: length, field: topic, maximum: 2, hard_gate: 0.5}
"""


def test_a_claim_that_has_run_out_is_anybodys(tmp_path):
    with running(place(tmp_path, serving(confidence=1.0, claim_minutes=0.02, undo_minutes=0))) as server:
        id = item(server)
        assert act(server, "next").json["item"]["id"] == id and act(server, "next", by="bob").json["item"] is None
        desk = Desk(open_store(server.place.settings.home))
        while not list_work(desk.store, ["toy"], state="open"):
            pass
        assert act(server, "next", by="bob").json["item"]["id"] == id
        assert act(server, "answer", id, output=RIGHT).status == 409
        assert act(server, "answer", id, "bob", output={**RIGHT, "order": None}).status == 200
        late = act(server, "undo", id, "bob")
        assert late.status == 409 and "minutes ago" in late.json["error"]["what"]
