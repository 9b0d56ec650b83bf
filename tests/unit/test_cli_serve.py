"""`pp serve` as a person starts it: processes, signals, a kill in the middle of work."""

import json
import os
import signal
import threading
import time

import pytest
from command_line import started_server
from gateway_place import TEXT, ask, place
from upstream_stub import stub

from pp_gateway.cli import main
from pp_resources.settings import PROJECT_ROOT
from pp_resources.store.journal import journals_of
from pp_resources.store.opened import open_store
from pp_resources.store.recorder import Recorder


def start(where, *options):
    """A gateway in a process of its own, and its address."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")])}
    env |= {"PP_HOME": str(where.settings.home), "PP_TASKS": str(where.settings.tasks)}
    return started_server("serve", "--port", "0", *options, env=env, start_new_session=True)


def remote_place(root, url):
    return place(root, {"variants": {"big": {"kind": "remote", "url": url, "model": "m"}}}, {"reload_seconds": 0.0})


def send(url, answered, ended):
    """Requests until the server is gone; the ids of those that were answered."""
    while not ended.is_set():
        try:
            answer = ask(url, "/inference", {"function_name": "toy", "input": TEXT})
        except OSError:
            return
        if answer.status == 200:
            answered.append(answer.json["inference_id"])


def test_no_answered_request_is_lost_when_the_server_is_killed(tmp_path):
    with stub() as upstream:
        where, answered, ended = remote_place(tmp_path, upstream.url), [], threading.Event()
        for _ in range(2):
            process, url = start(where)
            threads = [threading.Thread(target=send, args=(url, answered, ended)) for _ in range(4)]
            for thread in threads:
                thread.start()
            before = len(answered)
            while len(answered) < before + 40:
                time.sleep(0.005)
            process.kill()
            for thread in threads:
                thread.join()
            process.wait()
        # What the last one left in its journal is the next one's to bring in.
        home = where.settings.home
        recorder, ends = Recorder(open_store(home), journals_of(home)), time.monotonic() + 60
        while list(journals_of(home).glob("*.journal")) and time.monotonic() < ends:
            time.sleep(0.05)
        kept = {row["id"] for row in where.rows()}
        recorder.close()
        assert len(answered) >= 80 and set(answered) <= kept


@pytest.mark.slow
def test_several_workers_share_a_socket_and_one_that_dies_is_started_again(tmp_path):
    with stub() as upstream:
        where = remote_place(tmp_path, upstream.url)
        process, url = start(where, "--workers", "2")
        workers = set()
        while len(workers) < 2:
            workers.add(ask(url, "/health").json["worker"])
        assert ask(url, "/inference", {"function_name": "toy", "input": TEXT}).status == 200
        os.kill(min(workers), signal.SIGKILL)
        ends = time.monotonic() + 60
        while len(workers) < 3 and time.monotonic() < ends:
            workers.add(ask(url, "/health").json["worker"])
            time.sleep(0.05)
        assert len(workers) == 3
        assert 'pp_requests_total{path="/inference",status="200"} 1.0' in ask(url, "/metrics").body.decode()
        where.write({"variants": {"other": {"kind": "remote", "url": upstream.url, "model": "m"}}})
        process.send_signal(signal.SIGHUP)
        while ask(url, "/health").json["functions"]["toy"]["variants"] != ["other"]:
            time.sleep(0.05)
        process.terminate()
        assert process.wait(40) == 0


def test_ctrl_c_ends_it_and_hangup_reads_the_files_again(tmp_path):
    with stub() as upstream:
        where = remote_place(tmp_path, upstream.url)
        process, url = start(where)
        where.write({"variants": {"other": {"kind": "remote", "url": upstream.url, "model": "m"}}})
        process.send_signal(signal.SIGHUP)
        ends = time.monotonic() + 20
        while ask(url, "/health").json["functions"]["toy"]["variants"] != ["other"] and time.monotonic() < ends:
            time.sleep(0.02)
        assert ask(url, "/inference", {"function_name": "toy", "input": TEXT}).json["variant_name"] == "other"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_what_cannot_be_served_is_told_in_one_line(tmp_path, capsys, monkeypatch):
    where = place(tmp_path, {"variants": {"a": {"kind": "remote", "url": "http://127.0.0.1:1/v1", "model": "m", "key_env": "NO_SUCH_KEY"}}})
    monkeypatch.setenv("PP_HOME", str(where.settings.home))
    monkeypatch.setenv("PP_TASKS", str(where.settings.tasks))
    assert main(["serve", "--port", "0"]) == 2
    assert "serving.variants.a: a: key_env NO_SUCH_KEY: is not set" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "needs keys" in capsys.readouterr().err
    assert main(["serve", "--new-key", "App"]) == 2
    capsys.readouterr()
    assert main(["serve", "--new-key", "app", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["key"].startswith("pp-") and len(made["sha256"]) == 64
