"""What is read back: rows as they were, pages that neither overlap nor skip, sums that say what the rows say."""

import random
import statistics
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from store_rows import AT, inference

from pp_resources.errors import UserError
from pp_resources.store.buckets import DAY, HOUR, MINUTE
from pp_resources.store.examples import stored_examples
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store, open_store
from pp_resources.store.read_feedback import feedback_on, feedback_since
from pp_resources.store.read_inferences import inference as read_inference
from pp_resources.store.read_inferences import list_inferences
from pp_resources.store.read_trends import active_count
from pp_resources.store.read_work import (
    decisions_on,
    example_history,
    job,
    job_events_after,
    list_jobs,
    newest_job_events,
    queue_counts,
    queue_items,
    roll_back_examples,
)
from pp_resources.store.retention import retain
from pp_resources.store.rows import Feedback
from pp_resources.store.statistics import _cover, score_of, score_series, traffic_of, traffic_series
from pp_resources.store.work import Decision, Example, ExampleChange, Job, JobEvent, QueueChange, QueueItem


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def test_an_inference_comes_back_as_it_was_written(store: Store) -> None:
    row = inference(
        1, tags={"lang": "en"}, decision={"weights": {"a": 0.5}}, chain=["b"], valid=False, shadow=True, subject="ann", cost=None
    )
    store.write(row)
    assert read_inference(store, "i1") == row and read_inference(store, "nope") is None


