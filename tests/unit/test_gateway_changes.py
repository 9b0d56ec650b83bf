"""What changes while requests come: configuration, packages, weights, shadows, the store."""

import json
import sqlite3
import threading
import time
from contextlib import contextmanager

import pytest
from gateway_place import TEXT, ask, place, running
from upstream_stub import stub

from pp_assets.routing.policy import Routing
from pp_resources.artifacts import ArtifactStore
from pp_resources.store.ids import uuid7
from pp_resources.store.opened import open_store
from pp_resources.store.work import Decision

ENCODER = {"kind": "package", "recipe": "encoder-lora"}
TWO = {
    "variants": {"one": ENCODER, "two": ENCODER, "dark": ENCODER},
    "routing": {"metric": "right", "champion": "one", "weights": {"one": 1.0, "two": 1.0}, "shadow": {"dark": 1.0}},
}
STILL = {"reload_seconds": 0.0, "weights_seconds": 0.1}


@pytest.fixture
def server(tmp_path):
    with running(place(tmp_path, TWO, STILL)) as made:
        yield made


def until(holds, seconds=20.0):
    """Wait until something holds; what it was at last."""
    ends = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < ends:
        time.sleep(0.02)
    return found


@contextmanager
def load(server, **more):
    """Requests without a pause, until the block ends; yields the list of answers."""
    answers, ended = [], threading.Event()

    def work():
        while not ended.is_set():
            answers.append(server.infer(**more))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_an_episode_keeps_its_variant_and_copies_go_to_the_shadow(server):
    episodes = [f"e-{i}" for i in range(8)]
    first = [server.infer(episode_id=e).json["variant_name"] for e in episodes]
    assert first == [server.infer(episode_id=e).json["variant_name"] for e in episodes] and set(first) == {"one", "two"}
    copies = until(lambda: [row for row in server.place.rows() if row["shadow"]][15:] and [r for r in server.place.rows() if r["shadow"]])
    answered = {row["id"]: row for row in server.place.rows() if not row["shadow"]}
    assert len(copies) == 16 and {row["variant"] for row in copies} == {"dark"}
    for row in copies:
        of = answered[json.loads(row["tags"])["shadow_of"]]
        assert (row["episode"], row["input"], row["output"]) == (of["episode"], of["input"], of["output"])


def test_weights_follow_the_decision_in_the_store(server):
    routing = Routing.model_validate(TWO["routing"])
    store = open_store(server.place.settings.home)

    def decide(weights, experiment):
        data = {"weights": weights, "shadow": {}, "basis": "evidence", "state": {"experiment": experiment}}
        return store.write(Decision(task="toy", kind="weights", data=data)).id

    decide({"one": 0.0, "two": 1.0}, "another experiment")
    time.sleep(0.3)
    assert {server.infer().json["variant_name"] for _ in range(12)} == {"one", "two"}
    told = decide({"one": 0.0, "two": 1.0}, routing.experiment)
    assert until(lambda: "toy" in server.gateway.builder.decisions.latest)
    assert until(lambda: server.gateway.now.functions["toy"].shares.told.get("id") == told)
    assert {server.infer(episode_id=uuid7()).json["variant_name"] for _ in range(12)} == {"two"}
    assert json.loads(server.place.rows()[-1]["decision"])["id"] == told


def test_a_new_configuration_takes_over_and_no_request_is_dropped(server):
    before = server.gateway.now
    with load(server) as answers:
        for names in (["three"], ["three", "four"], ["four"]):
            server.place.write({"variants": dict.fromkeys(names, ENCODER)})
            assert ask(server.url, "/reload", {}).status == 200
            enough = len(answers) + 5
            assert until(lambda: len(answers) >= enough)  # noqa: B023
    assert len(answers) > 10 and {answer.status for answer in answers} == {200}
    assert {answer.json["variant_name"] for answer in answers} >= {"three", "four"}
    assert until(lambda: not server.gateway.retired) and not before.used
    assert server.infer().json["variant_name"] == "four"


def test_a_broken_configuration_is_refused_and_the_old_one_goes_on(server):
    server.place.write({"variants": {"one": {"kind": "package", "recipe": "lora-r64-rs"}}})
    answer = ask(server.url, "/reload", {})
    assert answer.status == 409 and "no packages for 'toy/lora-r64-rs' yet" in answer.json["error"]
    assert server.infer().status == 200 and ask(server.url, "/health").json["reload"]["ok"] is False
    (server.place.settings.home / "gateway.yaml").write_text("keys: {a: {sha: x}}")
    assert "unknown key 'sha'" in ask(server.url, "/reload", {}).json["error"]


def test_files_that_change_are_seen_and_a_new_package_is_loaded(tmp_path):
    where = place(tmp_path, gateway={"reload_seconds": 0.05})
    with running(where) as made:
        old = made.infer().json
        store, key = ArtifactStore(where.settings.home), "toy/encoder-lora"
        current = store.current("packages", key)

        def build(out):
            import shutil

            shutil.copytree(current.path, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
            return current.metadata

        fresh = store.produce("packages", key, {"another": "one"}, build)
        with load(made) as answers:
            assert until(lambda: f"package {fresh.path}" in made.gateway.now.model_keys)
            loaded = made.gateway.builder.local._loaded
            assert until(lambda: list(loaded) == [f"package {fresh.path}"]), (loaded.keys(), made.gateway.retired, made.gateway.last_reload)
        assert {answer.status for answer in answers} == {200} and made.infer().json["output"] == old["output"]
        (encoder,) = made.gateway.builder.local._bases._loaded.values()
        assert len(encoder._peft.peft_config) == 1, "the old adapter is gone, the base has stayed"


def test_a_store_that_is_locked_costs_no_answer_and_loses_no_row(tmp_path):
    with stub() as upstream:
        serving = {"variants": {"big": {"kind": "remote", "url": upstream.url, "model": "m"}}}
        with running(place(tmp_path, serving, STILL)) as made:
            assert made.infer().status == 200
            blocked = sqlite3.connect(made.place.settings.home / "store" / "store.db", isolation_level=None)
            blocked.execute("BEGIN IMMEDIATE")
            with load(made) as answers:
                assert until(lambda: ask(made.url, "/health").json["rows"].get("journaled", 0) > 5)
            feedback = {"metric_name": "right", "value": True, "inference_id": answers[0].json["inference_id"]}
            assert ask(made.url, "/feedback", feedback).json["journaled"] is True
            assert ask(made.url, "/health").json["log"]["store"] is False and {answer.status for answer in answers} == {200}
            blocked.rollback()
            blocked.close()
            wanted = {answer.json["inference_id"] for answer in answers}
            assert until(lambda: wanted <= {row["id"] for row in made.place.rows()})
            assert until(lambda: ask(made.url, "/health").json["log"]["store"])


def test_without_a_place_for_rows_nothing_is_claimed(tmp_path):
    where = place(tmp_path, gateway=STILL)
    (where.settings.home / "store").write_text("not a folder")
    with running(where) as made:
        answer = made.infer()
        assert answer.status == 503 and answer.json["error"]["code"] == "not_recorded" and "retry-after" in answer.headers
        (where.settings.home / "gateway.yaml").write_text("logging: async\nreload_seconds: 0.0\n")
        assert ask(made.url, "/reload", {}).status == 200
        assert made.infer(TEXT).status == 200, "with async logging an answer does not wait for its row"
