"""From rows to decisions: each answer is accounted for once, what comes late changes nothing, and another model is another experiment."""

import threading
from pathlib import Path
from typing import Any

import pytest
from served_rows import BEGIN, LAG, Served

from pp_assets.routing import stage
from pp_assets.routing.policy import OBJECTIVE
from pp_assets.routing.state import State
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import MICRO
from pp_resources.store.read_work import decisions_on
from pp_resources.store.retention import retain

TWO: dict[str, Any] = {"metric": "right", "champion": "a", "weights": {"a": 1.0, "b": 1.0}, "horizon": 60.0, "cohort": 20}


def test_the_better_variant_wins_by_its_feedback_and_nothing_is_written_twice(tmp_path: Path) -> None:
    served = Served(tmp_path, **TWO)
    assert not served.move().changed and not served.store.exists, "nothing is asked of a store that is not there"
    shares = []
    for _ in range(30):
        served.serve(20, {"a": 0.5, "b": 0.95})
        shares.append(served.move().data["weights"]["b"])
        assert not served.move().changed
    assert shares[2:5] != [0.5] * 3 and shares[-1] == 1.0
    last = served.move().data
    assert last["winner"] == "b" and last["variants"]["b"]["status"] == "winner" and last["basis"] == "evidence"
    written = decisions_on(served.store, "toy", kind="weights")
    assert 5 < len(written) <= 30 and written[0]["data"] == last
    counted = sum(last["variants"][name]["objective"]["n"] for name in "ab")
    assert counted == 540, "all that are older than the horizon"


def test_feedback_is_waited_for_and_a_correction_after_the_horizon_changes_nothing(tmp_path: Path) -> None:
    served = Served(tmp_path, **TWO)
    rows = served.serve(40, {})
    first = [served.say(row, 1.0, after=59.0) for row in rows]
    assert not served.move(rows[0].at / 1e6 + 50).changed
    for i, (row, said) in enumerate(zip(rows, first)):
        served.say(row, 0.0, after=59.5 if i < 20 else 61.0, supersedes=said.id)
    found = served.move(rows[-1].at / 1e6 + 60 + LAG + 1)
    table = State.model_validate(found.data["state"]).tests[OBJECTIVE].totals
    assert [sum(column) for column in zip(*table)][:2] == [40, 20]
    for row in rows:
        served.say(row, 0.0, after=62.0)
    assert not served.move(rows[-1].at / 1e6 + 500).changed


def test_an_account_in_many_parts_is_that_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = TWO | {"guards": [{"metric": "invalid", "tolerance": 0.1}]}
    one = Served(tmp_path / "one", **policy)
    one.serve(300, {"a": 0.6, "b": 0.7}, {"a": 0.1, "b": 0.1})
    at = one.clock + 500
    whole = one.move(at, write=False)
    monkeypatch.setattr(stage, "MOST", 64)
    steps = 0
    while (step := one.move(at)).changed:
        steps += 1
    assert steps > 4 and not step.more
    for metric, test in whole.data["state"]["tests"].items():
        again = step.data["state"]["tests"][metric]
        assert again["totals"] == test["totals"] and again["cohorts"] > test["cohorts"]
    assert sum(row[0] for row in whole.data["state"]["tests"]["invalid"]["totals"]) == 300


def test_a_new_package_under_an_old_name_is_another_experiment_and_is_back_in_the_race(tmp_path: Path) -> None:
    policy = TWO | {"guards": [{"metric": "invalid", "tolerance": 0.02}]}
    served = Served(tmp_path, **policy)
    for _ in range(8):
        served.serve(20, {"a": 0.6, "b": 0.6}, {"b": 0.9})
        served.move()
    assert served.weights == {"a": 1.0, "b": 0.0}
    old = served.versions
    served.declare(policy, b="another")
    assert served.versions["a"] == old["a"] and served.versions["b"] != old["b"]
    found = served.move()
    assert found.seq and served.weights == {"a": 0.5, "b": 0.5} and not found.data["state"]["rolled_back"]
    fresh, served.versions = served.versions, old
    served.serve(20, {"a": 1.0, "b": 1.0}, {"b": 0.9})
    served.versions = fresh
    served.serve(20, {"a": 1.0, "b": 1.0})
    found = served.move()
    assert found.data["read"]["left_out"].keys() == {"another model of that name"}
    assert found.data["variants"]["b"]["guards"]["invalid"]["mean"] == 0.0


def test_an_account_goes_on_as_if_nothing_had_been_forgotten(tmp_path: Path) -> None:
    policy = TWO | {"guards": [{"metric": "invalid", "tolerance": 0.02}]}
    kept, forgot = (Served(tmp_path / name, **policy) for name in ("kept", "forgot"))
    gone = 0
    for _ in range(20):
        for served in (kept, forgot):
            served.serve(20, {"a": 0.5, "b": 0.8}, {"b": 0.05})
            last = served.move()
        gone += retain(forgot.store, before=round((forgot.clock - 120) * MICRO))["decisions"]
        assert last.data == stage.last_decision(kept.store, "toy").data and forgot.weights == kept.weights
    assert gone > 5 and len(decisions_on(forgot.store, "toy")) + gone == len(decisions_on(kept.store, "toy"))


def test_of_two_deciders_one_writes(tmp_path: Path) -> None:
    served = Served(tmp_path, **TWO)
    served.serve(100, {"a": 0.5, "b": 0.5})
    stores, found = [served.beside() for _ in range(4)], []
    at, ready = served.clock + 100, threading.Barrier(4)

    def decide(store: Any) -> None:
        ready.wait()
        found.append(stage.move(store, served.task, served.artifacts, at=at))

    threads = [threading.Thread(target=decide, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and sum(one.seq is not None for one in found) == 1
    assert len(decisions_on(served.store, "toy", kind="weights")) == 1


def test_a_dry_run_writes_nothing_and_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    served = Served(tmp_path, **TWO)
    served.serve(100, {"a": 0.5, "b": 0.5})
    assert served.move(served.clock + 100, write=False).changed
    assert decisions_on(served.store, "toy") == []
    served.store.close()
    assert served.store.file
    served.store.file.write_bytes(b"no database")
    with pytest.raises(StoreUnavailable):
        stage.move(served.beside(), served.task, served.artifacts, at=BEGIN + 900)


def test_another_question_begins_another_account_from_now_on(tmp_path: Path) -> None:
    served = Served(tmp_path, **TWO)
    served.serve(100, {"a": 0.1, "b": 0.9})
    served.move(served.clock + 100)
    served.declare(TWO | {"delta": 0.01})
    found = served.move(served.clock + 100)
    assert found.seq and found.data["basis"] == "static" and found.data["state"]["since"] == served.clock + 100 - LAG
    assert not served.move(served.clock + 200).changed


def test_a_task_without_a_policy_is_told_where_it_goes(tmp_path: Path) -> None:
    from test_package import write_task

    served = Served(tmp_path, **TWO)
    with pytest.raises(UserError, match=r"serving.routing: there is no policy"):
        stage.move(served.store, write_task(tmp_path / "plain"), served.artifacts)
