"""Asks models in worker threads, several texts at a time, so that the event loop stays free; what does not fit is refused at once."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pp_gateway.serve.said import Failed

Item = tuple[Any, "asyncio.Future[Any]"]
BUSY = 503


class Engine:
    """The threads. `threads` is how many each model computes with, `workers` how many models compute at once."""

    def __init__(self, threads: int, workers: int = 1) -> None:
        def begin() -> None:
            import torch

            torch.set_num_threads(threads)  # a thread of OpenMP has a count of its own

        self.pool = ThreadPoolExecutor(workers, "engine", initializer=begin)
        self.running = 0
        self.batchers: set[Batcher] = set()

    @property
    def idle(self) -> bool:
        """Nobody is answered, and nobody waits for an answer."""
        return not self.running and not any(batcher.waiting for batcher in self.batchers)

    def rest(self) -> None:
        """Called when a batch has ended: what nobody waits for may go now."""
        for batcher in list(self.batchers):
            if not self.idle:
                return
            batcher.start()

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


class Batcher:
    """Gathers what comes for one model on one adapter.

    A batch starts when `most` texts wait, or `wait` seconds after the first, or as soon as the batch before has ended. More than `depth`
    waiting texts are refused. Texts that nobody waits for (`low`) go one at a time, and only while the engine is idle; the last
    `low_depth` of them are kept.
    """

    def __init__(
        self,
        engine: Engine,
        predict: Callable[[Sequence[Any]], Sequence[Any]],
        *,
        most: int = 32,
        wait: float = 0.002,
        depth: int = 256,
        low_depth: int = 64,
    ) -> None:
        self._engine, self._predict = engine, predict
        self._most, self._wait, self._depth, self._low_depth = most, wait, depth, low_depth
        self._items: deque[Item] = deque()
        self._low: deque[Item] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False
        self._each = 0.01  # seconds for a text, as it was of late
        self.sizes: deque[int] = deque(maxlen=100)
        engine.batchers.add(self)

    @property
    def waiting(self) -> int:
        return len(self._items)

    def submit(self, item: Any, *, low: bool = False) -> "asyncio.Future[Any]":
        """A future of what the model makes of it; cancel it to take it out of the queue. Raises Failed where the queue is full."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if low:
            if len(self._low) >= self._low_depth:
                raise Failed(BUSY, "overloaded", "too many copies wait")
            self._low.append((item, future))
            if self._engine.idle:
                self.start()
            return future
        if len(self._items) >= self._depth:
            retry = max(1.0, self._each * len(self._items))
            raise Failed(BUSY, "overloaded", f"{len(self._items)} texts wait for this model", how="send less, or later", retry_after=retry)
        self._items.append((item, future))
        if not self._busy:
            if len(self._items) >= self._most or not self._wait:
                self.start()
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._wait, self.start)
        return future

    def start(self) -> None:
        """Take a batch, if there is something to take and no batch runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._busy:
            return
        batch = self._take(self._items, self._most) or (self._take(self._low, 1) if self._engine.idle else [])
        if not batch:
            return
        self._busy = True
        self._engine.running += 1
        self.sizes.append(len(batch))
        working = asyncio.get_running_loop().run_in_executor(self._engine.pool, self._work, [item for item, _ in batch])
        working.add_done_callback(partial(self._done, batch, time.monotonic()))

    def close(self) -> None:
        self._engine.batchers.discard(self)
        for _, future in (*self._items, *self._low):
            future.cancel()

    @staticmethod
    def _take(items: deque[Item], most: int) -> list[Item]:
        batch: list[Item] = []
        while items and len(batch) < most:
            item = items.popleft()
            if not item[1].done():  # nobody waits any more for one that was cancelled
                batch.append(item)
        return batch

    def _work(self, items: list[Any]) -> list[Any]:
        try:
            return list(self._predict(items))
        except Exception as error:
            # One text that cannot be answered must not take its neighbours with it.
            return [self._work([item])[0] for item in items] if len(items) > 1 else [error]

    def _done(self, batch: list[Item], began: float, working: "asyncio.Future[list[Any]]") -> None:
        self._busy = False
        self._engine.running -= 1
        self._each += 0.2 * ((time.monotonic() - began) / len(batch) - self._each)
        error = working.exception() if not working.cancelled() else Failed(BUSY, "stopping", "the server is stopping")
        results = [error] * len(batch) if error else working.result()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self.start()
        self._engine.rest()
