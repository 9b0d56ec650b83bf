"""Experiments whose calls are made on a server: a real one, in a process of its own. Cells, counts and tables are those of a local run."""

import importlib.util
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import served_steps as steps
from command_line import started_server

from pp_assets.experiment import CellStore, Experiment, half_width, op
from pp_assets.experiment import remote as remotes
from pp_resources import json_server
from pp_resources.errors import UserError
from pp_resources.json_server import JsonServer
from pp_resources.settings import PROJECT_ROOT

ROWS = [{"id": f"r{i}", "text": f"text {i}", "wanted": f"text {i} by a, answer 1"} for i in range(5)]


def serve(calls: Path, *options: str, **environment: str) -> "tuple[subprocess.Popen[str], str]":
    """A server, the way a person starts it, in the folder of the steps."""
    env = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "CALLS": str(calls), **environment}
    return started_server("experiment", "serve", "--allow", "served_steps", *options, env=env, cwd=Path(__file__).parent)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests: its address, and the file that counts its calls."""
    calls = tmp_path_factory.mktemp("served") / "calls"
    process, url = serve(calls, "--port", "0", "--seconds", "1", "--megabytes", "1")
    yield url, calls
    process.terminate()
    process.wait(20)


@pytest.fixture
def url(server, monkeypatch, tmp_path):
    server[1].write_text("")
    monkeypatch.setenv("CALLS", str(tmp_path / "local"))
    (tmp_path / "local").write_text("")
    return server[0]


@pytest.fixture
def counted(server, tmp_path):
    """Calls by step, of the server and of this process."""

    def count(where="server"):
        lines = (server[1] if where == "server" else tmp_path / "local").read_text().splitlines()
        return pd.Series(lines, dtype=object).value_counts().to_dict()

    return count


def made(folder, rows=ROWS, models=steps.MODELS):
    exp = Experiment(rows, store=folder / "cells.db").vary(model=list(models)).step("answer", steps.answer)
    return exp.score(steps.right, steps.length).trials(2)


def test_the_counts_are_those_of_a_local_run(url, counted, tmp_path):
    exp = made(tmp_path)
    results = exp.run(where=url)
    assert results.computed == {"answer": 30, "right": 30, "length": 30} == counted()
    assert results.spent_usd == pytest.approx(30 * (100 * 1 + 10 * 10) / 1e6) and results.df["seconds"].min() > 0
    assert exp.run(where=url).computed == exp.run().computed == {"answer": 0, "right": 0, "length": 0}
    assert exp.trials(5).run(where=url).computed == {"answer": 45, "right": 45, "length": 45}
    more = made(tmp_path, [*ROWS[::-1], *ROWS, {"id": "new", "text": "another", "wanted": ""}]).trials(5)
    assert more.run(where=url).computed == {"answer": 15, "right": 15, "length": 15}
    assert counted() == {"answer": 90, "right": 90, "length": 90} and counted("here") == {}
    assert made(tmp_path, models=steps.MODELS[:1]).trials(6).run().computed["answer"] == 5, "the rest, here"
    assert counted("here") == {"answer": 5}, "which gave what had been scored there"


def test_the_table_is_that_of_a_local_run(url, tmp_path):
    def exp(name):
        exp = Experiment(ROWS, store=tmp_path / name).vary(style=["plain", "loud"], temperature=[0.0, 0.7]).step("answer", steps.say)
        return exp.step("many", steps.many, inputs={"texts": "text", "model": "style"}).trials(2)

    tables = [exp("here.db").run().df, exp("there.db").run(where=url).df]
    here, there = (table.drop(columns="seconds") for table in tables)
    pd.testing.assert_frame_equal(here, there)
    assert here["status"].value_counts().to_dict() == {"done": 21, "refused": 6, "failed": 3}
    assert set(here["error"].dropna()) == {"ConnectionError: no answer", "Refused: I would rather not"}
    assert [[type(v) for v in row["list"]] for row in there["answer"].dropna()] == [[float, str, int]] * 21


def test_batches_go_as_batches_and_failures_are_asked_again_there(url, counted, tmp_path):
    exp = Experiment(ROWS, store=tmp_path / "c.db").vary(model=["a", "b"]).step("answer", steps.many, inputs={"texts": "text"})
    assert exp.run(where=url).computed == {"answer": 10} and counted() == {"many 2": 4, "many 1": 2}
    asked = Experiment(ROWS, store=tmp_path / "c.db").vary(style=["plain"], temperature=[0.0]).step("say", steps.say)
    assert asked.run(where=url).computed == {"say": 5} and counted()["say"] == 6, "an op is retried where it runs"
    assert asked.run(where=url).computed == {"say": 1}


VALUES = [1, "1", 1.0, True, None, 2**70, -0.0, float("inf"), (1, 2), [1, 2], {"$": 1}, {1: "a"}, b"\x00\xff", {3, 4}, frozenset("a")]
VALUES += [
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, tzinfo=UTC),
    Path("a/b"),
    np.float32(0.1),
    np.bool_(True),
]
VALUES += [np.arange(6, dtype=np.int16).reshape(2, 3), {"a": [{"b": (None, 1.5)}]}, "ü\n\u2028", [], {}]


def test_every_value_arrives_as_what_it_is(url, tmp_path):
    def kinds(name, **where):
        rows = [{"id": i, "value": value} for i, value in enumerate(VALUES)]
        return Experiment(rows, store=tmp_path / name).step("kind", steps.kind).run(**where).df["kind"].tolist()

    found = kinds("there.db", where=url)
    assert found == kinds("here.db") and found[:5] == ["int 1", "str '1'", "float 1.0", "bool True", "NoneType None"]


def test_functions_and_partials_go_by_name(url, tmp_path):
    exp = Experiment(ROWS, store=tmp_path / "c.db").vary(function=[steps.shout]).step("used", steps.use)
    results = exp.step("bound", op(partial(steps.end, end=("?", 2)), sampled=False)).run(where=url)
    assert results.df["used"].tolist() == [f"text {i}!" for i in range(5)] and results.df["bound"].tolist() == [
        f"text {i}??" for i in range(5)
    ]
    with pytest.raises(UserError, match="an argument is bound by its place"):
        Experiment(ROWS, store=tmp_path / "c.db").step("bound", partial(steps.end, "text"), inputs={"end": "wanted"}).run(where=url)


def test_a_part_of_the_steps_can_be_called_here(url, counted, tmp_path):
    def local(answer):
        return answer.isupper()

    exp = Experiment(ROWS, store=tmp_path / "c.db").step("answer", steps.slowly).score(local)
    with pytest.raises(UserError, match=r"local is defined inside of something else.*where="):
        exp.run(where=url)
    assert counted() == {}, "nothing was paid for"
    assert exp.run(where={"answer": url}).df["local"].all() and counted() == {"slowly": 5}
    with pytest.raises(UserError, match="no step 'anwser'; did you mean 'answer'"):
        exp.run(where={"anwser": url})


def other_code(tmp_path, before, after):
    """The same module with an edit, as somebody else may have it."""
    source = Path(steps.__file__).read_text()
    assert before in source
    file = tmp_path / "served_steps.py"
    file.write_text(source.replace(before, after))
    spec = importlib.util.spec_from_file_location("served_steps", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_other_code_is_refused_and_told_before_anything_is_called(url, counted, tmp_path):
    edited = other_code(tmp_path, "return len(answer)", "return len(answer) + 1")
    exp = made(tmp_path).score(edited.length)
    with pytest.raises(UserError, match=r"the server has other code of served_steps:length; served_steps.length changed: bring both"):
        exp.run(where=url)
    assert counted() == {}
    other = op(steps.many.function, batch=("model", 2), sampled=False)
    batches = Experiment(ROWS, store=tmp_path / "b.db").vary(model=["a"]).step("answer", other, inputs={"texts": "text"})
    with pytest.raises(UserError, match="takes other batches; say it by @op where the function is defined"):
        batches.run(where=url)


def test_another_model_of_the_same_name_is_refused(url, counted, tmp_path):
    class Model(steps.Model):
        pass

    pretender, stranger = steps.Model("a"), steps.Model("x")
    pretender.identity = "another"
    for model, says in ((pretender, "the server's 'a' is another model under the same name"), (stranger, "the server has no model 'x'")):
        with pytest.raises(UserError, match=says):
            made(tmp_path, models=[model]).run(where=url)
    assert counted() == {}


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("os:system", "the module 'os' is not allowed on the server; allowed are served_steps; start it with --allow"),
        ("served_steps_more:f", "is not allowed"),
        ("served_steps:os.system", "has no function 'os.system'"),
        ("served_steps:SECRET", "has no function 'SECRET'"),
        ("served_steps:op", "has no function 'op'"),
        ("served_steps:Model.__init__", "has no function"),
        ("served_steps.inner:f", "cannot be imported"),
        ("pp_assets.experiment.systems:Pipeline", "has no function 'Pipeline'"),
    ],
)
def test_only_functions_of_allowed_modules_are_called(url, at, says):
    asked = {"at": at, "name": "x", "bound": {}, "digest": "", "many": None}
    body = json.dumps({"protocol": 1, "op": asked, "shared": {}, "calls": [{}]}).encode()
    with pytest.raises(UserError, match=says):
        JsonServer(url).post("/v1/calls", body)


def test_requests_that_are_none_are_refused_in_words(url):
    known = remotes.asked_op(steps.kind, "here")
    good = {"protocol": 1, "op": known, "shared": {}, "calls": [{"value": 1}]}
    wrong = {
        "is not JSON": b"{",
        "of another version": json.dumps(good | {"protocol": 2}).encode(),
        "'calls' is no list": json.dumps(good | {"calls": 3}).encode(),
        "argument 'value' is missing or unknown": json.dumps(good | {"calls": [{}]}).encode(),
        "argument 'more' is missing or unknown": json.dumps(good | {"calls": [{"value": 1, "more": 2}]}).encode(),
        "an unknown tag": json.dumps(good | {"calls": [{"value": {"$": "pickle", "is": ""}}]}).encode(),
        "an array of": json.dumps(good | {"calls": [{"value": {"$": "array", "is": ["|O", [1], "AAAAAAAAAAA="]}}]}).encode(),
        "more than 1 MiB": json.dumps(good | {"calls": [{"value": "x" * (1 << 20)}]}).encode(),
    }
    for says, body in wrong.items():
        with pytest.raises(UserError, match=says):
            JsonServer(url).post("/v1/calls", body)
    assert JsonServer(url).post("/v1/calls", json.dumps(good).encode())["answers"][0]["value"] == "int 1"


def test_a_page_in_a_browser_cannot_ask(url):
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json", "Host": "evil.example"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{url}/v1/check", b"{}", headers), timeout=5)
        assert refused.value.code in (403, 415)


def test_the_same_request_is_done_once_however_often_it_comes(url, counted):
    body = json.dumps({"protocol": 1, "id": "1", "op": remotes.asked_op(steps.slowly, ""), "shared": {}, "calls": [{"text": "a"}]}).encode()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(JsonServer(url).post("/v1/calls", body))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[0] == answers[1] == answers[2] == JsonServer(url).post("/v1/calls", body) and counted() == {"slowly": 1}


def test_large_scorings_go_in_parts(url, tmp_path):
    rows = [{"id": i, "text": f"{i} " + "x" * 200_000} for i in range(12)]
    exp = Experiment(rows, store=tmp_path / "c.db").score(length=op(steps.length), inputs={"answer": "text"})
    assert exp.run(where=url, workers=1).df["length"].tolist() == [float(len(row["text"])) for row in rows]


def test_a_call_that_takes_too_long_is_a_failed_cell(url, tmp_path):
    results = Experiment(ROWS, store=tmp_path / "c.db").step("answer", steps.hang).run(where=url)
    assert results.df["status"].tolist() == ["failed", *["done"] * 4]
    assert results.errors["error"].tolist() == ["TimeoutError: no answer within 1 s on the server"]


def test_a_long_call_is_waited_for_and_made_once(url, counted, tmp_path, monkeypatch):
    monkeypatch.setattr(json_server, "ROUND", 0.04)
    results = Experiment(ROWS, store=tmp_path / "c.db").step("answer", steps.slowly).run(where=url)
    assert results.df["answer"].tolist() == [f"TEXT {i}" for i in range(5)] and counted() == {"slowly": 5}


def test_what_a_step_says_is_wrong_with_the_experiment_ends_the_run(url, tmp_path):
    with pytest.raises(UserError, match="table: has no column 'text 0'; give one"):
        Experiment(ROWS[:1], store=tmp_path / "c.db").step("answer", steps.complain).run(where=url)


def test_two_clients_share_the_work(url, counted, tmp_path):
    tables = []

    def client():
        with CellStore(tmp_path / "c.db") as store:
            rows = [{"id": i, "text": f"text {i}"} for i in range(24)]
            tables.append(Experiment(rows, store=store).step("answer", steps.slowly).run(where=url, workers=2).df["answer"].tolist())

    threads = [threading.Thread(target=client) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tables == [[f"TEXT {i}" for i in range(24)]] * 2 and counted() == {"slowly": 24}


def test_budgets_and_rules_to_stop_hold(url, tmp_path):
    exp = made(tmp_path)
    results = exp.run(where=url, budget_usd=10 * 2e-4, workers=2)
    assert 0 < results.computed["answer"] <= 10 and results.spent_usd <= 10 * 2e-4 and results.left["answer"] > 0
    assert exp.run(where=url, budget_minutes=0).computed["answer"] == 0
    known = made(tmp_path).trials(1).run(where=url, until=half_width("right", 0.45), max_trials=6)
    assert known.precision("right")["half_width"].max() < 0.45 or known.left["right"] == 0


def test_a_server_that_is_not_there_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(remotes, "PATIENCE", 0.5)
    with pytest.raises(UserError, match=r"http://127.0.0.1:9: does not answer \(.*refused\); what is done is kept"):
        made(tmp_path).run(where="http://127.0.0.1:9")
    with pytest.raises(UserError, match="is no address of a server"):
        made(tmp_path).run(where="127.0.0.1:8080")


@pytest.mark.slow
def test_a_run_goes_on_when_its_server_was_killed_and_started_again(tmp_path, monkeypatch):
    rows = [{"id": i, "text": f"text {i}"} for i in range(60)]
    calls = tmp_path / "calls"
    calls.touch()
    first, url = serve(calls, "--port", "0", PP_EXPERIMENT_KEY="secret")
    exp = Experiment(rows, store=tmp_path / "c.db").step("answer", steps.slowly)
    with pytest.raises(UserError, match="the key is missing or wrong"):
        exp.run(where=url)
    monkeypatch.setenv("PP_EXPERIMENT_KEY", "secret")
    monkeypatch.setattr(remotes, "PATIENCE", 1.0)
    failed = []

    def run():
        try:
            exp.run(where=url, workers=4)
        except UserError as error:
            failed.append(str(error))

    running = threading.Thread(target=run)
    running.start()
    while len(calls.read_text().splitlines()) < 15:
        time.sleep(0.01)
    first.kill()
    running.join()
    assert "does not answer" in failed[0] and 0 < exp.plan().counts["answer"] < 60
    monkeypatch.setattr(remotes, "PATIENCE", 60.0)
    running = threading.Thread(target=run)
    running.start()  # before the server is there: it is waited for
    second, again = serve(calls, "--port", url.rpartition(":")[2], PP_EXPERIMENT_KEY="secret")
    running.join()
    second.terminate()
    assert again == url and len(failed) == 1
    assert exp.run().df["answer"].tolist() == [row["text"].upper() for row in rows] and exp.run().computed == {"answer": 0}
    # What the server had in hand when it was killed is asked again, and nothing else.
    assert 60 <= len(calls.read_text().splitlines()) <= 60 + 4


def test_an_address_that_others_can_reach_needs_a_key(capsys):
    from pp_gateway.cli import main

    assert main(["experiment", "serve", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "needs a key" in capsys.readouterr().err
    assert main(["experiment", "serve", "--allow", "no_such_module"]) == 2
    assert "no_such_module: cannot be imported" in capsys.readouterr().err
