"""Writing to the store: durable, known when it comes again, counted once whatever the order."""

import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, select, text
from store_rows import AT, inference, kept_scores, naive_scores, requests

from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT
from pp_resources.store.buckets import DAY, WIDTHS
from pp_resources.store.engine import StoreUnavailable, address
from pp_resources.store.ids import iso, micros, now, uuid7
from pp_resources.store.migrations import migrate
from pp_resources.store.opened import Store, open_store
from pp_resources.store.rebuild import rebuild
from pp_resources.store.rows import Feedback, Inference, Row
from pp_resources.store.schema import VERSION, feedback, jobs
from pp_resources.store.wire import from_json, to_json
from pp_resources.store.work import Example, Job, JobEvent, QueueChange, QueueItem


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def good(value: float = 1, **more) -> Feedback:
    return Feedback(**({"kind": "boolean", "metric": "right", "inference": "i1", "value": value} | more))


def test_ids_grow_and_are_uuids_of_version_seven() -> None:
    import uuid

    made = [uuid7() for _ in range(3000)]
    assert made == sorted(made) and len(set(made)) == 3000
    parsed = uuid.UUID(uuid7(AT))
    assert parsed.version == 7 and parsed.variant == uuid.RFC_4122 and parsed.int >> 80 == AT // 1000
    assert now() < now() and micros(datetime.fromisoformat(iso(AT))) == AT


def test_a_row_that_comes_again_gets_the_first_answer(store: Store) -> None:
    assert [store.write(inference(1)).created for _ in range(2)] == [True, False]
    first, again = store.write(good(key="k")), store.write(good(key="k", source="elsewhere"))
    assert (first.created, again.created) == (True, False) and again[:2] == first[:2]
    with pytest.raises(UserError, match="key 'k' is taken by another feedback"):
        store.write(good(0, key="k"))
    with pytest.raises(UserError, match="id 'i1' is taken by another inference"):
        store.write(inference(1, output="other"))
    assert kept_scores(store, DAY) == {("t", "b", 0, "right"): (1, 1.0)} and requests(store, DAY) == 1


