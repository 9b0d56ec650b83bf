"""The search of a prompt in the flywheel: as a pure machine, by what it reads of an installation, and what a task may say of it."""

import json
import random

import pytest
from command_line import command_line
from flywheel_place import FLYWHEEL, Wheel
from test_flywheel_machine import challenger, pack, some_facts

from pp_assets.flywheel.machine import advance
from pp_assets.flywheel.policy import Flywheel, Prompts
from pp_assets.flywheel.stage import history, look, turn
from pp_assets.flywheel.state import HOUR, Alarm, Facts, Prompted, Search, Searched, State
from pp_assets.pipeline import DATASETS

PROMPTS = Prompts(least_new=5, after_alarm=2, usd=1.5, search_hours=10.0, cool_down_hours=24.0)
POLICY = Flywheel(enabled=True, least_new=5, after_alarm=2, copies=100, prompts=PROMPTS)
COMMAND = "pp prompt apply t"


def found(at: int = 0, command: str = COMMAND, **more) -> Searched:
    told = {"dataset": "d", "verdict": "RELEASE" if command else "NOT PROVEN", "reason": "told", "gain": 0.04, "calls": 90, "usd": 0.5}
    return Searched(at=at, command=command, **told | more)


def facts(now: int = HOUR, head: int = 7, alarms: tuple[Alarm, ...] = (), **prompts) -> Facts:
    return Facts(now=now, task="t", head=head, alarms=alarms, prompts=Prompted(dataset="d", **prompts))


def told(step) -> str:
    return step.numbers["prompts"]["reason"]


def test_the_whole_way_round_without_any_champion():
    begun = advance(State(), facts(new=5), POLICY)
    assert begun.state.search == Search(stage="data", since=HOUR, round=1, to=7) and "5 new demonstrations" in begun.reason
    assert begun.state.stage == "idle" and not begun.actions
    waits = advance(begun.state, facts(new=0), POLICY)
    assert waits.state == begun.state and "the data of a search is made" in told(waits)
    runs = advance(begun.state, facts(now=2 * HOUR, ready=True), POLICY)
    assert runs.state.search.stage == "search" and runs.reason.endswith("halving for base, at most 1000 calls and 1.5 US dollars")
    early = advance(runs.state, facts(now=3 * HOUR, found=found(at=HOUR, dataset="older")), POLICY)
    assert early.state == runs.state, "what was found before is no result of this search"
    ended = advance(runs.state, facts(now=3 * HOUR, found=found(at=3 * HOUR)), POLICY)
    assert "+0.0400 on test rows (RELEASE)" in ended.reason and f"'{COMMAND}'" in ended.reason and "90 calls, 0.5 US" in ended.reason
    assert (ended.state.search.stage, ended.state.search.until) == ("idle", 27 * HOUR)
    assert ended.numbers["prompts"]["verdict"] == "RELEASE"
    assert COMMAND in told(advance(ended.state, facts(found=found()), POLICY)), "told until somebody applies it"
    bad = advance(runs.state, facts(now=3 * HOUR, found=found(at=3 * HOUR, command="")), POLICY)
    assert "NOT PROVEN (told)" in bad.reason and "apply" not in bad.reason


def test_a_search_of_the_same_data_by_a_person_is_not_made_again():
    waits = State(search=Search(stage="search", since=2 * HOUR, to=7, dataset="d"))
    assert advance(waits, facts(now=3 * HOUR, found=found(at=HOUR)), POLICY).state.search.stage == "idle"


@pytest.mark.parametrize(
    ("state", "seen", "why"),
    [
        (State(), {"new": 4}, "4 new demonstrations, 5 start a search"),
        (State(search=Search(until=3 * HOUR)), {"new": 9}, "2.0 more hours after the last one: 9 new"),
        (State(search=Search(to=7)), {"new": 9}, "9 new demonstrations, 5 start a search"),
        (State(stage="training", since=HOUR), {"new": 9}, "waits for the training and its data"),
        (State(), {"new": 9, "cannot": "no provider 'gpt-9'"}, "no prompt can be searched: no provider 'gpt-9'"),
    ],
)
def test_it_says_why_it_does_nothing(state, seen, why):
    state = state.model_copy(update={"champion": "a"})
    busy = facts(**seen).model_copy(update={"champion": pack("a"), "behind": ("v",)})
    step = advance(state, busy, POLICY)
    assert step.state == state and why in told(step)


def test_alarms_ask_for_less_and_never_for_nothing():
    alarm = (Alarm(cause="drift", reason="the newest inputs drift"),)
    assert advance(State(), facts(new=2), POLICY).state.search.stage == "idle"
    assert advance(State(), facts(new=2, alarms=alarm), POLICY).state.search.stage == "data"
    assert advance(State(), facts(new=0, alarms=alarm), POLICY).state.search.stage == "idle"
    deaf = POLICY.model_copy(update={"prompts": PROMPTS.model_copy(update={"start": ["feedback"]})})
    assert advance(State(), facts(new=2, alarms=alarm), deaf).state.search.stage == "idle"


@pytest.mark.parametrize(("stage", "why"), [("data", "its data did not come"), ("search", "it brought nothing")])
def test_what_does_not_come_is_given_up_and_this_feedback_starts_no_other(stage, why):
    state = State(search=Search(stage=stage, since=HOUR, to=7))
    assert advance(state, facts(now=10 * HOUR), POLICY).state == state
    late = advance(state, facts(now=11 * HOUR), POLICY)
    assert f"given up after 10.0 hours: {why}" in late.reason and late.state.search.stage == "idle"
    assert advance(late.state, facts(now=99 * HOUR, new=9), POLICY).state == late.state


