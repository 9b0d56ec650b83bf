"""Group commit: what many threads hand in is written together, and each hears when its own rows are on disk."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from pp_resources.store.engine import PATIENCE, StoreUnavailable
from pp_resources.store.rows import Ack, Row

MOST = 1000  # rows of one transaction, but for what is handed in as one
DEPTH = 20_000  # rows that may wait

Results = Sequence[Ack | Exception]
Commit = Callable[[Sequence[Row]], Results]


class GroupWriter:
    """One thread that hands waiting rows to `commit`, all that have gathered while it wrote the ones before.

    `commit` returns a result for each row once they are on disk, or raises when none of them is.
    """

    def __init__(self, commit: Commit, name: str, most: int = MOST, depth: int = DEPTH) -> None:
        self._commit, self._most, self._depth, self._name = commit, most, depth, name
        self._waiting: deque[tuple[Sequence[Row], Future[Results]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.waiting = 0  # rows that are not yet in a transaction

    def submit(self, row: Row, wait: float = PATIENCE) -> "Future[Ack]":
        """A future of the row's Ack, or of the error that refused it. Raises StoreUnavailable when there is no room for `wait` seconds."""
        future: Future[Ack] = Future()

        def tell(done: "Future[Results]") -> None:
            (result,) = done.result()
            if future.set_running_or_notify_cancel():
                future.set_exception(result) if isinstance(result, Exception) else future.set_result(result)

        self.submit_all([row], wait).add_done_callback(tell)
        return future

    def submit_all(self, rows: Sequence[Row], wait: float = PATIENCE) -> "Future[Results]":
        """A future of what becomes of each row, in order; they are written together. Raises as `submit` does."""
        future: Future[Results] = Future()
        with self._changed:
            if self.waiting >= self._depth and not self._closed:
                self._changed.wait_for(lambda: self.waiting < self._depth or self._closed, wait)
            if self._closed:
                raise StoreUnavailable("closed", where=self._name, how="open it again")
            if self.waiting >= self._depth:
                raise StoreUnavailable(f"{self._depth} rows are waiting", where=self._name, how="send less, or later")
            self._waiting.append((rows, future))
            self.waiting += len(rows)
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
            rows = [row for given, _ in batch for row in given]
            try:
                results = self._commit(rows)
            except Exception as error:
                results = [error] * len(rows)
            start = 0
            for given, future in batch:
                future.set_result(results[start : start + len(given)])
                start += len(given)

    def _gather(self) -> list[tuple[Sequence[Row], "Future[Results]"]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch: list[tuple[Sequence[Row], Future[Results]]] = []
            size = 0
            while self._waiting and (not batch or size + len(self._waiting[0][0]) <= self._most):
                batch.append(self._waiting.popleft())
                size += len(batch[-1][0])
            self.waiting -= size
            self._changed.notify_all()
        return batch
