"""Counters for Prometheus, of one worker; with several, of all together where PROMETHEUS_MULTIPROC_DIR names their folder."""

import os
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What is counted of requests, answers and rows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("pp_requests", "requests by path and status", ["path", "status"], **options)
        self._answers = Counter("pp_answers", "answers by task and variant", ["task", "variant", "outcome"], **options)
        self._seconds = Histogram(
            "pp_answer_seconds", "time until an answer was there, its row included", ["task"], buckets=SECONDS, **options
        )
        self._fallbacks = Counter("pp_fallbacks", "variants that could not answer", ["task", "variant", "code"], **options)
        self._tokens = Counter("pp_tokens", "tokens", ["task", "variant", "direction"], **options)
        self._cost = Counter("pp_cost_dollars", "cost of priced answers in US dollars", ["task", "variant"], **options)
        self._copies = Counter("pp_shadow_copies", "copies for shadow variants", ["task", "variant", "outcome"], **options)
        self._handoffs = Counter("pp_handoffs", "answers that a person should look at", ["task", "reason", "outcome"], **options)
        self._reloads = Counter("pp_reloads", "configurations read again", ["outcome"], **options)
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        self._children: dict[tuple[Any, ...], Any] = {}

    def request(self, path: str, status: int) -> None:
        self._of(self._requests, path, str(status)).inc()

    def answer(self, task: str, variant: str, outcome: str, seconds: float) -> None:
        self._of(self._answers, task, variant, outcome).inc()
        self._of(self._seconds, task).observe(seconds)

    def spent(self, task: str, variant: str, tokens_in: int | None, tokens_out: int | None, cost: float | None) -> None:
        for direction, count in (("in", tokens_in), ("out", tokens_out)):
            if count:
                self._of(self._tokens, task, variant, direction).inc(count)
        if cost:
            self._of(self._cost, task, variant).inc(cost)

    def fallback(self, task: str, variant: str, code: str) -> None:
        self._of(self._fallbacks, task, variant, code).inc()

    def copy(self, task: str, variant: str, outcome: str) -> None:
        self._of(self._copies, task, variant, outcome).inc()

    def handoff(self, task: str, reason: str, outcome: str) -> None:
        self._of(self._handoffs, task, reason, outcome).inc()

    def reload(self, outcome: str) -> None:
        self._of(self._reloads, outcome).inc()

    def gauge(self, name: str, help: str, value: Callable[[], float]) -> None:
        """A value that is looked at when the page is read."""
        made = Gauge(name, help, registry=self.registry, multiprocess_mode="livesum")
        self._gauges.append((made, value))

    def page(self) -> bytes:
        for made, value in self._gauges:
            made.set(value())
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _of(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)  # the library looks labels up under a lock
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child
