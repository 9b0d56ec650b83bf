"""A figure with its interval and its n, from sums. All intervals are of 95 %; where none can be given the figure says why."""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any

import scipy

from pp_assets.evaluation.stats.intervals import wilson
from pp_resources.store.statistics import Score, Traffic

Figure = dict[str, Any]
"""`value`, `low` and `high` (None where they are unknown), `n`, `interval` (how it was made) and `why` there is none."""
Z = float(scipy.special.ndtri(0.975))
EXACT = 1e-6  # of a value: what the store's sums keep


def share(hits: int, n: int, none: str = "no requests") -> Figure:
    """A share with its Wilson interval; `none` says why there is none of nothing."""
    if not n:
        return _unknown(0, none)
    return _figure(hits / n, *wilson(hits, n), n, "Wilson")


def quality(scores: Iterable[Score]) -> Figure:
    """The mean of a metric over all values together: of zeros and ones a share with Wilson's interval, else with that of Student's t."""
    parts = [one for one in scores if one.n]
    n = sum(one.n for one in parts)
    if not n:
        return _unknown(0, "no feedback")
    total, squares = sum(one.n * one.mean for one in parts), sum(map(_squares, parts))
    mean = total / n
    # Of values in 0..1 only zeros and ones are their own squares.
    if abs(squares - total) <= EXACT * n and -EXACT <= mean <= 1 + EXACT:
        return share(round(total), n)
    if n < 2:
        return _figure(mean, None, None, n, None, "one value has no interval")
    half = float(scipy.special.stdtrit(n - 1, 0.975)) * sqrt(max(0.0, squares - n * mean * mean) / (n - 1) / n)
    return _figure(mean, mean - half, mean + half, n, "Student's t")


def _squares(one: Score) -> float:
    # A single value has no standard deviation; its square is known all the same.
    return (0.0 if one.sd is None else one.sd * one.sd * (one.n - 1)) + one.n * one.mean * one.mean


def latency(whole: Traffic, quantile: float) -> Figure:
    """A quantile of the latency (ms), read from the histogram within 19 %, with the interval that the order statistics give: the quantiles
    at `quantile` ± 1.96 standard errors of a share."""
    n = sum(whole.histogram)
    value = whole.quantile(quantile) if n else None
    if value is None:
        return _unknown(n, "beyond the slowest bucket" if n else "no timed requests")
    half = Z * sqrt(quantile * (1 - quantile) / n)
    if quantile - half <= 0 or quantile + half >= 1:
        return _figure(value, None, None, n, None, "too few for an interval")
    return _figure(value, whole.quantile(quantile - half), whole.quantile(quantile + half), n, "order statistics")


def cost(part: Traffic) -> Figure:
    """The mean cost of a priced answer (US dollars). No interval: the sums keep no squares of costs."""
    n = part.requests - part.unpriced
    if part.cost is None or not n:
        return _unknown(0, "unpriced")
    return _figure(part.cost / n, None, None, n, None, "no interval")


def together(parts: Sequence[Traffic]) -> Traffic:
    """The requests of several variants or times as one."""
    priced = [one.cost for one in parts if one.cost is not None]
    timed = [(sum(one.histogram), one.latency_ms) for one in parts if one.latency_ms is not None and one.histogram]
    count = sum(n for n, _ in timed)
    names = ("requests", "errors", "invalid", "unpriced", "tokens_in", "tokens_out")
    return Traffic(
        task=parts[0].task if parts else "",
        variant="",
        shadow=False,
        cost=sum(priced) if priced else None,
        latency_ms=sum(n * mean for n, mean in timed) / count if count else None,
        histogram=tuple(map(sum, zip(*(one.histogram for one in parts)))),
        **{name: sum(getattr(one, name) for one in parts) for name in names},
    )


def _figure(value: float, low: float | None, high: float | None, n: int, interval: str | None, why: str | None = None) -> Figure:
    return {"value": value, "low": low, "high": high, "n": n, "interval": interval, "why": why}


def _unknown(n: int, why: str) -> Figure:
    return {"value": None, "low": None, "high": None, "n": n, "interval": None, "why": why}
