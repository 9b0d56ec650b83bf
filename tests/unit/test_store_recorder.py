"""Outages of the store, with real faults: a lock held elsewhere, a full disk, a kill, a file that is cut or damaged."""

import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import func, select
from store_rows import inference, kept_scores, requests

from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT
from pp_resources.store import recorder as recorders
from pp_resources.store.buckets import DAY
from pp_resources.store.engine import StoreUnavailable, address
from pp_resources.store.journal import Journal, new_journal, orphans
from pp_resources.store.opened import Store, open_store
from pp_resources.store.recorder import Recorder
from pp_resources.store.rows import Feedback
from pp_resources.store.schema import inferences


def eventually(done: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    return done()


def stored(store: Store) -> set[str]:
    with store.reading() as db:
        return set(db.execute(select(inferences.c.id)).scalars())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(address(tmp_path, None), patience=0.3)


def recorder(store: Store, **more) -> Recorder:
    return Recorder(store, store.file.parent / "journal", **({"retry": 0.05, "patience": 0.5} | more))


def locked(store: Store) -> closing:
    """Another process's transaction that does not end."""
    other = sqlite3.connect(store.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return closing(other)


def test_a_locked_store_costs_no_row_and_counts_none_twice(store: Store) -> None:
    rec = recorder(store)
    assert not rec.write(inference(0)).journaled and stored(store) == {"i0"}
    with locked(store):
        for n in (1, 2, 2):
            rec.write(inference(n))
        assert rec.write(Feedback(kind="boolean", metric="m", inference="i1", value=1)).journaled
        health = rec.status()
        assert not health["store"] and health["journal_bytes"] > 0 and "locked" in health["why"]
        assert stored(store) == {"i0"} and rec.write(inference(2)).journaled
    assert eventually(lambda: rec.status()["store"])
    assert rec.status() == {"store": True, "why": "", "waiting": 0, "journal_bytes": 0, "lag_s": 0.0, "refused": 0}
    assert stored(store) == {"i0", "i1", "i2"} and requests(store, DAY) == 3 and kept_scores(store, DAY) == {("t", "b", 0, "m"): (1, 1.0)}
    assert not rec.write(inference(3)).journaled
    rec.close()
    assert list(rec.folder.glob("*.journal*")) == []


def test_a_store_that_is_locked_before_its_tables_are_made_refuses_no_row(store: Store) -> None:
    store.file.parent.mkdir(parents=True)
    with locked(store):
        rec = recorder(store)
        rec.write(inference(0))
        assert eventually(lambda: not rec.status()["store"])
    assert eventually(lambda: stored(store) == {"i0"}) and rec.status()["refused"] == 0
    rec.close()


def test_who_reads_beside_the_recorder_sees_what_was_acknowledged(store: Store) -> None:
    rec = recorder(store, patience=30)
    for n in range(20):
        rec.write(inference(n))
        assert len(stored(store)) == n + 1
    rec.close()


def test_more_than_is_held_in_memory_is_read_from_the_journal_again(store: Store, monkeypatch) -> None:
    monkeypatch.setattr(recorders, "HELD", 50)
    monkeypatch.setattr(recorders, "LARGE", 20_000)
    rec = recorder(store, patience=30)
    futures = [rec.submit(inference(n)) for n in range(700)]
    assert all(not future.result(30).journaled for future in futures)
    rec.write(Feedback(kind="boolean", metric="m", inference="i699", value=1))
    assert len(stored(store)) == 700 == requests(store, DAY) and kept_scores(store, DAY) == {("t", "b", 0, "m"): (1, 1.0)}
    assert eventually(lambda: rec.status()["journal_bytes"] == 0)
    rec.close()
    assert rec.status()["refused"] == 0 and list(rec.folder.glob("*.journal*")) == []


def test_rows_that_come_while_the_journal_is_written_to_the_store_get_there_too(store: Store) -> None:
    rec = recorder(store, patience=10)
    rec.write(inference(0))
    rec.settle()
    with locked(store):
        rec.write(inference(1))
    futures = [rec.submit(inference(n)) for n in range(2, 1200)]
    assert all(future.result(30) for future in futures) and eventually(lambda: rec.status()["store"])
    rec.close()
    assert len(stored(store)) == 1200 == requests(store, DAY)


def test_a_server_that_dies_leaves_its_journal_to_the_next(store: Store) -> None:
    rec = recorder(store)
    rec.write(inference(0))
    rec.settle()
    with locked(store):
        rec.write(inference(1))
        rec.close()
        (file,) = rec.folder.glob("*.journal")
        file.write_bytes(file.read_bytes() + b"0badc0de {half a l")  # the end of a row that was never acknowledged
    again = recorder(store)
    assert eventually(lambda: stored(store) == {"i0", "i1"}) and eventually(lambda: not file.exists())
    again.close()
    assert again.status()["refused"] == 0


def test_what_the_store_refuses_at_replay_is_kept_with_its_reason(store: Store) -> None:
    rec = recorder(store)
    rec.write(inference(1))
    rec.settle()
    with locked(store):
        rec.write(inference(1, output="other"))
        assert eventually(lambda: not rec.status()["store"])
    assert eventually(lambda: rec.status()["store"])
    rec.close()
    refused = (rec.folder / "refused.jsonl").read_text()
    assert "id 'i1' is taken by another inference" in refused and '\\"output\\":\\"other\\"' in refused and rec.status()["refused"] == 1


def test_a_damaged_line_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    journal.append([inference(1), inference(2)])
    journal.append([inference(3)])
    text = journal.file.read_bytes()
    journal.file.write_bytes(text.replace(b"text 2", b"text 9"))
    part = journal.read()
    assert [row.id for row in part.rows] == ["i1", "i3"] and len(part.damaged) == 1 and part.end == len(text)
    assert journal.read(part.end) == ([], [], part.end)


def test_a_journal_belongs_to_one_process_and_has_a_limit(tmp_path: Path) -> None:
    journal = new_journal(tmp_path, limit=500)
    with pytest.raises(StoreUnavailable, match="in use by another process"):
        Journal(journal.file)
    assert orphans(tmp_path) == []
    journal.append([inference(1)])
    with pytest.raises(StoreUnavailable, match="the journal is full"):
        journal.append([inference(2)])
    assert [row.id for row in journal.read().rows] == ["i1"]
    journal.close()
    (left,) = orphans(tmp_path)
    assert left.keep(lambda row: row.id != "i1") == 1 and left.read().rows == []


def child(code: str, *words: str) -> subprocess.Popen:
    environment = {"PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'tests' / 'unit'}"}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *words], stdout=subprocess.PIPE, text=True, env=environment)


