"""What the sums say: by variant over a range of time, and over time. No row of an inference is read, so it costs the same at any size."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any

from sqlalchemy import Connection, Table, func, select

from pp_resources.errors import UserError
from pp_resources.store.buckets import BOUNDS_MS, DAY, HOUR, MINUTE, NANO, WIDTHS
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store
from pp_resources.store.schema import SLOTS, TRAFFIC_AMOUNTS, scores, traffic

AGES = 1 << 40  # seconds: beyond every bucket


@dataclass(frozen=True)
class Score:
    """A metric of one variant: `n` targets with a value, their mean and sample standard deviation (None below two)."""

    task: str
    variant: str
    shadow: bool
    metric: str
    n: int
    mean: float
    sd: float | None
    start: int = 0


@dataclass(frozen=True)
class Traffic:
    """Requests of one variant. `cost` is the sum over priced requests, None where none was; `latency_ms` the mean over timed ones.

    `histogram` counts latencies up to each of `BOUNDS_MS`, and beyond the last.
    """

    task: str
    variant: str
    shadow: bool
    requests: int
    errors: int
    invalid: int
    unpriced: int
    cost: float | None
    tokens_in: int
    tokens_out: int
    latency_ms: float | None
    histogram: tuple[int, ...]
    start: int = 0

    def quantile(self, share: float) -> float | None:
        """Latency (ms) that a share of the timed requests kept, within 19 %; None where none was timed or it lies beyond the last bound."""
        left = share * sum(self.histogram)
        if not left:
            return None
        for slot, count in enumerate(self.histogram[:-1]):
            if count and left <= count:
                low = BOUNDS_MS[slot - 1] if slot else 0.0
                return low + (BOUNDS_MS[slot] - low) * left / count
            left -= count
        return None


def score_of(store: Store, *, task: str | None = None, since: int | None = None, until: int | None = None) -> list[Score]:
    """Each metric of each variant over a range of whole minutes (seconds since 1970), all of time by default.

    A value belongs to the time of its inference; one on an episode or on an input of its own to the time of the feedback. Only the
    last value on a target counts (`rows.Feedback`).
    """
    with store.reading() as db:
        found = _sums(db, scores, ("n", "total", "squares"), task, since, until, "metric")
    return [_score(key, amounts) for key, amounts in sorted(found.items()) if amounts[0]]


def traffic_of(store: Store, *, task: str | None = None, since: int | None = None, until: int | None = None) -> list[Traffic]:
    """The requests of each variant over a range of whole minutes (seconds since 1970), all of time by default."""
    with store.reading() as db:
        found = _sums(db, traffic, TRAFFIC_AMOUNTS, task, since, until)
    return [_traffic(key, amounts) for key, amounts in sorted(found.items()) if amounts[0]]


def score_series(store: Store, task: str, width: int, *, metric: str | None = None, since: int = 0, until: int = AGES) -> list[Score]:
    """Each metric of each variant by bucket (`width` 60, 3600 or 86400 seconds, `start` in seconds), oldest first."""
    only = () if metric is None else (scores.c.metric == metric,)
    with store.reading() as db:
        found = _by_bucket(db, scores, ("n", "total", "squares"), width, task, since, until, *only)
    return [_score(key[1:], amounts, key[0]) for key, amounts in sorted(found.items()) if amounts[0]]


def traffic_series(store: Store, task: str | None, width: int, *, since: int = 0, until: int = AGES) -> list[Traffic]:
    """The requests of each variant by bucket, oldest first."""
    with store.reading() as db:
        found = _by_bucket(db, traffic, TRAFFIC_AMOUNTS, width, task, since, until)
    return [_traffic(key[1:], amounts, key[0]) for key, amounts in sorted(found.items()) if amounts[0]]


def _sums(db: Connection, table: Table, names: tuple[str, ...], task: str | None, since: int | None, until: int | None, *more: str) -> dict:
    """Sums of the amounts by (task, variant, shadow, *more), from the widest buckets that fill the range."""
    keys = [table.c[name] for name in ("task", "variant", "shadow", *more)]
    found: dict[Any, list[int]] = defaultdict(lambda: [0] * len(names))
    for width, low, high in _cover(since, until):
        query = select(*keys, *(func.sum(table.c[name]) for name in names)).group_by(*keys)
        query = query.where(table.c.width == width, table.c.start >= low, table.c.start < high)
        for row in db.execute(query if task is None else query.where(table.c.task == task)):
            sums = found[tuple(row[: len(keys)])]
            for place, amount in enumerate(row[len(keys) :]):
                sums[place] += int(amount)
    return found


def _by_bucket(db: Connection, table: Table, names: tuple[str, ...], width: int, task: str | None, low: int, high: int, *only: Any) -> dict:
    """Sums by (start, task, variant, shadow[, metric]) of one width; those of deleted rows with those of rows."""
    if width not in WIDTHS:
        raise UserError(f"no buckets of {width} s", where="time series", how=f"give one of {', '.join(map(str, WIDTHS))}")
    keys = [table.c.start, table.c.task, table.c.variant, table.c.shadow, *([table.c.metric] if table is scores else [])]
    query = select(*keys, *(func.sum(table.c[name]) for name in names)).group_by(*keys)
    query = query.where(table.c.width == width, table.c.start >= low, table.c.start < high, *only)
    rows = db.execute(query if task is None else query.where(table.c.task == task))
    return {tuple(row[: len(keys)]): [int(amount) for amount in row[len(keys) :]] for row in rows}


def _cover(since: int | None, until: int | None) -> Iterator[tuple[int, int, int]]:
    """(width, start, end): days where whole days fit into the range, hours and minutes at its ends; at most 59 + 23 of these at either."""
    low = 0 if since is None else since // MINUTE * MINUTE
    high = AGES // DAY * DAY if until is None else -(-until // MINUTE) * MINUTE
    ends: list[tuple[int, int, int]] = []
    for width, wider in ((MINUTE, HOUR), (HOUR, DAY)):
        first, last = min(-(-low // wider) * wider, high), max(high // wider * wider, low)
        if first >= last:
            ends.append((width, low, high))
            low = high
            break
        ends += [(width, low, first), (width, last, high)]
        low, high = first, last
    yield from (part for part in (*ends, (DAY, low, high)) if part[1] < part[2])


def _score(key: tuple[Any, ...], amounts: list[int], start: int = 0) -> Score:
    n, total, squares = amounts[0], amounts[1] / MICRO, amounts[2] / MICRO
    variance = max(0.0, (squares - total * total / n) / (n - 1)) if n > 1 else None
    return Score(key[0], key[1], bool(key[2]), key[3], n, total / n, None if variance is None else sqrt(variance), start)


def _traffic(key: tuple[Any, ...], amounts: list[int], start: int = 0) -> Traffic:
    one = dict(zip(TRAFFIC_AMOUNTS, amounts))
    counts = {name: one[name] for name in ("requests", "errors", "invalid", "unpriced", "tokens_in", "tokens_out")}
    cost = one["cost"] / NANO if one["unpriced"] < one["requests"] else None
    latency = one["latency"] / 1000 / one["timed"] if one["timed"] else None
    return Traffic(key[0], key[1], bool(key[2]), cost=cost, latency_ms=latency, histogram=tuple(amounts[-SLOTS:]), start=start, **counts)
