"""The store, opened: how rows are written, and the connections for those who read."""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from pp_resources.store.buckets import Deltas
from pp_resources.store.engine import PATIENCE, StoreUnavailable, address, make_engine, reachable, reading, writing
from pp_resources.store.feedback_rows import write_feedback
from pp_resources.store.group import GroupWriter
from pp_resources.store.inference_rows import write_inferences
from pp_resources.store.migrations import migrate
from pp_resources.store.prepared import rows_where
from pp_resources.store.rows import Ack, Row
from pp_resources.store.schema import erasures
from pp_resources.store.wire import KINDS
from pp_resources.store.work_rows import (
    write_decisions,
    write_example_changes,
    write_examples,
    write_job_events,
    write_jobs,
    write_queue_changes,
    write_queue_items,
)

# In this order within a transaction: what others refer to first.
_WRITERS: dict[str, Callable[..., Sequence[Any]]] = {
    "inference": write_inferences,
    "feedback": write_feedback,
    "example": write_examples,
    "example_change": write_example_changes,
    "job": write_jobs,
    "job_event": write_job_events,
    "queue_item": write_queue_items,
    "queue_change": write_queue_changes,
    "decision": write_decisions,
}
assert _WRITERS.keys() == KINDS.keys()


class Store:
    """One database. Any number of threads and processes may write and read at once; what a call or a future has returned is on disk.

    The tables are made when something is first written or read. `patience` is how long (seconds) a lock, a connection or a statement may
    take before the store counts as unavailable.
    """

    def __init__(self, url: URL, patience: float = PATIENCE) -> None:
        self.url, self.patience = url, patience
        self.file = Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
        self._engine = make_engine(url, patience)
        self._lock = threading.Lock()
        self._ready = False
        self.before_reading: list[Callable[[], None]] = []  # of those who hold rows that were acknowledged and are not here yet
        self._group = GroupWriter(self.write_many, f"store {url.render_as_string(hide_password=True)}")

    @property
    def exists(self) -> bool:
        """False only where a file was never made, and nothing was acknowledged that belongs into it, so that reading makes none."""
        if self.file is not None and not self.file.exists():
            for settle in self.before_reading:
                settle()
        return self.file is None or self.file.exists()

    def write(self, row: Row) -> Ack:
        """Write one row now. Raises UserError where it is refused, StoreUnavailable where the store is."""
        (result,) = self.write_many([row])
        if isinstance(result, Exception):
            raise result
        return result

    def write_many(self, rows: Sequence[Row]) -> list[Ack | Exception]:
        """Write rows in one transaction: what becomes of each, in order. Raises StoreUnavailable when none of them is written."""
        try:
            self._open()
            with writing(self._engine) as db:
                return _apply(db, rows)
        except StoreUnavailable:
            raise
        except Exception as error:
            # One row that cannot be written must not take its neighbours with it.
            if len(rows) == 1:
                return [error]
            return [result for row in rows for result in self.write_many([row])]

    def write_together(self, rows: Sequence[Row]) -> list[Ack]:
        """Write all of the rows, or none of them. Raises UserError for the first that is refused, StoreUnavailable where the store is."""
        acks: list[Ack] = []
        with self.writing() as db:
            for result in _apply(db, rows):
                if isinstance(result, Exception):
                    raise result
                acks.append(result)
        return acks

    def submit(self, row: Row, wait: float = PATIENCE) -> "Future[Ack]":
        """Write the row together with those of other threads; see `GroupWriter.submit`."""
        return self._group.submit(row, wait)

    @property
    def waiting(self) -> int:
        """Submitted rows that are not yet in a transaction."""
        return self._group.waiting

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that writes, after all that was acknowledged in this process before; committed at the end."""
        self._open()
        for settle in self.before_reading:
            settle()
        return writing(self._engine)

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state, with all that was acknowledged in this process before."""
        self._open()
        for settle in self.before_reading:
            settle()
        return reading(self._engine)

    @contextmanager
    def outside_transaction(self) -> Iterator[Any]:
        """A raw connection, for what a database does not do within a transaction."""
        with reachable(self._engine):
            raw = self._engine.raw_connection()
            try:
                yield raw.cursor()
            finally:
                raw.close()

    def close(self) -> None:
        """Write what was submitted, then let go of the database."""
        self._group.close()
        self._engine.dispose()

    def _open(self) -> None:
        if self._ready:
            return
        with self._lock:
            if not self._ready:
                if self.file is not None:
                    _make_folder(self.file.parent)
                migrate(self._engine)
                self._ready = True


def _apply(db: Connection, rows: Sequence[Row]) -> list[Ack | Exception]:
    gone = _erased(db, rows)
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.id not in gone:
            places[row.kind_name].append(place)
    results: list[Any] = [Ack(row.id, created=False) for row in rows]
    deltas = Deltas()
    for kind, write in _WRITERS.items():
        if kind in places:
            mine = [rows[place] for place in places[kind]]
            made = write(db, mine, deltas) if kind in ("inference", "feedback") else write(db, mine)
            for place, result in zip(places[kind], made, strict=True):
                results[place] = result
    deltas.write(db)
    return results


def _erased(db: Connection, rows: Sequence[Row]) -> set[str]:
    """Ids of rows of people who were erased after the rows were made, and of what is said here of their inferences."""
    digests = {row.id: subject_digest(row.subject) for row in rows if getattr(row, "subject", None) is not None}  # type: ignore[attr-defined]
    if not digests:
        return set()
    until = {row["subject"]: row["at"] for row in rows_where(db, list(erasures.c), erasures.c.subject, set(digests.values()))}
    gone = {row.id for row in rows if row.id in digests and row.at <= until.get(digests[row.id], 0)}
    return gone | {row.id for row in rows if getattr(row, "inference", None) in gone}


def subject_digest(subject: str) -> str:
    """What is remembered of an erased person: enough to know the name again, not to tell it."""
    return hashlib.blake2b(subject.encode(), digest_size=16).hexdigest()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(str(error), where=f"store: {folder}", how="see that the folder can be written") from error


_opened: WeakValueDictionary[str, Store] = WeakValueDictionary()
_opening = threading.Lock()


def open_store(home: Path, url: str | None = None) -> Store:
    """The store of an installation: `url` (PP_STORE_URL) or `store/store.db` under the home folder; the same object while one is held."""
    found = address(home, url)
    with _opening:
        name = found.render_as_string(hide_password=False)
        store = _opened.get(name)
        if store is None:
            store = _opened[name] = Store(found)
        return store