def test_in_one_transaction_the_same_holds_and_each_row_hears_its_own(store: Store) -> None:
    rows = [good(key="k"), inference(1), good(key="k"), good(0, key="k"), inference(1), inference(1, output="x")]
    made = store.write_many(rows)
    assert [one.created if not isinstance(one, Exception) else "no" for one in made] == [True, True, False, "no", False, "no"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"value": 2.0}, "out of range"),
        ({"value": None}, "carry a value"),
        ({"metric": ""}, "carry a value and a metric"),
        ({"kind": "float", "value": float("nan")}, "not a finite number"),
        ({"kind": "float", "value": 1e7}, "out of range"),
        ({"episode": "e"}, "not exactly one target"),
        ({"inference": None}, "not exactly one target"),
        ({"inference": None, "input": "text"}, "not exactly one target; give"),
        ({"kind": "comment", "value": None}, "without words"),
        ({"source": "a\0b"}, "a NUL character"),
        ({"kind": "demonstration", "value": None, "output": "{}", "inference": None, "episode": "e"}, "output for one input"),
    ],
)
def test_what_means_nothing_is_refused_before_it_is_written(values: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        good(**values)


def test_text_that_is_no_unicode_is_refused_alone(store: Store) -> None:
    one, bad, other = store.write_many([inference(1), inference(2, input="\ud800"), inference(3)])
    assert not isinstance(one, Exception) and not isinstance(other, Exception) and isinstance(bad, UserError)


def test_a_correction_takes_the_place_of_what_was_said(store: Store) -> None:
    store.write(inference(1))
    wrong = good(1)
    store.write(wrong)
    store.write(good(0, at=AT, supersedes=wrong.id))  # older by its time, but it says what it corrects
    assert kept_scores(store, DAY) == {("t", "b", 0, "right"): (1, 0.0)}


def test_feedback_may_come_before_what_it_is_about(store: Store) -> None:
    early = store.write(good())
    with store.reading() as db:
        assert db.execute(select(feedback.c.task, feedback.c.visible)).one() == (None, None)
    store.write(good(inference="other"))
    assert kept_scores(store, DAY) == {}
    store.write(inference(1))
    with store.reading() as db:
        found = db.execute(select(feedback.c.seq, feedback.c.task, feedback.c.visible).where(feedback.c.inference == "i1")).one()
    # Who has read as far as 2 still meets it.
    assert found == (early.seq, "t", 3) and kept_scores(store, DAY) == {("t", "b", 0, "right"): (1, 1.0)}


def test_what_is_said_of_an_episode_is_said_of_each_variant_that_answered_in_it(store: Store) -> None:
    store.write(inference(1, episode="e"))
    store.write(Feedback(kind="float", metric="stars", episode="e", value=4))
    store.write_many([inference(2, episode="e"), inference(3, episode="e")])
    assert kept_scores(store, DAY) == {("t", "b", 0, "stars"): (1, 4.0), ("t", "a", 0, "stars"): (1, 4.0)}


numbers = st.integers(0, 3)
episodes = st.sampled_from([None, "e0", "e1"])
inference_rows = st.builds(lambda n, e, s: inference(n, episode=e, shadow=s), numbers, episodes, st.booleans())


@st.composite
def feedback_rows(draw: st.DrawFn) -> Feedback:
    number = draw(st.integers(0, 30))
    to = draw(st.sampled_from([{"inference": f"i{draw(numbers)}"}, {"episode": "e0"}, {"episode": "e1"}, {"task": "t", "input": "x"}]))
    supersedes = draw(st.sampled_from([None, None, f"f{draw(st.integers(0, 30))}"]))
    at = AT + draw(st.integers(0, 5)) * 30_000_000
    kind, value = draw(st.sampled_from([("boolean", 1.0), ("boolean", 0.0), ("float", 0.1), ("float", -3.25)]))
    metric = draw(st.sampled_from(["m", "n"]))
    return Feedback(id=f"f{number}", kind=kind, metric=metric, value=value, at=at, supersedes=supersedes, **to)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], list[Row], list[int]]:
    """Rows of different ids; the same with repetitions in another order; where that is cut into transactions."""
    rows: list[Row] = list({row.id: row for row in draw(st.lists(st.one_of(inference_rows, feedback_rows()), max_size=14))}.values())
    again = draw(st.permutations([*rows, *draw(st.lists(st.sampled_from(rows), max_size=4))])) if rows else []
    return rows, again, draw(st.lists(st.integers(1, 5), max_size=8))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_neither_order_nor_repetition_nor_transactions_change_a_sum(history: tuple[list[Row], list[Row], list[int]]) -> None:
    rows, again, cuts = history
    expected = naive_scores(rows)
    answers = sum(isinstance(row, Inference) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        left = list(again)
        for size in [*cuts, len(left) or 1]:
            part, left = left[:size], left[size:]
            assert not any(isinstance(result, Exception) for result in store.write_many(part))
        for width in WIDTHS:
            assert kept_scores(store, width) == expected and requests(store, width) == answers
        assert rebuild(store)["differed"] == 0
        store.close()


def test_a_recount_mends_what_is_wrong_and_says_so(store: Store) -> None:
    store.write_many([inference(1), good(), good(0)])
    before = kept_scores(store, DAY)
    with store.writing() as db:
        db.execute(text("UPDATE scores SET n = 7"))
        db.execute(text("UPDATE feedback SET counts = 1 - counts"))
    assert rebuild(store) == {"inferences": 1, "feedback": 2, "buckets": 6, "differed": 5}
    assert kept_scores(store, DAY) == before and rebuild(store)["differed"] == 0


def test_many_threads_share_transactions_and_none_is_lost(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda n: store.submit(inference(n % 150, at=AT)), range(300)))
    acks = [future.result(60) for future in futures]
    assert Counter(ack.created for ack in acks) == {True: 150, False: 150} and requests(store, DAY) == 150
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.submit(inference(1))


def test_many_processes_open_and_write_at_once(store: Store) -> None:
    code = """
import sys; from pathlib import Path; from store_rows import inference
from pp_resources.store.opened import open_store
print(sum(open_store(Path(sys.argv[1])).write(inference(n)).created for n in range(20)))
"""
    folder = str(store.file.parent.parent)
    environment = {"PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'tests' / 'unit'}"}
    children = [
        subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)
    ]
    assert sum(int(child.communicate(timeout=60)[0]) for child in children) == 20 == requests(store, DAY)


