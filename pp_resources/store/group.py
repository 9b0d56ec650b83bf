"""Group commit: what many threads hand in is written together, and each hears when its own rows are on disk."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from pp_resources.store.engine import PATIENCE, StoreUnavailable
from pp_resources.store.rows import Ack, Row

MOST = 1000  # rows after which a transaction takes no more
DEPTH = 20_000  # rows that may wait

Results = Sequence[Ack | Exception]
Commit = Callable[[Sequence[Row]], Results]
Handed = tuple[Sequence[Row], "Future[Results]"]


class GroupWriter:
    """One thread that hands waiting rows to `commit`, all that have gathered while it wrote the ones before.

    `commit` returns a result for each row once they are on disk, or raises when none of them is.
    """

    def __init__(self, commit: Commit, name: str, most: int = MOST, depth: int = DEPTH) -> None:
        self._commit, self._most, self._depth, self._name = commit, most, depth, name
        # Not under the condition: who waits for that is woken twice, once for it and once for its lock.
        self._handed: SimpleQueue[Handed | None] = SimpleQueue()
        self._room = threading.Condition()
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
        with self._room:
            if self.waiting >= self._depth and not self._closed:
                self._room.wait_for(lambda: self.waiting < self._depth or self._closed, wait)
            if self._closed:
                raise StoreUnavailable("closed", where=self._name, how="open it again")
            if self.waiting >= self._depth:
                raise StoreUnavailable(f"{self._depth} rows are waiting", where=self._name, how="send less, or later")
            self.waiting += len(rows)
            self._handed.put((rows, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return future

    def close(self, wait: float = 60.0) -> None:
        """Write what waits, then stop."""
        with self._room:
            self._closed = True
            self._room.notify_all()
            self._handed.put(None)
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

    def _gather(self) -> list[Handed]:
        """What is written together: all that is there, for which it waits, up to `most` rows and the rest of what was handed in with the
        last one. Nothing once it is closed."""
        batch: list[Handed] = []
        size = 0
        while size < self._most and not (batch and self._handed.empty()):
            if (one := self._handed.get()) is None:
                self._handed.put(None)  # for the next call, which finds nothing before it
                break
            batch.append(one)
            size += len(one[0])
        with self._room:
            self.waiting -= size
            self._room.notify_all()
        return batch
