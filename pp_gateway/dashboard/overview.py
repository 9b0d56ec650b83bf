"""What the dashboard shows of one task: read from sums, indexes and the latest artifacts, so it costs the same at any number of rows."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pp_gateway.dashboard.figures import Figure, cost, latency, quality, share, together
from pp_resources.store.buckets import DAY, HOUR, MINUTE
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store
from pp_resources.store.read_trends import active_count, queued_series
from pp_resources.store.read_work import queue_counts, queue_items
from pp_resources.store.statistics import Score, Traffic, score_of, score_series, traffic_of, traffic_series

RANGES = {"1h": (HOUR, MINUTE), "24h": (DAY, HOUR), "7d": (7 * DAY, DAY), "30d": (30 * DAY, DAY), "90d": (90 * DAY, DAY)}
"""By name: how long it is, and the width of a bucket (seconds)."""
NOW_MINUTES = 5  # of requests that are "now"
NOW_QUALITY = HOUR  # feedback comes later than requests
WAITING = 5  # items of the queue that are shown
Sums = TypeVar("Sums", Score, Traffic)


class Question(NamedTuple):
    """`metric` "" is the one that the task declares, else the one with the most values."""

    task: str
    range: str = "24h"
    metric: str = ""


class Declared(NamedTuple):
    """What a task's configuration says: the metric that routing goes by, and its variants."""

    metric: str | None = None
    variants: Sequence[str] = ()


def overview(store: Store, question: Question, declared: Declared, now: float | None = None) -> dict[str, Any]:
    """All figures from the store, in plain values; times in seconds since 1970. Answers that nobody saw (`shadow`) are in `variants` alone.
    Raises StoreUnavailable."""
    at = time.time() if now is None else now
    task, (_, width) = question.task, RANGES[question.range]
    since = begin(question.range, at)
    metrics = _metrics(store, task)
    metric = question.metric or _primary(metrics, declared)
    scores, served = score_of(store, task=task, since=since), traffic_of(store, task=task, since=since)
    shown = together(_shown(served))
    queued = queued_series(store, task, width, since=since)
    return {
        "task": task,
        "range": question.range,
        "metric": metric,
        "metrics": [{"name": name, "n": n} for name, n in metrics.items()],
        "since": since,
        "width": width,
        "now": moment(store, task, metric, at),
        "whole": {**_bucket(shown, sum(queued.values())), "metrics": {name: quality(_of(scores, name)) for name in metrics}},
        "trends": _trends(store, task, width, since, at, queued),
        "variants": _variants(served, scores, metric, declared),
        "queue": _queue(store, task),
    }


def begin(range: str, at: float) -> int:
    """Where a range that ends now begins: at the start of a bucket, the present one counted whole."""
    span, width = RANGES[range]
    return (int(at) // width - span // width + 1) * width


def moment(store: Store, task: str, metric: str, at: float) -> dict[str, Any]:
    """What goes on now: sessions and requests of the last minutes, quality of the answers of the last hour."""
    since = (int(at) // MINUTE - NOW_MINUTES + 1) * MINUTE
    whole = together(_shown(traffic_of(store, task=task, since=since)))
    scores = score_of(store, task=task, since=int(at) - NOW_QUALITY)
    minutes = (at - since) / MINUTE
    return {
        "at": at,
        "minutes": NOW_MINUTES,
        "quality_minutes": NOW_QUALITY // MINUTE,
        "sessions": active_count(store, task, at - NOW_MINUTES * MINUTE),
        "requests": whole.requests,
        "per_minute": whole.requests / minutes,
        "quality": quality(_of(scores, metric)),
        "errors": share(whole.errors, whole.requests),
        **_latencies(whole),
    }


def _metrics(store: Store, task: str) -> dict[str, int]:
    """How many values each metric has had at any time, the commonest first."""
    found: dict[str, int] = defaultdict(int)
    for one in _shown(score_of(store, task=task)):
        found[one.metric] += one.n
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _primary(metrics: Mapping[str, int], declared: Declared) -> str:
    return declared.metric or next(iter(metrics), "")


def _shown(parts: Iterable[Sums]) -> list[Sums]:
    """Answers that people got from here: no copies for comparison, nothing said of answers from elsewhere."""
    return [one for one in parts if one.variant and not one.shadow]


def _of(scores: Iterable[Score], metric: str) -> list[Score]:
    return [one for one in _shown(scores) if one.metric == metric]


def _latencies(whole: Traffic) -> dict[str, Figure]:
    return {"p50": latency(whole, 0.5), "p95": latency(whole, 0.95)}


def _escalated(queued: int, requests: int) -> Figure:
    """The share of requests that was put before people. Items of earlier requests can outnumber those of a short time."""
    if queued > requests:
        return share(0, 0, f"{queued} items for people, {requests} requests")
    return share(queued, requests)


def _trends(store: Store, task: str, width: int, since: int, at: float, queued: Mapping[int, int]) -> dict[str, Any]:
    """By bucket, the empty ones left out: requests, shares and quantiles, and each metric."""
    served = _by_start(_shown(traffic_series(store, task, width, since=since, histograms=True)))
    said: dict[str, list[Score]] = defaultdict(list)
    for one in _shown(score_series(store, task, width, since=since)):
        said[one.metric].append(one)
    return {
        "starts": [since, (int(at) // width + 1) * width],
        "traffic": [{"start": start, **_bucket(together(mine), queued.get(start, 0))} for start, mine in sorted(served.items())],
        "metrics": {
            name: [{"start": start, **quality(mine)} for start, mine in sorted(_by_start(parts).items())]
            for name, parts in sorted(said.items())
        },
    }


def _bucket(whole: Traffic, queued: int) -> dict[str, Any]:
    return {
        "requests": whole.requests,
        "errors": share(whole.errors, whole.requests),
        "escalated": _escalated(queued, whole.requests),
        **_latencies(whole),
    }


def _by_start(parts: Iterable[Sums]) -> dict[int, list[Sums]]:
    found: dict[int, list[Sums]] = defaultdict(list)
    for one in parts:
        found[one.start].append(one)
    return found


def _variants(served: Sequence[Traffic], scores: Sequence[Score], metric: str, declared: Declared) -> list[dict[str, Any]]:
    """Each variant that answered or is declared, by its part in the requests; copies of it that nobody saw apart. "" stands for answers
    from elsewhere that feedback came for."""
    total = sum(one.requests for one in _shown(served))
    by_name = {(one.variant, one.shadow): one for one in served}
    names = {*by_name, *((one.variant, one.shadow) for one in scores)}
    names |= {(name, False) for name in declared.variants if (name, True) not in names}
    found = []
    for name, shadow in sorted(names):
        own = by_name.get((name, shadow)) or together(())
        said = [one for one in scores if (one.variant, one.shadow) == (name, shadow)]
        entry = {
            "use": None if shadow or not name else share(own.requests, total),
            "quality": quality(one for one in said if one.metric == metric),
            "cost": cost(own),
            "requests": own.requests,
            "errors": share(own.errors, own.requests),
            "invalid": share(own.invalid, own.requests),
        }
        found.append({"name": name, "shadow": shadow, **entry, **_latencies(own)})
    return sorted(found, key=lambda one: (one["shadow"], -one["requests"], one["name"]))


def _queue(store: Store, task: str) -> dict[str, Any]:
    """How many items there are by state, and those that have waited longest."""
    items = [{"id": one["id"], "reason": one["reason"], "at": one["at"] / MICRO} for one in queue_items(store, task=task, limit=WAITING)]
    return {"counts": queue_counts(store, task), "items": items}
