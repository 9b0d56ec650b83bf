"""Readings that are shared: however many people look, a question is read once at a time, and while the store is away the last answer stays
and says since when it is old."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pp_resources.store.engine import StoreUnavailable

FRESH = 1.0  # seconds for which an answer is given again
PATIENCE = 1.5  # seconds for which a reader waits where there is an older answer
RETRY = 2.0  # seconds after a failed reading
MOST = 128  # questions whose answers are kept
Read = Callable[[], dict[str, Any]]


@dataclass
class _Kept:
    value: dict[str, Any] | None = None
    read_at: float = 0.0  # by the clock
    fresh_until: float = 0.0  # by time.monotonic
    error: StoreUnavailable | None = None
    reading: "asyncio.Task[None] | None" = None


class Snapshots:
    """Belongs to one event loop."""

    def __init__(self, *, fresh: float = FRESH, patience: float = PATIENCE, retry: float = RETRY) -> None:
        self._fresh, self._patience, self._retry = fresh, patience, retry
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        # Of its own: a database that hangs holds up no other thread of the gateway.
        self._threads = ThreadPoolExecutor(2, "dashboard")

    async def get(self, question: Hashable, read: Read) -> dict[str, Any]:
        """The answer, with `stale`: None, or since when it is old (seconds since 1970) and why. Raises StoreUnavailable where there never
        was one; whatever else `read` raises passes as it is."""
        kept = self._kept.setdefault(question, _Kept())
        self._kept.move_to_end(question)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        if time.monotonic() >= kept.fresh_until:
            if kept.reading is None or kept.reading.done():
                kept.reading = asyncio.get_running_loop().create_task(self._refresh(kept, read))
            # Shielded: others wait for the same reading.
            done, _ = await asyncio.wait({kept.reading}, timeout=self._patience if kept.value is not None else None)
            for one in done:
                one.result()
        if kept.value is None:
            assert kept.error is not None
            raise kept.error
        late = time.monotonic() >= kept.fresh_until
        stale = {"since": kept.read_at, "why": str(kept.error or "the store does not answer")} if kept.error or late else None
        return {**kept.value, "stale": stale}

    async def _refresh(self, kept: _Kept, read: Read) -> None:
        try:
            kept.value = await asyncio.get_running_loop().run_in_executor(self._threads, read)
        except StoreUnavailable as error:
            kept.error, kept.fresh_until = error, time.monotonic() + self._retry
        else:
            kept.error, kept.read_at, kept.fresh_until = None, time.time(), time.monotonic() + self._fresh
