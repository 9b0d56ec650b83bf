"""The way into the store that is fast and outlives its outages: a local journal answers for rows, and the store is filled from it.

An answer is acknowledged when it is in the journal, on disk; the store gets those of a quarter of a second in one transaction, where a
transaction for the few rows that gather during the one before costs a row ten times as much. All else goes to the store at once, with what
is still waiting before it, since its sender hears what the store says of it; while the store is away it goes to the journal, too. Rows have
ids, so whatever is written twice counts once. Only when neither can be written (a full disk) is a row refused. When rows come in large
numbers a process of its own writes them to the store (`apart`).
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import orjson

from pp_resources.store.apart import Apart
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.group import GroupWriter, Results
from pp_resources.store.ids import MICRO, now
from pp_resources.store.journal import LIMIT, Journal, new_journal, orphans
from pp_resources.store.opened import Store
from pp_resources.store.rows import Ack, Inference, Row
from pp_resources.store.wire import to_json
from pp_resources.store.work import QueueItem

# Rows that a server makes by itself, under ids of its own: the store has nothing to say of them that their sender waits for.
BY_JOURNAL = (Inference, QueueItem)
PATIENCE, RETRY = 1.0, 1.0  # seconds
WAIT = 5.0
PACE = 0.25  # seconds between two transactions of what gathers in the journal
HELD = 5000  # rows that are in memory, too; what is beyond them is read from the journal again
LARGE, AGE = 16 << 20, 60.0  # bytes and seconds after which a journal is cleared although it is in use
IDLE = 1.0  # seconds without a row after which the journal is cleared
REFUSED = "refused.jsonl"


class Recorder:
    """Writes rows for a server that must answer while the store is away.

    `folder` holds the journals of all processes (`journal.journals_of(home)`); those that a killed process left are taken up. A
    transaction that takes longer than `patience` seconds counts as an outage; then rows go to the journal alone until the store, tried
    every `retry` seconds, has taken all of it, in order. What the store refuses of it (another row has its id) is kept with the reason in
    `refused.jsonl` in the folder. Who reads through the same `Store` object sees what was acknowledged before.
    """

    def __init__(self, store: Store, folder: Path, *, limit: int = LIMIT, patience: float = PATIENCE, retry: float = RETRY) -> None:
        self.store, self.folder = store, folder
        self._limit, self._patience, self._retry = limit, patience, retry
        self._journal: Journal | None = None
        self._turn = threading.RLock()  # who holds it writes to the store; taken before `_lock`
        self._lock = threading.Lock()  # who holds it decides where rows go
        self._cleared = time.monotonic()
        self._done = 0  # byte up to which the journal is in the store
        self._fresh: list[Row] | None = []  # the rows after it, None where they must be read again
        self._oldest: int | None = None
        self._away, self._why = False, ""
        self._refused = 0
        self._closed, self._stirred = threading.Event(), threading.Event()
        self._apart = Apart(store)
        self._calls: SimpleQueue[tuple[Sequence[Row], Future[Results]] | None] = SimpleQueue()
        threading.Thread(target=self._call, name="store", daemon=True).start()
        self._log, self._group = GroupWriter(self._append, "journal"), GroupWriter(self._commit, "recorder")
        self._filler = threading.Thread(target=self._fill, name="filler", daemon=True)
        self._filler.start()
        store.before_reading.append(self.settle)

    def submit(self, row: Row, wait: float = WAIT) -> "Future[Ack]":
        """A future of the row's Ack. It fails with UserError where the row is refused, StoreUnavailable where nothing could be written.
        Raises StoreUnavailable itself where too many rows wait, for longer than `wait` seconds."""
        return self._lane(row).submit(row, wait)

    def submit_all(self, rows: Sequence[Row], wait: float = WAIT) -> "Future[Results]":
        """A future of what becomes of each row, in order, for rows that are all `BY_JOURNAL` or none of them. Raises as `submit` does."""
        return self._lane(rows[0]).submit_all(rows, wait)

    def write(self, row: Row) -> Ack:
        """`submit`, and wait for it."""
        return self.submit(row).result()

    def settle(self) -> None:
        """Write to the store what waits for it; nothing happens while it is away."""
        journal = self._journal
        if journal is not None and self._done < journal.size and not self._away:
            with self._turn:
                if not self._away:
                    try:
                        self._flush([])
                    except StoreUnavailable as error:
                        self._leave(error)

    def status(self) -> dict[str, Any]:
        """For /health: `store` reachable or not and `why`, rows `waiting` in memory, `journal_bytes` that the store does not have, `lag_s`
        (age of the oldest row that is only in the journal, 0 for none) and how many were `refused` by the store afterwards."""
        journal, oldest = self._journal, self._oldest
        return {
            "store": not self._away,
            "why": self._why,
            "waiting": self._log.waiting + self._group.waiting,
            "journal_bytes": max(0, journal.size - self._done) if journal else 0,
            "lag_s": 0.0 if oldest is None else max(0.0, (now() - oldest) / MICRO),
            "refused": self._refused,
        }

    def close(self) -> None:
        """Write what waits, and stop. A journal that is not in the store yet stays for the next process."""
        self._log.close()
        self._group.close()
        self._closed.set()
        self._stirred.set()
        self._filler.join(30)
        self.settle()
        self.store.before_reading.remove(self.settle)
        self._calls.put(None)
        if self._journal is not None:
            self._journal.close(remove=self._done >= self._journal.size)

    def _lane(self, row: Row) -> GroupWriter:
        return self._log if isinstance(row, BY_JOURNAL) else self._group

    def _append(self, rows: Sequence[Row]) -> Results:
        """Rows that the journal answers for; where it cannot take them, the store may."""
        journal = self._journal
        if journal is not None and not self._away and (journal.size > LARGE or time.monotonic() > self._cleared + AGE):
            self._clear()  # here, where nothing comes in between
        try:
            away = self._keep(rows)
        except StoreUnavailable:
            self._clear()
            try:
                away = self._keep(rows)
            except StoreUnavailable:
                return self._commit(rows)
        self._stirred.set()
        return [Ack(row.id, journaled=away) for row in rows]

    def _commit(self, rows: Sequence[Row]) -> Results:
        """Rows that the store answers for, while it is there."""
        if not self._away:
            with self._turn:
                if not self._away:
                    try:
                        return self._flush(rows)
                    except StoreUnavailable as error:
                        self._leave(error)
        self._keep(rows)
        return [Ack(row.id, journaled=True) for row in rows]

    def _keep(self, rows: Sequence[Row]) -> bool:
        """Put rows into the journal; whether the store is away."""
        with self._lock:
            if self._journal is None:
                self._journal = new_journal(self.folder, self._limit)
            self._journal.append(rows)
            if self._oldest is None:
                self._oldest = min(row.at for row in rows)
            if self._fresh is not None:
                self._fresh.extend(rows)
                if len(self._fresh) > HELD:
                    self._fresh = None
            return self._away

    def _leave(self, error: StoreUnavailable) -> None:
        self._away, self._why, self._fresh = True, str(error), None
        self._stirred.set()

    def _flush(self, rows: Sequence[Row]) -> Results:
        """Write what waits in the journal and these rows in one transaction; what becomes of these. Holds `_turn`."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            end, oldest, self._oldest = self._journal.size if self._journal else 0, self._oldest, None
        try:
            if fresh is None:
                assert self._journal is not None
                self._done, fresh = self._replay(self._journal, self._done, self._patience, end), []
                if self._done < end:
                    raise StoreUnavailable("closed", where="journal")
            results = self._ask_store([*fresh, *rows], self._patience) if fresh or rows else []
        except BaseException:
            with self._lock:
                self._fresh, self._oldest = None, oldest
            raise
        self._done = end
        self._note_refused(fresh, results[: len(fresh)])
        return results[len(fresh) :]

    def _ask_store(self, rows: Sequence[Row], patience: float | None) -> Results:
        """Write to the store from a thread of its own: a call that hangs there holds up nobody else."""
        call: Future[Results] = Future()
        self._calls.put((rows, call))
        try:
            return call.result(patience)
        except TooSlow as error:
            call.cancel()
            raise StoreUnavailable(f"no answer in {patience:g} s", where="store") from error

    def _call(self) -> None:
        while (asked := self._calls.get()) is not None:
            rows, call = asked
            if call.set_running_or_notify_cancel():
                try:
                    call.set_result(self._apart.write_many(rows))
                except BaseException as error:
                    call.set_exception(error)
        self._apart.close()

    def _fill(self) -> None:
        """The thread that brings rows from the journal to the store."""
        left, last = True, 0.0  # whether killed processes may have left something
        while not self._closed.is_set():
            try:
                if self._away:
                    self._catch_up()
                self.settle()
                if left:
                    self._take_up()
                    left, self._why = False, ""
            except Exception as error:  # whatever it is, the rows are in the journal, and this thread is their only way out
                self._why, left = str(error), True
            if left or self._away:
                self._closed.wait(self._retry)
                continue
            last = time.monotonic()
            if not self._stirred.wait(IDLE):
                self._clear()
                self._stirred.wait()
            self._stirred.clear()
            self._closed.wait(max(0.0, last + PACE - time.monotonic()))

    def _take_up(self) -> None:
        """Bring in what killed processes left."""
        for journal in orphans(self.folder):
            done = False
            try:
                self._replay(journal, 0, None)
                done = not self._closed.is_set()
            finally:
                journal.close(remove=done)

    def _catch_up(self) -> None:
        """Write what came while the store was away, and go back to it, once what comes meanwhile is in it; newer rows wait for that."""
        if self._journal is not None:
            self._done = self._replay(self._journal, self._done, None)
        with self._turn, self._lock:
            if self._journal is not None:
                self._done = self._replay(self._journal, self._done, self._patience)
                if self._done < self._journal.size:
                    return
                self._empty(self._journal)
            self._away, self._why, self._oldest, self._fresh = False, "", None, []

    def _clear(self) -> None:
        """Make the journal short again; what still waits goes to the store before that."""
        with self._turn:
            self.settle()
            with self._lock:
                journal = self._journal
                if journal is not None and journal.size and self._done == journal.size and not self._away:
                    self._empty(journal)

    def _empty(self, journal: Journal) -> None:
        """All of it is in the store."""
        try:
            journal.clear()
        finally:
            self._done, self._cleared = journal.size, time.monotonic()

    def _replay(self, journal: Journal, start: int, patience: float | None, end: int | None = None) -> int:
        """Write the journal from a byte on into the store; the byte up to which it is there. `end` is where it may stop."""
        while not self._closed.is_set() and (end is None or start < end) and (part := journal.read(start)).end > start:
            self._note_refused(part.rows, self._ask_store(part.rows, patience))
            for line in part.damaged:
                self._refuse("damaged", line)
            start = part.end
            if journal is self._journal and part.rows:
                self._oldest = part.rows[-1].at
        return start

    def _note_refused(self, rows: Sequence[Row], results: Results) -> None:
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, Exception):
                self._refuse(str(result), to_json(row))

    def _refuse(self, reason: str, line: bytes) -> None:
        with (self.folder / REFUSED).open("ab") as file:
            file.write(orjson.dumps({"reason": reason, "row": line.decode("utf-8", "replace")}) + b"\n")
        self._refused += 1
