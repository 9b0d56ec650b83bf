"""Rows that a process of its own writes: the same as written here, whatever becomes of that process."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select
from store_rows import inference

from pp_resources.errors import UserError
from pp_resources.store import apart
from pp_resources.store.apart import Apart
from pp_resources.store.engine import StoreUnavailable, address
from pp_resources.store.opened import Store
from pp_resources.store.recorder import Recorder
from pp_resources.store.rows import Feedback
from pp_resources.store.schema import inferences


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(apart, "WORTH", 2)
    return Store(address(tmp_path / "a", None), patience=0.5)


def begun(writer: Apart) -> None:
    """Rows in such a number that a process is started, and wait until it is there."""
    writer.write_many([inference(900), inference(901)])
    starting = writer._starting
    assert starting is not None
    starting.join(60)
    assert writer._process is not None


def count(store: Store) -> int:
    with store.reading() as db:
        return int(db.execute(select(func.count()).select_from(inferences)).scalar_one())


def test_few_rows_are_written_here(store):
    writer = Apart(store)
    for n in range(5):
        writer.write_many([inference(n)])
    assert count(store) == 5 and writer._process is None and writer._starting is None


def test_what_becomes_of_rows_is_the_same_as_here(store, tmp_path):
    here, writer = Store(address(tmp_path / "b", None)), Apart(store)
    begun(writer)
    here.write_many([inference(900), inference(901)])
    rows = [inference(1), inference(1), inference(900, output="other"), inference(2, subject="änn")]
    rows += [Feedback(id=f"f{n}", kind="boolean", metric="right", inference="i1", value=n) for n in (0, 1, 1)]
    told = [[(type(one), str(one)) for one in some.write_many(rows)] for some in (writer, here)]
    assert told[0] == told[1] and told[0][2][0] is UserError and count(store) == count(here) == 4
    writer.close()


def test_a_process_that_is_killed_loses_nothing(store):
    rec = Recorder(store, store.file.parent / "journal", retry=0.05)
    begun(rec._apart)
    for n in range(40):
        if n == 20:
            rec._apart._process.kill()
        assert rec.write(inference(n)).id == f"i{n}"
    assert all(rec.write(Feedback(kind="boolean", metric="right", inference=f"i{n}", value=1)).created for n in range(3))
    end = time.monotonic() + 30
    while not rec.status()["store"] and time.monotonic() < end:
        time.sleep(0.02)
    assert count(store) == 42 and rec.status()["store"] and rec.status()["refused"] == 0
    rec.close()


def test_a_locked_store_is_told_as_it_is_here(store):
    writer = Apart(store)
    begun(writer)
    with closing(sqlite3.connect(store.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"database is locked.*; see that it is there"):
            writer.write_many([inference(1)])
    assert writer.write_many([inference(1)])[0].created and writer._process is not None
    writer.close()


def test_the_process_ends_with_the_recorder_and_is_ended_where_it_came_too_late(store):
    rec = Recorder(store, store.file.parent / "journal")
    begun(rec._apart)
    process = rec._apart._process
    rec.close()
    assert process.wait(30) == 0
    writer = Apart(store)
    writer.write_many([inference(1), inference(2)])
    starting = writer._starting
    writer.close()
    starting.join(60)
    assert writer._process is None
