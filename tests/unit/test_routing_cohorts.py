"""What of the store's rows is evidence, and for whom: by what was asked, never by what came of it."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_rows import BEGIN, Served

from pp_assets.routing.cohorts import Cut, cut
from pp_assets.routing.evidence import Stats
from pp_assets.routing.policy import OBJECTIVE
from pp_resources.store.ids import MICRO
from pp_resources.store.read_evidence import evidence, time_of
from pp_resources.store.rows import Row

POLICY: dict[str, Any] = {"metric": "right", "champion": "a", "weights": {"a": 1.0, "b": 1.0}, "horizon": 60.0, "cohort": 2}


def found(served: Served, *points: float) -> Cut:
    times = [BEGIN, *(BEGIN + point for point in points), served.clock + 1]
    rows = evidence(served.store, "toy", int(times[0] * MICRO), int(times[-1] * MICRO))
    return cut(rows, served.policy, served.versions, times)


def test_sums_are_those_of_a_naive_recount_whatever_comes_twice_late_or_corrected(tmp_path: Path) -> None:
    served, rng = Served(tmp_path, **POLICY), np.random.default_rng(1)
    rows = [served.answer(f"e{i // 2}" if i < 60 else None, write=False) for i in range(90)]
    said: list[Row] = []
    values: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(150):
        row, value, after = rows[rng.integers(90)], float(rng.integers(2)), float(rng.integers(0, 80))
        earlier = [one for one in values[row.id] if one[0] == after]
        if not earlier:
            said += [served.say(row, value, after, key=f"{row.id}-{after}", write=False) for _ in range(2)]
            values[row.id].append((after, value))
    served.store.write_many([*said[::2], *rows, *said[1::2]])
    expected: dict[str, list[float]] = defaultdict(list)
    for episode in dict.fromkeys(row.episode for row in rows):
        last = [max(kept)[1] for row in rows if row.episode == episode and (kept := [v for v in values[row.id] if v[0] <= 60])]
        if last:
            variant = next(row.variant for row in rows if row.episode == episode)
            expected[variant].append(sum(last) / len(last))
    (cohort,) = found(served).cohorts
    assert {name: one[OBJECTIVE] for name, one in cohort.stats.items()} == {name: Stats.of(sorted(v)) for name, v in expected.items()}
    asked = {name: len({row.episode for row in rows if row.variant == name}) for name in "ab"}
    assert cohort.asked == asked and sum(asked.values()) == 60


def test_only_answers_that_chance_gave_are_compared(tmp_path: Path) -> None:
    served = Served(tmp_path, **POLICY | {"guards": [{"metric": "error", "tolerance": 0.1}]})
    failed = [{"variant": "b", "code": "timeout", "error": "no answer in time"}]
    rows = [
        served.answer(variant="a"),
        served.answer(variant="b"),
        served.answer(variant="b", decision={"basis": "pinned"}),
        served.answer(variant="a", chain=failed),
        served.answer(variant="b", chain=[{**failed[0], "code": "overloaded"}], output=None, error="too much"),
        served.answer(variant="a", output=None, valid=None, error="the caller went away"),
    ]
    for row in rows:
        served.say(row, 1.0)
    made = found(served)
    (cohort,) = made.cohorts
    assert cohort.stats["a"] == {OBJECTIVE: Stats(1, 1.0, 1.0), "error": Stats(1, 0.0, 0.0)}
    assert cohort.stats["b"] == {OBJECTIVE: Stats(1, 1.0, 1.0), "error": Stats(2, 1.0, 1.0)}, "what failed is its own failure"
    assert cohort.asked == {"a": 1, "b": 1}
    assert +made.left_out == {"asked for by name": 1, "without an answer of its own": 3}


def test_a_cohort_ends_where_other_weights_are_met_and_stragglers_are_left_out(tmp_path: Path) -> None:
    served = Served(tmp_path, **POLICY)
    old, new = {"weights": {"a": 1.0, "b": 1.0}}, {"weights": {"a": 0.2, "b": 0.8}}
    for told in (old, old, new, old, new, new):
        served.answer(variant="a", decision=told)
    made = found(served, 5.0)
    assert [(round(one.start - BEGIN), round(one.end - BEGIN), one.asked["a"]) for one in made.cohorts] == [(0, 3, 2), (3, 5, 1), (5, 7, 2)]
    assert +made.left_out == {"weights of before": 1}


def test_an_episode_is_one_unit_of_the_cohort_in_which_it_began(tmp_path: Path) -> None:
    served = Served(tmp_path, **POLICY)
    first = served.answer("long", variant="a")
    served.say(first, 0.0)
    served.say(first, 1.0, after=2.0, episode="long")
    for i in range(4):
        served.say(served.answer("long", variant="a" if i else "b"), 1.0)
    one, *later = found(served, 3.5).cohorts
    assert one.stats == {"a": {OBJECTIVE: Stats(1, 2 / 3, 4 / 9)}} and one.asked == {"a": 1}, "a value each, and that on the whole"
    assert [(c.stats, c.asked) for c in later] == [({}, {})]
    rows = evidence(served.store, "toy", round((BEGIN + 3.5) * MICRO), round((BEGIN + 9) * MICRO))
    assert rows.begun == {"long"} and cut(rows, served.policy, served.versions, [BEGIN + 3.5, BEGIN + 9]).cohorts[0].stats == {}


def test_copies_count_for_what_they_tell_themselves_and_only_where_the_policy_has_shadows(tmp_path: Path) -> None:
    guards = [{"metric": "invalid", "tolerance": 0.1}, {"metric": "latency_ms", "above": 50.0, "tolerance": 0.1}]
    served = Served(tmp_path, **POLICY | {"guards": guards, "shadow": {"dark": 1.0, "deep": 0.5}})
    for i in range(3):
        served.answer(f"e{i}", variant="a", latency_ms=20.0 * (i + 1))
        for name in ("dark", "deep", "b"):
            served.answer(f"e{i}", variant=name, shadow=True, decision={"basis": "pinned"}, valid=i > 0, latency_ms=9000.0)
    (cohort,) = found(served).cohorts
    assert cohort.stats["a"] == {"invalid": Stats(3, 0.0, 0.0), "latency_ms>50": Stats(3, 1.0, 1.0)}
    assert cohort.stats["dark"] == cohort.stats["deep"] == {"invalid": Stats(3, 1.0, 1.0)}, "copies wait: their time is not theirs"
    assert set(cohort.stats) == {"a", "dark", "deep"} and cohort.asked == {"a": 3}


def test_cost_lowers_the_objective_and_what_has_no_price_is_not_free(tmp_path: Path) -> None:
    served = Served(tmp_path, **POLICY | {"cost_weight": 10.0, "most_cost": 0.05})
    for cost in (0.01, 0.2, None):
        served.say(served.answer(variant="a", cost=cost), 1.0)
    whole = served.answer(variant="b", cost=0.02)
    served.say(whole, 1.0, episode=whole.episode)
    made = found(served)
    stats = {name: one[OBJECTIVE] for name, one in made.cohorts[0].stats.items()}
    assert stats["a"].n == 2 and stats["a"].total == pytest.approx(0.9 + 0.5) and stats["b"].total == pytest.approx(0.8)
    assert made.left_out["feedback on an answer without a price"] == 1


def test_metrics_of_feedback_have_their_own_horizon_as_guards(tmp_path: Path) -> None:
    guard = {"metric": "stars", "low": 1.0, "high": 5.0, "higher_is_better": True, "tolerance": 0.5, "horizon": 5.0}
    served = Served(tmp_path, **POLICY | {"metric": "stars", "low": 1.0, "high": 5.0, "guards": [guard | {"low": 0.0}]})
    row = served.answer(variant="a")
    served.say(row, 9.0, after=2.0, metric="stars")
    served.say(row, 3.0, after=30.0, metric="stars")
    served.say(row, 0.5, after=30.0, metric="right")
    (cohort,) = found(served).cohorts
    assert cohort.stats["a"] == {OBJECTIVE: Stats(1, 3.0, 9.0), "stars": Stats(1, 5.0, 25.0)}


def test_a_stretch_without_inferences_has_no_cohort_and_the_nth_is_found_by_time(tmp_path: Path) -> None:
    served = Served(tmp_path, **POLICY)
    rows = [served.answer(variant="a") for _ in range(3)]
    served.clock += 100
    served.answer(variant="a")
    made = found(served, 10.0, 50.0)
    assert [math.floor(one.end - BEGIN) for one in made.cohorts] == [10, 105] and made.inferences == 4
    assert time_of(served.store, "toy", rows[1].at, 2) == rows[2].at and time_of(served.store, "toy", rows[1].at, 9) is None
