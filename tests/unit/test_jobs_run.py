"""Jobs that really run: through a kill of the gateway, a cancel, a kill of their own process."""

import json
import os
import shutil
import signal
import urllib.request

import psutil
import pytest
from gateway_place import ask
from job_place import ROW, job_place, sent, started, store_of, wait_for
from test_cli_serve import start

from pp_resources.instance import open_instance
from pp_resources.store.read_work import job_events_after

pytestmark = pytest.mark.slow
SCORER = """
import time

def score(response_text, input_text, kwargs):
    time.sleep(kwargs["seconds"])
    return 1.0
"""
SLOW, ENDLESS = 0.2, 1.0  # seconds a row


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """An installation whose task has a function that takes its time."""
    root = tmp_path_factory.mktemp("run")
    made = job_place(root, jobs={"running": 1})
    tasks = made.settings.tasks
    shutil.copytree(tasks / "toy", tasks / "endless")
    spec = json.loads((tasks / "endless" / "task.json").read_text())
    (tasks / "endless" / "task.json").write_text(json.dumps(spec | {"name": "endless"}))
    for name, seconds in (("toy", SLOW), ("endless", ENDLESS)):
        node = {"label": "slow", "kind": "python", "scorer": "slow_scorer:score", "kwargs": {"seconds": seconds}}
        contract = {"version": 1, "dimensions": [{"label": "form", "sub_dimensions": [node]}]}
        (tasks / name / "contract.yaml").write_text(json.dumps(contract))
    (root / "slow_scorer.py").write_text(SCORER)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    return made


@pytest.fixture
def serving(where):
    """Starts gateways; none is left."""
    made = []

    def begin():
        process, url = start(where)
        made.append(process)
        return process, url

    yield begin
    for process in made:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def process_of(id):
    """The process of a job."""
    return next((p for p in psutil.process_iter(["cmdline"]) if id in (p.info["cmdline"] or ())), None)


def lines_until(url, id, wanted, after=0):
    """Events from an open stream up to the first of a kind; the connection is left open until then."""
    found = []
    request = urllib.request.Request(f"{url}/jobs/{id}/messages?after={after}")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=240) as stream:
        part = b""
        for line in stream:
            part += line
            if line == b"\n":
                found += sent(part)
                part = b""
                if found and found[-1][1] == wanted:
                    break
    return found


def run_status(where, id):
    instance = open_instance(where.settings)
    try:
        return instance.get_run_by_id(id).status.value
    finally:
        instance.dispose()


def test_a_job_and_its_followers_outlive_the_gateway(where, serving):
    gateway, url = serving()
    id = started(url, "score", {"task": "toy", "outputs": [ROW] * 40})["id"]
    queued = started(url, "generate_seeds", {"task": "toy", "num_inputs": 3})["id"]
    first = lines_until(url, id, "progress")
    worker = process_of(id)
    gateway.kill()
    gateway.communicate()
    assert worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE, "it goes on"

    _, url = serving()
    last = first[-1][0]
    rest = lines_until(url, id, "result", after=last) + sent(ask(url, f"/jobs/{id}/messages").body)[-1:]
    done = wait_for(url, id, "done")
    numbers = [n for n, _, _ in first + rest]
    kept = [one["n"] for one in job_events_after(store_of(where), id) if one["kind"] != "data"]
    assert numbers == kept, "nothing twice, nothing missing"
    rows = sent(ask(url, f"/jobs/{id}/data").body)
    assert len(rows) == 41 and rows[-1][1] == "end" and done["result"]["rows"] == 40 and done["error"] is None
    progress = [one["data"] for _, kind, one in first + rest if kind == "progress"]
    shares = [one["share"] for one in progress if one["parts"] and one["parts"][0]["title"] == "outputs"]
    assert shares == sorted(shares) and len(set(shares)) > 3
    assert all(one["eta_s"] is not None for one in progress if one["share"]), "what has a share has an end"
    assert run_status(where, id) == "SUCCESS"
    assert wait_for(url, queued, "done")["result"]["rows"] == 3, "what waited is started by the next gateway"


def test_a_running_job_is_cancelled_and_one_that_was_killed_has_failed(where, serving):
    _, url = serving()
    cancelled, killed = (started(url, "score", {"task": "endless", "outputs": [ROW] * 5000})["id"] for _ in range(2))
    lines_until(url, cancelled, "progress")
    assert ask(url, f"/jobs/{cancelled}/cancel", {}).json["state"] in ("cancelling", "cancelled")
    found = wait_for(url, cancelled, "cancelled")
    assert found["error"] is None and found["result"] is None and run_status(where, cancelled) == "CANCELED"

    lines_until(url, killed, "progress")
    process_of(killed).kill()
    found = wait_for(url, killed, "failed")
    assert "its process ended" in found["error"]["what"] and run_status(where, killed) == "FAILURE"
    assert sent(ask(url, f"/jobs/{killed}/messages").body)[-1][2]["state"] == "failed", "who follows hears the end"


def test_what_is_wrong_with_a_job_is_told_and_streams_end_with_the_gateway(where, serving):
    gateway, url = serving()
    id = started(url, "calibrate", {"task": "toy", "marks": [{"input_text": "secret words", "output": {}, "rating": 9}]})["id"]
    waiting = started(url, "score", {"task": "toy", "outputs": [ROW] * 200})["id"]
    found = wait_for(url, id, "failed")
    assert found["error"]["where"] == "marks.0" and "no mark" in found["error"]["what"] and "secret" not in json.dumps(found)
    lines_until(url, waiting, "progress")
    request = urllib.request.Request(f"{url}/jobs/{waiting}/messages")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as stream:
        stream.readline()
        gateway.send_signal(signal.SIGTERM)
        stream.read()  # it ends, and so does the gateway, before its patience does
    gateway.communicate(timeout=20)
    _, url = serving()
    assert ask(url, f"/jobs/{waiting}/cancel", {}).status == 200
    wait_for(url, waiting, "cancelled")
