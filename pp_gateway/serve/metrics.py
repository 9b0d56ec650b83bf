"""Counters for Prometheus, of one worker; with several, of all together where PROMETHEUS_MULTIPROC_DIR names their folder."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARED = 1.0  # seconds after which all workers tell of what one has counted
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What is counted of requests, answers and rows. The library hears of it when somebody reads, and every SHARED seconds: it takes a lock
    for every count."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("pp_requests", "requests by path and status", ["path", "status"], **options)
        self._answers = Counter("pp_answers", "answers by task and variant", ["task", "variant", "outcome"], **options)
        seconds = Histogram("pp_answer_seconds", "time until an answer was there, its row included", ["task"], buckets=SECONDS, **options)
        self._seconds_of = cache(seconds.labels)
        self._fallbacks = Counter("pp_fallbacks", "variants that could not answer", ["task", "variant", "code"], **options)
        self._tokens = Counter("pp_tokens", "tokens", ["task", "variant", "direction"], **options)
        self._cost = Counter("pp_cost_dollars", "cost of priced answers in US dollars", ["task", "variant"], **options)
        self._copies = Counter("pp_shadow_copies", "copies for shadow variants", ["task", "variant", "outcome"], **options)
        self._handoffs = Counter("pp_handoffs", "answers that a person should look at", ["task", "reason", "outcome"], **options)
        self._reloads = Counter("pp_reloads", "configurations read again", ["outcome"], **options)
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        self._counted: dict[tuple[Any, ...], float] = defaultdict(float)  # by counter and labels

    def request(self, path: str, status: int) -> None:
        self._counted[self._requests, path, status] += 1

    def answer(self, task: str, variant: str, outcome: str, seconds: float) -> None:
        self._counted[self._answers, task, variant, outcome] += 1
        self._seconds_of(task).observe(seconds)

    def spent(self, task: str, variant: str, tokens_in: int | None, tokens_out: int | None, cost: float | None) -> None:
        if tokens_in:
            self._counted[self._tokens, task, variant, "in"] += tokens_in
        if tokens_out:
            self._counted[self._tokens, task, variant, "out"] += tokens_out
        if cost:
            self._counted[self._cost, task, variant] += cost

    def fallback(self, task: str, variant: str, code: str) -> None:
        self._counted[self._fallbacks, task, variant, code] += 1

    def copy(self, task: str, variant: str, outcome: str) -> None:
        self._counted[self._copies, task, variant, outcome] += 1

    def handoff(self, task: str, reason: str, outcome: str) -> None:
        self._counted[self._handoffs, task, reason, outcome] += 1

    def reload(self, outcome: str) -> None:
        self._counted[self._reloads, outcome] += 1

    def gauge(self, name: str, help: str, value: Callable[[], float]) -> None:
        """A value that is looked at when the page is read."""
        made = Gauge(name, help, registry=self.registry, multiprocess_mode="livesum")
        self._gauges.append((made, value))

    def page(self) -> bytes:
        self.hand_over()
        for made, value in self._gauges:
            made.set(value())
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    async def share(self) -> None:
        """Hand over what is counted, for ever."""
        while True:
            await asyncio.sleep(SHARED)
            self.hand_over()

    def hand_over(self) -> None:
        """Have the library count it."""
        counted, self._counted = self._counted, defaultdict(float)
        for (metric, *labels), amount in counted.items():
            metric.labels(*labels).inc(amount)
