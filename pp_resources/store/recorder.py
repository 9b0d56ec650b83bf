"""The way into the store that outlives its outages: what it cannot take goes to a local journal, and from there into it later.

Both are durable, so a row is acknowledged either way; rows have ids, so whatever is written twice counts once. Only when neither can be
written (a full disk) is a row refused.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import orjson

from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.group import GroupWriter
from pp_resources.store.ids import MICRO, now
from pp_resources.store.journal import LIMIT, SUFFIX, Journal, new_journal, orphans
from pp_resources.store.opened import Store
from pp_resources.store.rows import Ack, Row
from pp_resources.store.wire import to_json

PATIENCE, RETRY = 1.0, 1.0  # seconds
WAIT = 5.0
REFUSED = "refused.jsonl"


class Recorder:
    """Writes rows for a server that must answer while the store is away.

    `folder` holds the journals of all processes (`journal.journals_of(home)`); those that a killed process left are taken up. A
    transaction that takes longer than `patience` seconds is journaled as well and acknowledged; then rows go to the journal alone until the
    store, tried every `retry` seconds, has taken all of it, in order. What the store then refuses (another row has its id) is kept with
    the reason in `refused.jsonl` in the folder.
    """

    def __init__(self, store: Store, folder: Path, *, limit: int = LIMIT, patience: float = PATIENCE, retry: float = RETRY) -> None:
        self.store, self.folder = store, folder
        self._limit, self._patience, self._retry = limit, patience, retry
        self._journal: Journal | None = None
        self._lock = threading.Lock()  # who holds it decides where rows go
        self._away = False
        self._why = ""
        self._oldest: int | None = None
        self._refused = 0
        self._closed = threading.Event()
        self._calls: SimpleQueue[tuple[Sequence[Row], Future[list[Ack | Exception]]] | None] = SimpleQueue()
        threading.Thread(target=self._call, name="store", daemon=True).start()
        self._group = GroupWriter(self._commit, "recorder")
        self._replayer: threading.Thread | None = None
        if any(folder.glob(f"*{SUFFIX}")):
            self._start_replay()

    def submit(self, row: Row, wait: float = WAIT) -> "Future[Ack]":
        """A future of the row's Ack. It fails with UserError where the row is refused, StoreUnavailable where nothing could be written.
        Raises StoreUnavailable itself where too many rows wait, for longer than `wait` seconds."""
        return self._group.submit(row, wait)

    def write(self, row: Row) -> Ack:
        """`submit`, and wait for it."""
        return self.submit(row).result()

    def status(self) -> dict[str, Any]:
        """For /health: `store` reachable or not and `why`, rows `waiting` in memory, `journal_bytes`, `lag_s` (age of the oldest row
        that is only in the journal, 0 for none) and how many were `refused` at replay."""
        journal, oldest = self._journal, self._oldest
        return {
            "store": not self._away,
            "why": self._why,
            "waiting": self._group.waiting,
            "journal_bytes": journal.size if journal else 0,
            "lag_s": 0.0 if oldest is None else max(0.0, (now() - oldest) / MICRO),
            "refused": self._refused,
        }

    def close(self) -> None:
        """Write what waits, and stop. A journal that is not in the store yet stays for the next process."""
        self._group.close()
        self._closed.set()
        replayer = self._replayer
        if replayer is not None:
            replayer.join(30)
        self._calls.put(None)
        if self._journal is not None:
            self._journal.close(remove=not self._journal.size)

    def _commit(self, rows: Sequence[Row]) -> Sequence[Ack | Exception]:
        with self._lock:
            if not self._away:
                try:
                    return self._ask_store(rows, self._patience)
                except StoreUnavailable as error:
                    self._away, self._why = True, str(error)
                    self._start_replay()
            if self._journal is None:
                self._journal = new_journal(self.folder, self._limit)
            self._journal.append(rows)
            self._oldest = self._oldest or min(row.at for row in rows)
        return [Ack(row.id, journaled=True) for row in rows]

    def _ask_store(self, rows: Sequence[Row], patience: float | None) -> list[Ack | Exception]:
        """Write to the store from a thread of its own: a call that hangs there holds up nobody else."""
        call: Future[list[Ack | Exception]] = Future()
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
                    call.set_result(self.store.write_many(rows))
                except BaseException as error:
                    call.set_exception(error)

    def _start_replay(self) -> None:
        if self._replayer is None:
            self._replayer = threading.Thread(target=self._replay_until_done, name="replay", daemon=True)
            self._replayer.start()

    def _replay_until_done(self) -> None:
        start = 0
        while not self._closed.is_set():
            try:
                for journal in orphans(self.folder):
                    self._replay_orphan(journal)
                if self._journal is not None:
                    start = self._replay(self._journal, start, None)
                if self._return(start):
                    return
            except StoreUnavailable as error:
                self._why = str(error)
            self._closed.wait(self._retry)

    def _replay_orphan(self, journal: Journal) -> None:
        done = False
        try:
            self._replay(journal, 0, None)
            done = not self._closed.is_set()
        finally:
            journal.close(remove=done)

    def _replay(self, journal: Journal, start: int, patience: float | None) -> int:
        """Write the journal from a byte on into the store; the byte up to which it is there."""
        while not self._closed.is_set() and (part := journal.read(start)).end > start:
            for row, result in zip(part.rows, self._ask_store(part.rows, patience), strict=True):
                if isinstance(result, Exception):
                    self._refuse(str(result), to_json(row))
            for line in part.damaged:
                self._refuse("damaged", line)
            start = part.end
            if journal is self._journal and part.rows:
                self._oldest = part.rows[-1].at
        return start

    def _return(self, start: int) -> bool:
        """Go back to the store, once what came during the replay is in it too; newer rows wait for that."""
        with self._lock:
            if self._journal is not None:
                if self._replay(self._journal, start, self._patience) < self._journal.size:
                    return False
                self._journal.clear()
            self._away, self._why, self._oldest, self._replayer = False, "", None, None
        return True

    def _refuse(self, reason: str, line: bytes) -> None:
        with (self.folder / REFUSED).open("ab") as file:
            file.write(orjson.dumps({"reason": reason, "row": line.decode("utf-8", "replace")}) + b"\n")
        self._refused += 1
