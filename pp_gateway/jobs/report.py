"""What a running job tells, as events of the store: messages, progress with ETA, spend, rows."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pp_assets.flows.estimate import Estimate
from pp_gateway.jobs.records import DATA, MESSAGE, PROGRESS, SPEND
from pp_resources.spending import Meter
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store
from pp_resources.store.work import JobEvent

PAUSE = 0.5  # seconds between two events of progress, and at most before a row is seen; of long jobs a part of their time
PART = 500
ROWS = 200  # of one transaction
AWAY, RETRY = 600.0, 1.0  # seconds that a job waits for a store that is away, and between two tries


class Events:
    """A `pp_assets.flows.work.Report`, and a watcher of progress. `prices`: US dollars a million tokens in and out, None unpriced."""

    def __init__(
        self,
        store: Store,
        job: str,
        meter: Meter,
        *,
        earlier: Sequence[float] = (),
        prices: tuple[float | None, float | None] = (None, None),
        clean: Callable[[str], str] = str,
    ) -> None:
        self._store, self._job, self._meter, self._prices, self._clean = store, job, meter, prices, clean
        self._estimate = Estimate(earlier)
        self._began = self._told = self._flushed = time.monotonic()
        self._rows: list[JobEvent] = []
        self._progress: dict[str, Any] = Estimate().told()  # nothing is known, which nobody is told
        self._spent = 0
        self._lock = threading.Lock()

    def message(self, text: str) -> None:
        self.write(MESSAGE, {"text": self._clean(text)})
        self.tell()

    def row(self, value: Mapping[str, Any]) -> None:
        """Rows come in parts, each within half a second of the next one."""
        self._rows.append(JobEvent(job=self._job, kind=DATA, data=dict(value)))
        if len(self._rows) >= ROWS or time.monotonic() - self._flushed >= PAUSE:
            self.flush()

    def hear(self, title: str, done: int, total: int, detail: str) -> None:
        """Progress, at most every half second, of a job of an hour every seven."""
        with self._lock:
            self._estimate.hear(title, done, total, detail)
            at = time.monotonic()
            if at - self._told < max(PAUSE, (at - self._began) / PART):
                return
            self._told = at
        self.tell()

    def tell(self) -> None:
        """How far it is now, where that is news."""
        told = self._estimate.told()
        if told != self._progress:
            self._progress = told
            self.write(PROGRESS, told)
        self.flush()

    def spend(self) -> dict[str, Any]:
        """Requests and tokens that were bought, and what they cost; None where no price is known."""
        meter, (price_in, price_out) = self._meter, self._prices
        cost = None if price_in is None or price_out is None else (meter.tokens_in * price_in + meter.tokens_out * price_out) / 1e6
        return {"requests": meter.requests, "tokens_in": meter.tokens_in, "tokens_out": meter.tokens_out, "cost": cost}

    def flush(self) -> None:
        """Rows and spend to the store."""
        rows, self._rows, self._flushed = self._rows, [], time.monotonic()
        if self._meter.requests != self._spent:
            self._spent = self._meter.requests
            rows.append(JobEvent(job=self._job, kind=SPEND, data=self.spend()))
        if rows:
            self._write(rows)

    def write(self, kind: str, data: Mapping[str, Any], state: str | None = None) -> None:
        """An event, after the rows that were before it."""
        self.flush()
        self._write([JobEvent(job=self._job, kind=kind, data=dict(data), state=state)])

    def _write(self, rows: Sequence[JobEvent]) -> None:
        """A store that is away holds the job up and does not end it; rows that are written twice are there once."""
        until = time.monotonic() + AWAY
        while True:
            try:
                results = self._store.write_many(rows)
                break
            except StoreUnavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(RETRY)
        for result in results:
            if isinstance(result, Exception):
                raise result