WRITER = """
    import sys, threading; from pathlib import Path; from store_rows import inference
    from pp_resources.store.engine import address
    from pp_resources.store.opened import Store
    from pp_resources.store.recorder import Recorder
    store = Store(address(Path(sys.argv[1]), None), patience=0.2)
    rec = Recorder(store, store.file.parent / "journal", patience=0.3)
    def write(first):
        n = first
        while True:
            print(rec.write(inference(n)).id, flush=True)
            n += 4
    for first in range(4):
        threading.Thread(target=write, args=(first,)).start()
"""


@pytest.mark.parametrize("away", [False, True])
def test_what_was_acknowledged_survives_a_kill(store: Store, away: bool) -> None:
    store.write(inference(10**6))
    with locked(store) if away else nullcontext():
        process = child(WRITER, str(store.file.parent.parent))
        assert process.stdout is not None
        acknowledged = {process.stdout.readline().strip() for _ in range(40)}
        process.kill()
        acknowledged |= {line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")}
        process.wait()
    rec = recorder(store)
    assert eventually(lambda: acknowledged <= stored(store)) and len(acknowledged) >= 40
    rec.close()
    with store.reading() as db:
        assert db.execute(select(func.count()).select_from(inferences)).scalar() == requests(store, DAY)


FULL = """
    import resource, sys; from pathlib import Path; from store_rows import inference
    from pp_resources.store.engine import address, StoreUnavailable
    from pp_resources.store.opened import Store
    from pp_resources.store.recorder import Recorder
    store = Store(address(Path(sys.argv[1]), None))
    rec = Recorder(store, store.file.parent / "journal", retry=60)
    rec.write(inference(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    for n in range(1, 10000):
        try:
            ack = rec.write(inference(n, input="x" * 4000))
        except StoreUnavailable as error:
            print("refused", error, flush=True)
            break
        print("journal" if ack.journaled else "store", ack.id, flush=True)
    rec.close()
"""


def test_a_full_disk_refuses_what_it_cannot_keep_and_nothing_else(store: Store) -> None:
    """Files that may not grow stand for the disk: first the database finds no room, then, or at the same time, the journal."""
    lines = (child(FULL, str(store.file.parent.parent)).communicate(timeout=60)[0]).splitlines()
    kinds = [line.split()[0] for line in lines]
    assert kinds == sorted(kinds, key=["store", "journal", "refused"].index) and {"store", "refused"} <= set(kinds)
    assert "File too large" in lines[-1] and "see that its disk has room" in lines[-1]
    acknowledged = {line.split()[1] for line in lines[:-1]}
    rec = recorder(store)
    assert eventually(lambda: stored(store) == acknowledged | {"i0"})
    rec.close()


def test_a_journal_that_cannot_be_made_refuses_with_the_reason(store: Store) -> None:
    store.write(inference(0))
    (store.file.parent / "journal").write_text("in the way")
    rec = recorder(store)
    with locked(store), pytest.raises(UserError, match="journal"):
        rec.write(inference(1))
    rec.close()


def test_the_store_alone_says_when_it_is_locked(store: Store) -> None:
    store.write(inference(0))
    with locked(store), pytest.raises(StoreUnavailable, match="database is locked"):
        store.write(inference(1))
    assert store.write(inference(1)).created
    assert open_store(store.file.parent.parent).url == store.url
