"""Group commit: what many threads hand in is written together, and each hears when its own row is on disk."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from pp_resources.store.engine import PATIENCE, StoreUnavailable
from pp_resources.store.rows import Ack, Row

MOST = 1000  # rows of one transaction
DEPTH = 20_000  # rows that may wait

Commit = Callable[[Sequence[Row]], Sequence[Ack | Exception]]


class GroupWriter:
    """One thread that hands waiting rows to `commit`, all that have gathered while it wrote the ones before.

    `commit` returns a result for each row once they are on disk, or raises when none of them is.
    """

    def __init__(self, commit: Commit, name: str, most: int = MOST, depth: int = DEPTH) -> None:
        self._commit, self._most, self._depth, self._name = commit, most, depth, name
        self._waiting: deque[tuple[Row, Future[Ack]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Rows that are not yet in a transaction."""
        return len(self._waiting)

    def submit(self, row: Row, wait: float = PATIENCE) -> "Future[Ack]":
        """A future of the row's Ack, or of the error that refused it. Raises StoreUnavailable when there is no room for `wait` seconds."""
        future: Future[Ack] = Future()
        with self._changed:
            if len(self._waiting) >= self._depth and not self._closed:
                self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._closed, wait)
            if self._closed:
                raise StoreUnavailable("closed", where=self._name, how="open it again")
            if len(self._waiting) >= self._depth:
                raise StoreUnavailable(f"{self._depth} rows are waiting", where=self._name, how="send less, or later")
            self._waiting.append((row, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return future

    def close(self, wait: float = 60.0) -> None:
        """Write what waits, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(wait)

    def _run(self) -> None:
        while batch := self._gather():
            try:
                results: Sequence[Ack | Exception] = self._commit([row for row, _ in batch])
            except Exception as error:
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if not future.set_running_or_notify_cancel():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _gather(self) -> list[tuple[Row, "Future[Ack]"]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._changed.notify_all()
        return batch
