"""Jobs as they are asked for: what is taken and what is not, once and not twice, by whom, how they are read back. None is started here."""

import hashlib

import pytest
from gateway_place import ask, running
from job_place import ROW, job_place, sent, started, store_of, wait_for

from pp_gateway.jobs.records import end, lock_of, place_of
from pp_gateway.jobs.worker import main as work
from pp_resources.store.read_work import job, job_events_after
from pp_resources.store.work import JobEvent


def sha(key):
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = {name: {"sha256": sha(f"{name}-key")} for name in ("app", "apple")}
APP, APPLE = ({"Authorization": f"Bearer {name}-key"} for name in KEYS)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(job_place(tmp_path_factory.mktemp("jobs"), jobs={"running": 0, "waiting": 1000})) as made:
        yield made


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    where = job_place(tmp_path_factory.mktemp("keyed"), keys=KEYS, jobs={"running": 0, "waiting": 3, "followers": 0})
    with running(where) as made:
        yield made


def test_what_is_quick_is_answered_at_once(server):
    made = ask(server.url, "/contracts/generate_dimensions", {"task": "toy"})
    assert made.status == 200 and made.json["job"] is None and not made.json["result"]["written"]
    assert [one["label"] for one in made.json["result"]["contract"]["dimensions"]][:3] == ["form", "values", "grounding"]
    assert not (server.place.settings.tasks / "toy" / "contract.yaml").exists()
    wrong = {"llm_input": "hello", "llm_output": '{"topic": "pizza"}'}
    scored = ask(server.url, "/contracts/score", {"task": "toy", "outputs": [ROW, wrong]})
    assert scored.status == 200 and [row["total"] == 1.0 for row in scored.json["rows"]] == [True, False]
    assert scored.json["result"]["rows"] == 2 and scored.json["result"]["scores"][0]["n"] == 2


def test_a_contract_that_is_sent_is_scored_in_a_process_of_its_own_and_calls_no_function_here(server):
    node = {"label": "long", "kind": "length", "field": "topic", "minimum": 3}
    contract = {"version": 1, "dimensions": [{"label": "form", "sub_dimensions": [node]}]}
    asked = {"contract": contract, "outputs": [ROW]}
    assert ask(server.url, "/contracts/score", asked).status == 202
    node |= {"kind": "python", "scorer": "os:system"}
    del node["minimum"], node["field"]
    refused = ask(server.url, "/contracts/score", asked)
    assert refused.status == 400 and "calls a function" in refused.json["error"]["what"]


@pytest.mark.parametrize(
    ("path", "body", "status", "where"),
    [
        ("/jobs", {"kind": "tune", "request": {"task": "toy"}}, 400, "variant"),
        ("/jobs", {"kind": "tun", "request": {}}, 400, "kind"),
        ("/jobs", {"kind": "tune_prompt", "request": {}}, 400, "task"),
        ("/tune/prompt", {"task": "toy", "strategy": "luck"}, 400, "strategy"),
        ("/tune/prompt", {"task": "toy", "calls": 0}, 400, "calls"),
        ("/tune/prompt", {"task": "toy", "target": "nobody/some"}, 400, "model 'nobody/some'"),
        ("/tune/prompt", {"task": "toy", "until": "luck>=1"}, 400, "until"),
        ("/tune", {"task": "toy", "variant": "encoder-lora", "trails": 3}, 400, "trails"),
        ("/tune", {"task": "toy", "variant": "encoder-lara"}, 400, "variant"),
        ("/tune", {"task": "tay", "variant": "encoder-lora"}, 404, "task"),
        ("/tune", {"task": "../toy", "variant": "encoder-lora"}, 400, "task"),
        ("/inference/run", {"task": "toy", "inputs": ["a"]}, 400, "task toy"),
        ("/data/input/cluster", {}, 400, None),
        ("/data/input/cluster", {"inputs": [{"identifier": "a", "input_text": "a"}] * 2}, 400, None),
        ("/contracts/score", {"task": "toy", "outputs": []}, 400, "outputs"),
        ("/contracts/score", {"task": "toy", "contract": {}, "outputs": [ROW]}, 400, None),
        ("/contracts/score", {"contract": {"dimensions": 3}, "outputs": [ROW]}, 400, "contract: dimensions"),
        ("/contracts/calibrate", {"contract": {}, "marks": [{"input_text": "a", "score": 0.5}], "write": True}, 400, None),
        ("/data/generate_from_seeds", {"task": "toy", "exploration_mode": "WILD"}, 400, "exploration_mode"),
    ],
)
def test_what_is_at_fault_is_told_and_starts_nothing(server, path, body, status, where):
    before = len(ask(server.url, "/jobs?limit=1000").json["jobs"])
    answer = ask(server.url, path, body)
    assert answer.status == status, answer.body
    error = answer.json["error"]
    assert error["where"] == where and error["what"] and str(server.place.root) not in answer.body.decode()
    assert len(ask(server.url, "/jobs?limit=1000").json["jobs"]) == before