def test_an_older_store_is_raised_step_by_step_and_a_newer_one_is_refused(store: Store) -> None:
    store.write(Job(kind="old"))
    steps = {n: lambda db, n=n: db.execute(text(f"ALTER TABLE jobs ADD COLUMN new{n} TEXT")) for n in (VERSION + 1, VERSION + 2)}
    migrate(store._engine, VERSION + 2, steps)
    migrate(store._engine, VERSION + 2, steps)
    with store.reading() as db:
        assert {f"new{n}" for n in steps} <= {column["name"] for column in inspect(db).get_columns("jobs")}
        assert db.execute(select(jobs.c.kind)).scalars().all() == ["old"]
    with pytest.raises(UserError, match=f"made by a newer version .tables {VERSION + 2}, this knows {VERSION}"):
        Store(store.url).write(inference(1))


def test_a_store_of_the_second_version_gets_the_indexes_that_it_lacks(store: Store) -> None:
    store.write(Job(kind="old"))
    with store.writing() as db:
        for name in ("queue_task", "decisions_kind"):
            db.execute(text(f"DROP INDEX {name}"))
        db.execute(text("UPDATE meta SET value = '2' WHERE name = 'version'"))
    assert Store(store.url).write(Job(kind="new")).created
    with store.reading() as db:
        found = {index["name"] for table in ("queue", "decisions") for index in inspect(db).get_indexes(table)}
        assert {"queue_task", "decisions_kind"} <= found
        assert db.execute(text("SELECT value FROM meta WHERE name = 'version'")).scalar() == str(VERSION)


def test_a_step_that_fails_leaves_the_store_as_it_was(store: Store) -> None:
    store.write(Job(kind="old"))

    def half(db) -> None:
        db.execute(text("ALTER TABLE jobs ADD COLUMN half TEXT"))
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        migrate(store._engine, VERSION + 1, {VERSION + 1: half})
    with store.reading() as db:
        assert "half" not in {column["name"] for column in inspect(db).get_columns("jobs")}
    assert Store(store.url).write(inference(1)).created


def test_events_are_numbered_within_their_job(store: Store) -> None:
    one, two = Job(kind="tune", key="k"), Job(kind="tune", key="k")
    store.write(one)
    assert store.write(two) == (one.id, None, False, False)
    event = JobEvent(job=one.id, kind="progress", state="running")
    assert [store.write(row).seq for row in (event, JobEvent(job=one.id, kind="log"), event)] == [1, 2, 1]
    with pytest.raises(UserError, match="there is no job 'nope'"):
        store.write(JobEvent(job="nope", kind="log"))


def test_the_first_answer_of_a_person_stands(store: Store) -> None:
    store.write(QueueItem(id="q", inference="i1", task="t", reason="low confidence"))
    store.write(QueueChange(item="q", state="claimed", by="ann"))
    answer = QueueChange(item="q", state="answered", by="ann", answer="{}")
    assert store.write(answer).created and not store.write(answer).created
    with pytest.raises(UserError, match="is answered already"):
        store.write(QueueChange(item="q", state="answered", by="bob", answer="[]"))


def test_rows_travel_as_json_lines() -> None:
    rows = [inference(1, tags={"a": "b"}), good(), Example(task="t", input="x", output="y", embedding=b"\0\0\x80?", encoder="e")]
    assert [from_json(to_json(row)) for row in rows] == rows


def test_addresses_that_are_no_store_are_refused(tmp_path: Path) -> None:
    assert address(tmp_path, None).database == str(tmp_path / "store" / "store.db")
    assert address(tmp_path, "postgresql://u:p@h/d").drivername == "postgresql+psycopg"
    for wrong in ("mysql://h/d", "sqlite://", "nonsense"):
        with pytest.raises(UserError, match="PP_STORE_URL"):
            address(tmp_path, wrong)


def test_a_file_that_is_no_store_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.db").write_bytes(b"no database" * 500)
    with pytest.raises(StoreUnavailable, match="not a database"), open_store(tmp_path).reading():
        pass