def test_without_the_section_nothing_is_searched():
    none = advance(State(), facts(new=99), POLICY.model_copy(update={"prompts": None}))
    assert none.state == State() and "prompts" not in none.numbers


def test_whatever_happens_no_feedback_starts_two_searches_and_packages_go_their_way():
    """Random walks of both beside each other: packages do what they would do without searches."""
    starts = ends = 0
    for seed in range(150):
        rng, state, alone, now, begun, rested = random.Random(seed), State(), State(), 0, [], 0
        for _ in range(30):
            now += rng.randint(1, 15 * HOUR)
            seen = some_facts(rng, now, pack(state.champion or "a"))
            prompts = Prompted(
                new=rng.randint(0, 9),
                dataset="d",
                ready=rng.random() < 0.5,
                found=rng.choice([None, found(at=now - rng.randint(0, 9 * HOUR))]),
            )
            seen = seen.model_copy(update={"prompts": prompts, "challengers": (challenger(rng.choice("abc")),)})
            packages = advance(alone, seen, POLICY.model_copy(update={"prompts": None}))
            step = advance(state, seen, POLICY)
            before, after = state.search, step.state.search
            assert step.state.model_copy(update={"search": Search()}) == packages.state and step.actions == packages.actions
            if after.stage == "data" and before.stage == "idle":
                assert after.to > before.to and now >= rested and step.state.stage != "training"
                begun.append(after.to)
            if before.stage == "data":
                assert after.stage != "search" or prompts.ready, "its data is there"
            if before.stage != "idle" and after.stage == "idle":
                rested, ends = after.until, ends + 1
                assert after.until == now + 24 * HOUR
            state, alone = step.state, packages.state
        assert len(begun) == len(set(begun))
        starts += len(begun)
    assert starts > 150 and ends > 100, "the walks go everywhere"


def test_it_counts_what_people_said_and_waits_for_the_data(tmp_path):
    wheel = Wheel(tmp_path, {**FLYWHEEL, "prompts": {"least_new": 3}})
    wheel.demonstrate(2)
    assert turn(wheel.pipeline, "toy").decided == () and "2 new" in told(look(wheel.pipeline, "toy"))
    wheel.demonstrate(1)
    assert turn(wheel.pipeline, "toy").state.search == look(wheel.pipeline, "toy").state.search
    for _ in range(2):  # the second one has nothing to do
        made = turn(wheel.pipeline, "toy")
        assert (made.state.search.stage, made.state.search.to, made.state.search.round) == ("data", 3, 1)
    # A data set that holds them is not enough: rows that nobody has evaluated are learnt from by nobody.
    wheel.pipeline.seeds("toy")
    assert wheel.pipeline.store.current(DATASETS, "toy").metadata["feedback_rows"] == 3
    assert turn(wheel.pipeline, "toy").state.search.stage == "data"
    [decision] = history(wheel.store, "toy")
    assert decision["reason"] == "a prompt is to be searched: 3 new demonstrations (3 are enough)"
    assert decision["numbers"]["prompts"]["new"] == 3


def test_a_model_that_is_not_there_starts_nothing(tmp_path):
    wheel = Wheel(tmp_path, {**FLYWHEEL, "prompts": {"least_new": 1, "target": "nobody/m"}})
    wheel.demonstrate(1)
    assert "no prompt can be searched" in told(turn(wheel.pipeline, "toy")) and not history(wheel.store, "toy")


@pytest.fixture
def pp(tmp_path, capfd):
    made = Wheel(tmp_path)
    made.settings.home.rename(tmp_path / "pp")
    return command_line(tmp_path, capfd)


@pytest.mark.parametrize(
    ("prompts", "field", "how"),
    [
        ({"strategy": "gepo"}, "flywheel.prompts.strategy", "gepa"),
        ({"calls": 0}, "flywheel.prompts.calls", "1"),
        ({"usd": -1.0}, "flywheel.prompts.usd", "0"),
        ({"least_new": "50"}, "flywheel.prompts.least_new", "integer"),
        ({"budget": 3}, "flywheel.prompts.budget", "known"),
        ({"start": ["weather"]}, "flywheel.prompts.start", "feedback"),
        ({"target": "opnai/gpt"}, "flywheel.prompts", "did you mean"),
        ({"writer": "base"}, "flywheel.prompts", "PROVIDER/MODEL"),
    ],
)
def test_a_wrong_setting_is_told_with_file_field_and_what_would_do(pp, tmp_path, prompts, field, how):
    file = tmp_path / "tasks" / "toy" / "task.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"flywheel": {"enabled": True, "prompts": prompts}}))
    said = pp("task", "check", "toy")
    [line] = [one for one in said.err.splitlines() if "flywheel" in one]
    assert said.code == 2 and str(file) in line and field in line and how in line


def test_a_task_that_serves_no_package_may_have_its_prompts_renewed(pp, tmp_path):
    file = tmp_path / "tasks" / "toy" / "task.json"
    remote = {"variants": {"there": {"kind": "remote", "url": "http://127.0.0.1:9/v1", "model": "m"}}}
    for prompts, code in ((None, 2), ({}, 0)):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"serving": remote, "flywheel": {"enabled": True, "prompts": prompts}}))
        assert pp("flywheel", "toy").code == code
    assert "prompts   0 new demonstrations, 50 start a search" in pp("flywheel", "toy").out