def test_one_key_is_one_job(server):
    asked = {"task": "toy", "variant": "encoder-lora", "trials": 3}
    first = ask(server.url, "/tune", asked, Idempotency_Key="k1")
    again = ask(server.url, "/tune", asked | {"idempotency_key": "k1"})
    whole = ask(server.url, "/jobs", {"kind": "tune", "request": asked, "idempotency_key": "k1"})
    assert [one.status for one in (first, again, whole)] == [202, 200, 200] and not again.json["created"]
    assert first.json["job"]["id"] == again.json["job"]["id"] == whole.json["job"]["id"]
    assert ask(server.url, "/tune", asked | {"trials": 4}, Idempotency_Key="k1").status == 409
    assert ask(server.url, "/tune", asked, Idempotency_Key="k2").json["job"]["id"] != first.json["job"]["id"]
    assert ask(server.url, "/tune", asked, Idempotency_Key="x" * 129).status == 400


def test_jobs_are_listed_by_page_kind_and_state(server):
    made = [started(server.url, "generate_seeds", {"task": "toy", "num_inputs": n})["id"] for n in range(1, 8)]
    assert ask(server.url, f"/jobs/{made[2]}/cancel", {}).json["state"] == "cancelled", "nobody works on it"
    seen, before = [], ""
    while before is not None:
        page = ask(server.url, f"/jobs?kind=generate_seeds&limit=3{before and f'&before={before}'}").json
        seen += page["jobs"]
        before = page["next"]
    assert [one["id"] for one in seen] == made[::-1] and seen[0]["request"] == {"num_inputs": 7}
    waiting = ask(server.url, "/jobs?kind=generate_seeds&state=queued&state=running").json["jobs"]
    assert [one["id"] for one in waiting] == [id for id in made[::-1] if id != made[2]]
    for query in ("kind=none", "state=odd", "limit=-1", "limit=1001", "page=2", "limit=%D9%A3"):
        assert ask(server.url, f"/jobs?{query}").status == 400, query


def test_a_caller_sees_its_own_jobs_and_no_other(keyed):
    asked = {"task": "toy", "variant": "encoder-lora"}
    mine = [ask(keyed.url, "/tune", asked, Idempotency_Key="same", **who).json["job"] for who in (APP, APPLE)]
    assert mine[0]["id"] != mine[1]["id"] and [one["caller"] for one in mine] == ["app", "apple"]
    assert [one["id"] for one in ask(keyed.url, "/jobs", **APP).json["jobs"]] == [mine[0]["id"]]
    nowhere = ask(keyed.url, "/jobs/nothing", **APP).body
    for path, body in (("", None), ("/cancel", {}), ("/messages", None), ("/data", None)):
        answer = ask(keyed.url, f"/jobs/{mine[1]['id']}{path}", body, **APP)
        assert answer.status == 404 and answer.body == nowhere
    assert ask(keyed.url, "/jobs").status == 401
    assert ask(keyed.url, f"/jobs/{mine[1]['id']}", **APPLE).json["state"] == "queued"


def test_a_caller_may_have_so_many_waiting(keyed):
    asked = {"task": "toy", "variant": "encoder-lora"}
    answers = [ask(keyed.url, "/tune", asked, Idempotency_Key=f"n{n}", **APP) for n in range(4)]
    assert answers[-1].status == 429 and answers[-1].headers["retry-after"] == "5"
    assert ask(keyed.url, "/tune", asked, Idempotency_Key="n0", **APP).status == 200, "what is there may be asked again"
    assert ask(keyed.url, "/tune", asked, **APPLE).status == 202, "others have theirs"
    assert ask(keyed.url, f"/jobs/{answers[0].json['job']['id']}/cancel", {}, **APP).status == 200
    assert ask(keyed.url, "/tune", asked, **APP).status == 202
    assert ask(keyed.url, f"/jobs/{answers[1].json['job']['id']}/messages", **APP).status == 503, "no stream is allowed here"


