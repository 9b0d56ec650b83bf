"""What the sums say: by variant over a range of time, and over time. No row of an inference is read, so it costs the same at any size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, select

from pp_resources.errors import UserError
from pp_resources.store.buckets import BOUNDS_MS, DAY, HOUR, MINUTE, NANO, WIDTHS
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store
from pp_resources.store.prepared import read
from pp_resources.store.schema import HISTOGRAM, SLOTS, TRAFFIC_AMOUNTS, scores, traffic

AGES = 1 << 40  # seconds: beyond every bucket

Part = tuple[int, int, int]
"""Width, start and end of a run of buckets (seconds)."""


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


def tasks_of(store: Store) -> list[str]:
    """All tasks that requests or feedback came for, in order."""
    with store.reading() as db:
        return sorted({*_tasks(db, traffic), *_tasks(db, scores)})


def score_of(store: Store, *, task: str | None = None, since: int | None = None, until: int | None = None) -> list[Score]:
    """Each metric of each variant over a range of whole minutes (seconds since 1970), all of time by default.

    A value belongs to the time of its inference; one on an episode or on an input of its own to the time of the feedback. Only the
    last value on a target counts (`rows.Feedback`).
    """
    return [_score(*one) for one in _sums(store, scores, task, _cover(since, until))]


def traffic_of(store: Store, *, task: str | None = None, since: int | None = None, until: int | None = None) -> list[Traffic]:
    """The requests of each variant over a range of whole minutes (seconds since 1970), all of time by default."""
    return [_traffic(*one) for one in _sums(store, traffic, task, _cover(since, until))]


def score_series(
    store: Store, task: str | None, width: int, *, metric: str | None = None, since: int = 0, until: int = AGES
) -> list[Score]:
    """Each metric of each variant by bucket (`width` 60, 3600 or 86400 seconds, `start` in seconds), oldest first."""
    found = _sums(store, scores, task, [_known(width, since, until)], by_start=True)
    return [_score(*one) for one in found if metric is None or one[0][-1] == metric]


def traffic_series(
    store: Store, task: str | None, width: int, *, since: int = 0, until: int = AGES, histograms: bool = False
) -> list[Traffic]:
    """The requests of each variant by bucket, oldest first; without `histograms` theirs are empty, which is four times as fast."""
    found = _sums(store, traffic, task, [_known(width, since, until)], by_start=True, histograms=histograms)
    return [_traffic(*one) for one in found]


def _sums(
    store: Store, table: Table, task: str | None, parts: Iterable[Part], by_start: bool = False, histograms: bool = True
) -> list[tuple[Any, list[int]]]:
    """(start or 0, task, variant, shadow[, metric]) and the amounts, in order; of rows and of deleted rows together."""
    c = table.c
    wanted = [column for column in c if not column.primary_key and (histograms or column.name not in HISTOGRAM)]
    # In the order of the primary key, so that grouping needs no sorting.
    keys = [c.task, *([c.start] if by_start else []), c.variant, c.shadow, *([c.metric] if table is scores else [])]

    def build() -> Any:
        made = select(*keys, *map(func.sum, wanted)).group_by(*keys).where(c.width == bindparam("width"))
        return made.where(c.task == bindparam("task"), c.start >= bindparam("low"), c.start < bindparam("high"))

    found: dict[Any, list[int]] = {}
    with store.reading() as db:
        for (width, low, high), one in product(parts, _tasks(db, table) if task is None else [task]):
            values = {"width": width, "low": low, "high": high, "task": one}
            for row in read(db, ("sums", table, by_start, histograms), build, values):
                names = row[: len(keys)]
                key = (names[1], names[0], *names[2:]) if by_start else (0, *names)
                amounts = list(map(int, row[len(keys) :]))
                sums = found.get(key)
                found[key] = amounts if sums is None else [a + b for a, b in zip(sums, amounts)]
    return [(key, amounts) for key, amounts in sorted(found.items()) if amounts[0]]


def _tasks(db: Connection, table: Table) -> list[str]:
    """All tasks, one look into the index for each: without a task, a range of minutes would read the minutes of all time."""
    found: list[str] = []
    query = select(func.min(table.c.task)).where(table.c.width == bindparam("width"), table.c.task > bindparam("last"))
    while (task := read(db, ("next task", table), lambda: query, {"width": DAY, "last": found[-1] if found else ""}).scalar()) is not None:
        found.append(task)
    return found


def _known(width: int, low: int, high: int) -> Part:
    if width not in WIDTHS:
        raise UserError(f"no buckets of {width} s", where="time series", how=f"give one of {', '.join(map(str, WIDTHS))}")
    return width, low, high


def _cover(since: int | None, until: int | None) -> Iterator[Part]:
    """(width, start, end): days where whole days fit into the range, hours and minutes at its ends; at most 59 + 23 of these at either."""
    low = 0 if since is None else since // MINUTE * MINUTE
    high = AGES // DAY * DAY if until is None else -(-until // MINUTE) * MINUTE
    ends: list[Part] = []
    for width, wider in ((MINUTE, HOUR), (HOUR, DAY)):
        first, last = min(-(-low // wider) * wider, high), max(high // wider * wider, low)
        if first >= last:
            ends.append((width, low, high))
            low = high
            break
        ends += [(width, low, first), (width, last, high)]
        low, high = first, last
    yield from (part for part in (*ends, (DAY, low, high)) if part[1] < part[2])


def _score(key: tuple[Any, ...], amounts: list[int]) -> Score:
    n, total, squares = amounts[0], amounts[1] / MICRO, amounts[2] / MICRO
    variance = max(0.0, (squares - total * total / n) / (n - 1)) if n > 1 else None
    start, task, variant, shadow, metric = key
    return Score(task, variant, bool(shadow), metric, n, total / n, None if variance is None else sqrt(variance), start)


def _traffic(key: tuple[Any, ...], amounts: list[int]) -> Traffic:
    one = dict(zip(TRAFFIC_AMOUNTS, amounts))
    counts = {name: one[name] for name in ("requests", "errors", "invalid", "unpriced", "tokens_in", "tokens_out")}
    cost = one["cost"] / NANO if one["unpriced"] < one["requests"] else None
    latency = one["latency"] / 1000 / one["timed"] if one["timed"] else None
    start, task, variant, shadow = key
    return Traffic(
        task,
        variant,
        bool(shadow),
        cost=cost,
        latency_ms=latency,
        histogram=tuple(amounts[-SLOTS:]) if len(amounts) > SLOTS else (),
        start=start,
        **counts,
    )
