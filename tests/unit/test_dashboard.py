"""The dashboard's figures: those of rows counted by hand, with the intervals of the field's libraries."""

import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as sps
from statsmodels.stats.proportion import proportion_confint

from pp_gateway.dashboard.beside import decided
from pp_gateway.dashboard.figures import cost, latency, quality, share, together
from pp_gateway.dashboard.overview import Declared, Question, overview
from pp_resources.store.buckets import DAY, HOUR
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store, open_store
from pp_resources.store.read_trends import decisions_between
from pp_resources.store.rows import Feedback, Inference
from pp_resources.store.statistics import Score, Traffic, score_of, traffic_of
from pp_resources.store.work import Decision, QueueChange, QueueItem

AT = 1_790_000_000 // DAY * DAY + 15 * HOUR + 1234  # seconds: the middle of a day
QUESTION = Question("t", "7d", "right")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def inference(number: int, ago: float, **more: object) -> Inference:
    """One answer `ago` seconds before AT."""
    values = {"id": f"i{number}", "at": int((AT - ago) * MICRO), "task": "t", "variant": "ab"[number % 2], "input": "x", "output": "{}"}
    return Inference(**values | {"latency_ms": 3.0 * (number + 1), "cost": 0.001, "valid": True} | more)


def test_every_figure_is_that_of_the_rows_counted_by_hand(store: Store) -> None:
    chance = np.random.default_rng(5)
    rows = [
        inference(
            n, float(ago), episode=f"e{n // 3}", error="late" if n % 9 == 0 else None, valid=n % 7 != 0, cost=None if n % 2 else 0.002
        )
        for n, ago in enumerate(chance.uniform(0, 6 * DAY, 90))
    ]
    copies = [inference(n, n * 50.0, id=f"s{n}", variant="c", shadow=True) for n in range(12)]
    old, elsewhere = inference(900, 9 * DAY), inference(901, 60.0, task="other")
    said = [Feedback(kind="boolean", metric="right", inference=row.id, value=int(n % 4 != 0), at=row.at) for n, row in enumerate(rows[::2])]
    mended = [Feedback(kind="boolean", metric="right", inference=rows[0].id, value=1, at=said[0].at + 1)]
    sessions = [Feedback(kind="float", metric="stars", episode=f"e{n}", value=n % 5 + 0.5, at=AT * MICRO) for n in range(10)]
    inputs = [Feedback(kind="boolean", metric="right", task="t", input="asked elsewhere", value=0, at=AT * MICRO)]
    items = [QueueItem(id=f"q{n}", inference=rows[n].id, task="t", reason="unsure", at=rows[n].at) for n in range(20)]
    items += [QueueItem(inference=rows[n].id, task="t", reason="audit", at=rows[n].at) for n in range(20, 25)]
    done = [QueueChange(item=f"q{n}", state="answered", by="ann", answer="{}") for n in range(8)]
    shadows = [Feedback(kind="boolean", metric="right", inference=row.id, value=0, at=row.at) for row in copies]
    store.write_many([*rows, *copies, old, elsewhere, *said, *mended, *sessions, *inputs, *items, *done, *shadows])

    found = overview(store, QUESTION, Declared(), AT)
    values = {row.id: one.value for row, one in zip(rows[::2], said)} | {rows[0].id: 1.0}
    assert found["whole"]["requests"] == 90 and found["whole"]["errors"]["value"] == 10 / 90
    assert found["whole"]["escalated"] | {"low": 0, "high": 0} == share(20, 90) | {"low": 0, "high": 0}, (
        "what chance chose is no escalation"
    )
    right = found["whole"]["metrics"]["right"]
    assert (right["n"], right["value"]) == (45, sum(values.values()) / 45)
    assert [right["low"], right["high"]] == pytest.approx(proportion_confint(sum(values.values()), 45, method="wilson"))
    for one in found["variants"]:
        mine = [row for row in [*rows, *copies] if row.variant == one["name"]]
        if one["name"]:
            assert one["requests"] == len(mine) and one["invalid"]["value"] == sum(row.valid is False for row in mine) / len(mine)
        marks = [values[row.id] for row in mine if row.id in values] if not one["shadow"] else [0] * 12
        assert one["quality"]["n"] == (len(marks) if one["name"] else 1)
    assert {(one["name"], one["shadow"]): one["cost"]["value"] for one in found["variants"]} == {
        ("a", False): pytest.approx(0.002), ("b", False): None, ("", False): None, ("c", True): pytest.approx(0.001)
    }  # fmt: skip
    by_day = {day: [row for row in rows if row.at // MICRO // DAY * DAY == day] for day in range(found["since"], AT, DAY)}
    for point in found["trends"]["traffic"]:
        mine = by_day[point["start"]]
        assert (point["requests"], point["errors"]["n"]) == (len(mine), len(mine))
        assert round(point["escalated"]["value"] * len(mine)) == sum(row in mine for row in rows[:20])
    for point in found["trends"]["metrics"]["right"]:
        marks = [values[row.id] for row in by_day[point["start"]] if row.id in values]
        assert (point["n"], point["value"]) == (len(marks), pytest.approx(statistics.mean(marks)))
    assert sum(point["requests"] for point in found["trends"]["traffic"]) == 90 and found["queue"]["counts"] == {"open": 17, "answered": 8}

    recent = [row for row in rows if row.at >= (AT // 60 - 4) * 60 * MICRO]
    assert found["now"]["requests"] == len(recent)
    assert found["now"]["sessions"] == len({row.episode for row in rows if row.at >= (AT - 300) * MICRO})
    hour = [values[row.id] for row in rows if row.id in values and row.at >= (AT - HOUR) // 60 * 60 * MICRO]
    assert found["now"]["quality"]["n"] == len(hour)
    assert found["metrics"] == [
        {"name": "right", "n": 45},
        {"name": "stars", "n": sum(len({r.variant for r in rows if r.episode == f"e{n}"}) for n in range(10))},
    ]


def test_means_have_students_interval_and_few_values_have_none(store: Store) -> None:
    values = [1.0, 4.5, 3.0, 2.0, 5.0, 4.0]
    rows = [inference(n, 10.0) for n in range(6)]
    store.write_many([*rows, *(Feedback(kind="float", metric="stars", inference=r.id, value=v) for r, v in zip(rows, values))])
    found = quality(score_of(store, task="t"))
    low, high = sps.t.interval(0.95, 5, loc=np.mean(values), scale=sps.sem(values))
    assert [found["value"], found["low"], found["high"], found["n"]] == pytest.approx([np.mean(values), low, high, 6], abs=1e-6)
    alone = quality([Score("t", "a", False, "stars", 1, 3.0, None)])
    assert alone["value"] == 3.0 and alone["low"] is None and alone["why"] and quality([])["why"] == "no feedback"
    halves = quality([Score("t", "a", False, "stars", 2, 0.5, 0.0)])
    assert halves["interval"] == "Student's t", "two halves are no zero and one"
    assert share(0, 0) == {"value": None, "low": None, "high": None, "n": 0, "interval": None, "why": "no requests"}


def test_a_quantile_has_the_interval_of_its_order_statistics(store: Store) -> None:
    times = np.random.default_rng(2).lognormal(3, 1, 400)
    store.write_many([inference(n, 10.0, latency_ms=float(value)) for n, value in enumerate(times)])
    found = latency(together(traffic_of(store, task="t")), 0.95)
    exact = np.quantile(times, [0.95, *sps.norm.interval(0.95, 0.95, np.sqrt(0.95 * 0.05 / 400))])
    assert [found["value"], found["low"], found["high"]] == pytest.approx(list(exact), rel=0.19) and found["n"] == 400
    few = together([Traffic("t", "a", False, 1, 0, 0, 1, None, 0, 0, 4.0, (0,) * 10 + (1,) + (0,) * 31)])
    assert latency(few, 0.95)["low"] is None and cost(few)["value"] is None


def test_decisions_are_spread_over_time_with_the_first_and_the_last(store: Store) -> None:
    rows = [
        Decision(task="t", kind=kind, data={"n": n, "weights": {"a": 1}}, at=n * MICRO) for n in range(50) for kind in ("weights", "other")
    ]
    store.write_many(rows)
    every = decisions_between(store, "t", "weights", since=30)
    assert [one["data"]["n"] for one in every] == [*range(29, 50)], "the one in force at the start comes first"
    few = [one["data"]["n"] for one in decisions_between(store, "t", "weights", since=0, most=5)]
    assert len(few) == 5 and (few[0], few[-1]) == (0, 49) and few == sorted(few)


def test_what_was_rolled_back_is_told_once_and_a_step_that_was_never_taken_is_none(store: Store) -> None:
    assert decided(store, "t", 0) == {"weights": {"points": [], "latest": None}, "events": [], "next_step": None, "flywheel": []}
    latched = {name: {"rolled_back": {"at": 5.0, "reason": f"{name} was worse"}} for name in ("a", "b")}
    store.write(Decision(task="t", kind="weights", data={"weights": {"c": 1.0}, "variants": latched, "reason": "c is left"}))
    store.write(Decision(task="t", kind="rollback", data={"variant": "a", "reason": "a was worse"}))
    found = decided(store, "t", 0)
    assert sorted((one["variant"], one["kind"]) for one in found["events"]) == [("a", "rollback"), ("b", "rollback")]
    state = {"stage": "shadow", "candidate": {"variant": "b"}}
    for pending, reason in (([], "too few"), ([{"kind": "shadow"}], "b goes on trial"), ([], "b goes on trial")):
        store.write(Decision(task="t", kind="flywheel", data={"state": state, "reason": reason, "pending": pending}))
    turns = [(one["reason"], one["stage"], one["candidate"]) for one in decided(store, "t", 0)["flywheel"]]
    assert turns == [("b goes on trial", "shadow", "b"), ("too few", "shadow", "b")], "a decision and that it was carried out are one"
    assert found["weights"]["latest"]["reason"] == "c is left" and found["weights"]["points"][0]["weights"] == {"c": 1.0}