def test_events_are_followed_from_any_number_on_across_gateways(tmp_path):
    where = job_place(tmp_path)
    store = store_of(where)
    with running(where) as made:
        id = started(made.url, "generate_seeds", {"task": "toy"})["id"]
        first = sent(ask(made.url, f"/jobs/{id}/messages?follow=false").body)
        assert [(n, kind, one["data"]) for n, kind, one in first] == [(1, "asked", {"task": "toy"})]
        assert ask(made.url, f"/jobs/{id}/messages?follow=false&after=1").status == 204
        for n in range(6):
            store.write(JobEvent(job=id, kind="data" if n % 2 else "message", data={"n": n}))
        said = sent(ask(made.url, f"/jobs/{id}/messages?follow=false&after=1").body)
        assert [(n, kind, one["data"]) for n, kind, one in said] == [(n + 2, "message", {"n": n}) for n in (0, 2, 4)]
        assert [n for n, _, _ in sent(ask(made.url, f"/jobs/{id}/messages?follow=false&after=2").body)] == [4, 6]
    with running(where) as made:
        again = ask(made.url, f"/jobs/{id}/data?follow=false", Last_Event_ID="3")
        assert [(n, one["row"]) for n, _, one in sent(again.body)] == [(5, {"n": 3}), (7, {"n": 5})]
        assert again.headers["content-type"].startswith("text/event-stream") and again.headers["cache-control"] == "no-cache"
        with lock_of(where.settings.home, id):
            end(store, where.settings.home, id, "done", {"seconds": 1.0})
        last = sent(ask(made.url, f"/jobs/{id}/messages?after=6").body)
        assert [(n, one["state"]) for n, _, one in last] == [(8, "done")], "it ends by itself"
        assert sent(ask(made.url, f"/jobs/{id}/data?after=5").body)[-1] == (None, "end", {"state": "done"})
        assert ask(made.url, f"/jobs/{id}/messages?after=8").status == 204, "an EventSource stays away then"
        assert ask(made.url, f"/jobs/{id}/messages?after=-1").status == 400
        assert ask(made.url, f"/jobs/{id}/messages?form=x").status == 400


def test_a_job_that_has_ended_stays_so(server):
    store, home = store_of(server.place), server.place.settings.home
    id = started(server.url, "generate_seeds", {"task": "toy"})["id"]
    with lock_of(home, id):
        end(store, home, id, "done", {"seconds": 1.0})
        end(store, home, id, "failed", {"seconds": 2.0})
    assert ask(server.url, f"/jobs/{id}/cancel", {}).json["state"] == "done"
    assert [one["state"] for one in job_events_after(store, id)] == [None, "done"]


def test_a_job_whose_process_was_lost_has_failed_in_both_places(tmp_path, monkeypatch):
    from dagster import DagsterRunStatus, op
    from dagster import job as dagster_job

    from pp_assets.names import TAG_JOB
    from pp_resources.instance import open_instance

    where = job_place(tmp_path)
    store, settings = store_of(where), where.settings
    for name, value in (("PP_HOME", settings.home), ("PP_TASKS", settings.tasks)):
        monkeypatch.setenv(name, str(value))

    @op
    def nothing() -> None: ...

    @dagster_job
    def lost() -> None:
        nothing()

    with running(where) as made:
        ids = [started(made.url, "generate_seeds", {"task": "toy"})["id"] for _ in range(2)]
        elsewhere = started(made.url, "generate_seeds", {"task": "toy"})["id"]
        store.write(JobEvent(job=elsewhere, kind="state", data={"place": "another"}, state="running"))
        instance = open_instance(settings)
        for id in ids:
            store.write(JobEvent(job=id, kind="state", data={"place": place_of(settings.home)}, state="running"))
            instance.create_run_for_job(lost, run_id=id, status=DagsterRunStatus.STARTED, tags={TAG_JOB: id})
        assert ask(made.url, f"/jobs/{ids[1]}/cancel", {}).json["state"] == "cancelling", "its run is to end, too"
        for id in ids:
            assert work(id) == 0
        found = [wait_for(made.url, id, "failed", "cancelled") for id in ids]
        assert [one["state"] for one in found] == ["failed", "cancelled"] and "its process ended" in found[0]["error"]["what"]
        runs = [instance.get_run_by_id(id).status for id in ids]
        assert runs == [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
        assert job(store, ids[0])["state"] == "failed" and work(ids[0]) == 0
        assert work(elsewhere) == 0 and job(store, elsewhere)["state"] == "running", "its lock is not seen from here"
        instance.dispose()
