"""Working the queue in the store: claims that hold and run out, ends that stand, what is taken back, older stores."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text
from store_rows import AT, inference

from pp_resources.errors import UserError
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store, open_store
from pp_resources.store.queue_work import claim_next, take_back
from pp_resources.store.read_feedback import feedback_on
from pp_resources.store.read_queue import DAY, Done, done, list_work, waiting, work
from pp_resources.store.retention import erase
from pp_resources.store.rows import Feedback
from pp_resources.store.schema import VERSION, queue
from pp_resources.store.work import QueueChange, QueueItem


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def fill(store: Store, count: int, **more: object) -> list[str]:
    """Items q0, q1, … of i0, i1, …"""
    rows = [inference(n, **more) for n in range(count)]
    items = [QueueItem(id=f"q{n}", inference=f"i{n}", task="t", reason="low", at=AT + n, subject=row.subject) for n, row in enumerate(rows)]
    store.write_together([*rows, *items])
    return [item.id for item in items]


def change(item: str, state: str, by: str, **more: object) -> QueueChange:
    return QueueChange(item=item, state=state, by=by, **more)  # type: ignore[arg-type]


def test_a_claim_is_its_holders_until_it_runs_out(store: Store) -> None:
    fill(store, 1)
    start = now()
    store.write(change("q0", "claimed", "ann", until=start + 60 * MICRO))
    for state in ("claimed", "open", "answered", "dismissed"):
        with pytest.raises(UserError, match="is claimed by ann"):
            store.write(change("q0", state, "bob", at=start + 59 * MICRO))
    store.write(change("q0", "claimed", "ann", until=start + 90 * MICRO, at=start + 50 * MICRO))  # kept longer
    with pytest.raises(UserError, match="is claimed by ann"):
        store.write(change("q0", "claimed", "bob", at=start + 89 * MICRO))
    store.write(change("q0", "claimed", "bob", until=start + 200 * MICRO, at=start + 90 * MICRO))
    with pytest.raises(UserError, match="is claimed by bob"):
        store.write(change("q0", "answered", "ann", answer="{}", at=start + 91 * MICRO))
    store.write(change("q0", "open", "bob"))
    store.write(change("q0", "answered", "ann", answer="{}", agrees=True))
    found = work(store, "q0")
    assert found is not None and (found.state, found.by, found.answer, found.agrees, found.until) == ("answered", "ann", "{}", True, None)


def test_many_who_take_the_next_item_at_once_get_one_each(store: Store) -> None:
    ids, found = fill(store, 12), dict[str, list[str]]()

    def take(by: str) -> None:
        mine = found.setdefault(by, [])
        while (item := claim_next(store, {"t": 60}, by=by, passed=mine)) is not None:
            mine.append(item.id)

    people = [threading.Thread(target=take, args=(f"p{n}",)) for n in range(4)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert sorted(id for mine in found.values() for id in mine) == sorted(ids)


def test_the_next_item_is_ones_own_then_the_oldest_and_audits_come_last(store: Store) -> None:
    fill(store, 3)
    audit = QueueItem(id="a", inference="i0", task="t", reason="audit", at=AT - 1)
    store.write(audit)
    first = claim_next(store, {"t": 60}, by="ann")
    again = claim_next(store, {"t": 60}, by="ann")
    assert first is not None and again is not None and first.id == again.id == "q0" and again.until > first.until  # type: ignore[operator]
    assert [claim_next(store, {"t": 60}, by="bob", passed=["q1"]).id, claim_next(store, {"t": 60}, by="cy").id] == ["q2", "q1"]  # type: ignore[union-attr]
    last = claim_next(store, {"t": 0.0}, by="dee")
    assert last is not None and last.id == "a" and claim_next(store, {"other": 60}, by="eve") is None
    assert [item.id for item in list_work(store, ["t"])] == ["a"], "a claim of no time is none"
    assert waiting(store) == {"t": (1, 3, AT - 1)} and len(list_work(store, ["t"], state="claimed")) == 3


def test_what_is_taken_back_leaves_no_demonstration(store: Store) -> None:
    fill(store, 1)
    earlier = Feedback(id="f", kind="demonstration", inference="i0", output='{"a":1}', at=AT)
    answer = Feedback(id="x", kind="demonstration", inference="i0", output='{"a":2}')
    store.write(earlier)
    store.write_together([change("q0", "answered", "ann", id="x", answer='{"a":2}', agrees=False), answer])
    assert [(one.id, one.counts) for one in feedback_on(store, "i0")] == [("f", False), ("x", True)]
    for by, undoes in (("bob", "x"), ("ann", "f")):
        with pytest.raises(UserError, match="is answered already"):
            take_back(store, change("q0", "claimed", by, undoes=undoes))
    back = change("q0", "claimed", "ann", undoes="x", until=now() + 60 * MICRO)
    take_back(store, back)
    take_back(store, back)  # sent again
    assert [(one.id, one.counts) for one in feedback_on(store, "i0")] == [("f", True)]
    with pytest.raises(UserError, match="is open again already"):
        take_back(store, change("q0", "claimed", "ann", undoes="x"))
    found = work(store, "q0")
    assert found is not None and (found.state, found.answer, found.agrees) == ("claimed", None, None)


def test_rows_that_go_together_go_all_or_not_at_all(store: Store) -> None:
    fill(store, 1)
    store.write(change("q0", "dismissed", "ann"))
    said = Feedback(kind="demonstration", inference="i0", output="{}")
    with pytest.raises(UserError, match="is dismissed already"):
        store.write_together([said, change("q0", "answered", "bob", answer="{}")])
    assert feedback_on(store, "i0") == []


def test_what_has_ended_is_counted_by_day_and_reason(store: Store) -> None:
    fill(store, 4)
    at = now()
    today = at - at % DAY
    store.write(change("q0", "answered", "ann", answer="{}", agrees=True, at=today - 1))
    store.write(change("q1", "answered", "ann", answer="{}", agrees=False, at=today))
    store.write(change("q2", "dismissed", "ann", at=today + 1))
    assert done(store, since=today - DAY) == [Done("t", "low", today - DAY, 1, 1, 0), Done("t", "low", today, 1, 0, 1)]
    assert done(store, since=today, task="t")[0].answered == 1 and done(store, since=0, task="u") == []


def test_items_of_an_erased_person_are_gone_and_late_ones_do_not_come_back(store: Store) -> None:
    fill(store, 2, subject="rosa")
    assert erase(store, "rosa")["queue"] == 2
    late = QueueItem(id="late", inference="i9", task="t", reason="low", at=AT, subject="rosa")
    store.write(late)
    with store.reading() as db:
        assert db.execute(select(queue.c.id)).all() == []


def test_an_older_store_gets_what_people_need(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, 1)
    with store.writing() as db:  # as version 1 had it
        db.execute(text("DROP INDEX queue_changed"))
        for column in ("detail", "subject", "until", "agrees"):
            db.execute(text(f"ALTER TABLE queue DROP COLUMN {column}"))
        db.execute(text("UPDATE meta SET value = '1' WHERE name = 'version'"))
    store.close()
    again = Store(store.url)
    found = work(again, "q0")
    assert found is not None and found.detail == {} and found.until is None
    again.write(change("q0", "claimed", "ann", until=now() + MICRO))
    with again.reading() as db:
        assert db.execute(text("SELECT value FROM meta WHERE name = 'version'")).scalar() == str(VERSION)
        assert "queue_changed" in {one["name"] for one in inspect(db).get_indexes("queue")}