def test_pages_are_all_rows_once_also_where_times_are_equal(store: Store) -> None:
    rows = [inference(n, at=AT + n // 3, error="late" if n % 4 == 0 else None) for n in range(23)]
    store.write_many(rows)
    seen, cursor = [], None
    while True:
        page = list_inferences(store, limit=5, before=cursor)
        seen += [row.id for row in page.rows]
        if (cursor := page.next) is None:
            break
        store.write(inference(100 + len(seen), at=AT + 10**9))  # newer than all pages
    assert seen == [row.id for row in sorted(rows, key=lambda row: (row.at, row.id), reverse=True)]
    assert {row.id for row in list_inferences(store, bad=True).rows} == {f"i{n}" for n in range(0, 23, 4)}
    found = list_inferences(store, task="t", variant="a", since=AT + 2, until=AT + 5).rows
    assert {row.id for row in found} == {"i6", "i8", "i10", "i12", "i14"}


def test_the_sums_of_a_range_are_those_of_its_rows(store: Store) -> None:
    chance = random.Random(3)
    rows = [inference(n, at=AT + chance.randrange(5 * DAY) * MICRO, latency_ms=chance.lognormvariate(3, 2)) for n in range(300)]
    said = [Feedback(kind="float", metric="stars", inference=row.id, value=chance.randrange(50) / 10) for row in rows[::2]]
    store.write_many([*rows, *said])
    by_id = {row.id: row for row in rows}
    for since, until in ((None, None), (AT // MICRO + DAY, AT // MICRO + 3 * DAY + 7000), (AT // MICRO + 100, AT // MICRO + 400)):
        low, high = (since or 0) // 60 * 60, -(-(until or 10**10) // 60) * 60
        inside = [row for row in rows if low <= row.at / MICRO < high]
        for one in traffic_of(store, task="t", since=since, until=until):
            mine = [row for row in inside if row.variant == one.variant]
            assert one.requests == len(mine) and one.cost == pytest.approx(sum(row.cost for row in mine))
            assert one.latency_ms == pytest.approx(sum(row.latency_ms for row in mine) / len(mine), rel=1e-3)
        for one in score_of(store, since=since, until=until):
            values = [f.value for f in said if by_id[f.inference].variant == one.variant and by_id[f.inference] in inside]
            assert one.n == len(values) and one.mean == pytest.approx(statistics.mean(values))
            assert one.sd == pytest.approx(statistics.stdev(values)) if len(values) > 1 else one.sd is None
    assert sum(one.n for one in score_series(store, "t", HOUR, metric="stars")) == 150
    assert [one.start for one in traffic_series(store, "t", DAY)] == sorted(one.start for one in traffic_series(store, "t", DAY))
    hours = traffic_series(store, "t", HOUR, histograms=True)
    assert sum(sum(one.histogram) for one in hours) == 300 and all(one.histogram == () for one in traffic_series(store, "t", HOUR))
    (a, _) = traffic_of(store)
    exact = np.quantile([row.latency_ms for row in rows if row.variant == "a"], [0.5, 0.95])
    assert [a.quantile(0.5), a.quantile(0.95)] == pytest.approx(list(exact), rel=0.2)
    with pytest.raises(UserError, match="no buckets of 7 s"):
        score_series(store, "t", 7)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4 * DAY), st.integers(0, 4 * DAY))
def test_a_range_is_covered_once_by_few_buckets(since: int, length: int) -> None:
    parts = sorted(_cover(since, since + length), key=lambda part: part[1])
    low, high = since // 60 * 60, -(-(since + length) // 60) * 60
    assert all(start % width == end % width == 0 for width, start, end in parts)
    assert sum(end - start for _, start, end in parts) == high - low
    assert all(first[2] <= second[1] for first, second in pairwise(parts))
    assert sum((end - start) // width for width, start, end in parts if width < DAY) <= 2 * (59 + 23)
    assert not parts or (parts[0][1], parts[-1][2]) == (low, high)


def test_unpriced_is_not_free_and_untimed_is_not_fast(store: Store) -> None:
    store.write(inference(1, cost=None, latency_ms=None, error="refused", output=None))
    (one,) = traffic_of(store, task="t")
    assert (one.cost, one.unpriced, one.latency_ms, one.quantile(0.5), one.errors) == (None, 1, None, None, 1)


def test_feedback_is_followed_by_number_with_what_it_is_about(store: Store) -> None:
    store.write(inference(1))
    first = Feedback(kind="boolean", metric="right", inference="i1", value=0, source="page")
    store.write_many(
        [first, Feedback(kind="comment", inference="i1", comment="slow"), Feedback(kind="boolean", metric="right", inference="x", value=1)]
    )
    (one, two) = feedback_since(store, "t")
    assert (one.seq, one.id, one.input, one.answer, one.variant, one.counts) == (1, first.id, "text 1", "{}", "b", True)
    store.write(Feedback(kind="boolean", metric="right", inference="i1", value=1))
    assert [(f.seq, f.value) for f in feedback_since(store, after=one.seq, kind="boolean")] == [(4, 1.0)]
    assert [f.counts for f in feedback_on(store, "i1")] == [False, True, True] and two.comment == "slow"


def test_episodes_of_the_last_minutes_are_active(store: Store) -> None:
    at = now()
    store.write_many(
        [inference(1, episode="old", at=at - 600 * MICRO), inference(2, episode="new", at=at), inference(3, episode="new", at=at - 9)]
    )
    assert [active_count(store, "t", at / MICRO - minutes * 60) for minutes in (5, 60)] == [1, 2]
    assert active_count(store, "other", 0) == 0


def example(name: str, vector: list[float], **more) -> Example:
    values = {"id": name, "task": "t", "input": f"in {name}", "output": "{}", "encoder": "e", "at": AT}
    return Example(**(values | {"embedding": np.array(vector, np.float32).tobytes()} | more))


def active(store: Store, variant: str = "") -> list[str]:
    return [one.id for one in stored_examples(store, "t", variant=variant, state="active")]


def test_examples_can_go_back_in_time(store: Store) -> None:
    assert active(store) == []
    store.write_many(
        [example("x1", [1, 2]), example("x2", [3, 4]), example("x3", [5, 6], variant="v"), example("x4", [7], encoder="other")]
    )
    assert active(store, "v") == ["x1", "x2", "x3", "x4"] and active(store) == ["x1", "x2", "x4"]
    vectors = [one.vector for one in stored_examples(store, "t", variant="v")]
    assert {vector.dtype for vector in vectors} == {np.dtype(np.float32)} and [*map(list, vectors)] == [[1, 2], [3, 4], [5, 6], [7]]
    store.write(ExampleChange(example="x1", state="removed", reason="wrong", who="ann", at=AT + 10))
    store.write(example("x5", [9, 9], at=AT + 20))
    store.write(ExampleChange(example="x2", state="removed", reason="double", who="ann", at=AT + 30))
    assert active(store) == ["x4", "x5"]
    changes = roll_back_examples(store, "t", AT + 15, reason="quality fell", who="gate")
    assert {(one.example, one.state) for one in changes} == {("x2", "active"), ("x5", "removed")}
    assert active(store) == ["x2", "x4"]
    assert [one["reason"] for one in example_history(store, "x2")] == ["double", "quality fell"]
    assert [one.id for one in stored_examples(store, "t", state="removed")] == ["x1", "x5"]
    with pytest.raises(UserError, match="there is no example 'x9'"):
        store.write(ExampleChange(example="x9", state="removed", reason="", who=""))


def test_the_first_end_stands_and_the_newest_of_each_kind_is_found(store: Store) -> None:
    row = Job(kind="tune", payload={}, key="app:k_%")
    store.write(row)
    last = JobEvent(job=row.id, kind="state", state="done")
    store.write_many([JobEvent(job=row.id, kind="log", data={"n": n}) for n in range(3)] + [last])
    results = store.write_many([JobEvent(job=row.id, kind="state", state="running"), JobEvent(job=row.id, kind="log"), last])
    assert isinstance(results[0], UserError) and "is done already" in str(results[0])
    assert [result.seq for result in results[1:]] == [5, 4] and job(store, row.id)["state"] == "done"
    newest = newest_job_events(store, [row.id], ["log", "state"])
    assert {kind: one["n"] for kind, one in newest[row.id].items()} == {"log": 5, "state": 4}
    other = Job(kind="tune", payload={}, key="apple:k")
    store.write(other)
    assert [one["id"] for one in list_jobs(store, owner="app:")] == [row.id] and list_jobs(store, owner="a%p:") == []
    assert retain(store, before=other.at + 10**12)["jobs"] == 1 and [one["id"] for one in list_jobs(store)] == [other.id]
    assert job_events_after(store, row.id) == []


def test_jobs_queue_and_decisions_are_read_back(store: Store) -> None:
    work = Job(kind="tune", payload={"task": "t"})
    store.write_many([work, JobEvent(job=work.id, kind="progress", data={"done": 1}, state="running"), JobEvent(job=work.id, kind="log")])
    found = job(store, work.id)
    assert found and (found["state"], found["payload"]) == ("running", {"task": "t"}) and list_jobs(store) == [found]
    assert [(one["n"], one["data"]) for one in job_events_after(store, work.id, 0)] == [(1, {"done": 1}), (2, {})]
    assert [one["kind"] for one in job_events_after(store, work.id, 1)] == ["log"]
    store.write_many([QueueItem(id=f"q{n}", inference=f"i{n}", task="t", reason="low", at=AT + n) for n in range(3)])
    store.write(QueueChange(item="q1", state="answered", by="ann", answer="{}"))
    assert [one["id"] for one in queue_items(store, task="t")] == ["q0", "q2"] and queue_counts(store) == {"open": 2, "answered": 1}
    assert [(one["by"], one["answer"]) for one in queue_items(store, state="answered")] == [("ann", "{}")]
    store.write_many([Decision(task="t", kind=kind, data={"p": 0.5}) for kind in ("weights", "promotion", "weights")])
    assert [one["seq"] for one in decisions_on(store, "t", kind="weights")] == [3, 1]
    assert [one["kind"] for one in decisions_on(store, "t", after=1)] == ["weights", "promotion"]


def test_the_width_of_a_minute_is_the_finest(store: Store) -> None:
    store.write_many([inference(n, at=AT + n * 30 * MICRO) for n in range(4)])
    starts = sorted({one.start for one in traffic_series(store, "t", MINUTE)})
    assert starts == sorted({(AT // MICRO + 30 * n) // 60 * 60 for n in range(4)})


def test_what_is_read_often_is_served_by_an_index(store: Store) -> None:
    """By the database's own plan: no table is read but through an index, and no rows are sorted."""
    store.write_many([inference(n) for n in range(50)])
    plans = []

    def explain(_connection, cursor, statement, parameters, _context, _many) -> None:
        if statement.lstrip().startswith("SELECT"):
            plans.append((statement, [row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]))

    event.listen(store._engine, "before_cursor_execute", explain)
    list_inferences(store)
    list_inferences(store, task="t", before=(AT, "i1"))
    list_inferences(store, task="t", variant="a", since=AT)
    list_inferences(store, bad=True)
    feedback_since(store, after=3)
    feedback_since(store, "t", kind="demonstration", in_force=True)
    active_count(store, "t", AT / MICRO)
    traffic_of(store, since=AT // MICRO)
    score_series(store, "t", HOUR, since=AT // MICRO)
    queue_items(store)
    assert len(plans) >= 10
    for statement, plan in plans:
        assert all(" USING " in step for step in plan if step.startswith(("SCAN", "SEARCH"))), (statement, plan)
        # Rows of one time are put in order by id, and the buckets of a range by variant: both are few.
        assert not any("TEMP B-TREE" in step for step in plan if "RIGHT PART" not in step and "GROUP BY" not in step), (statement, plan)
