"""Sums by time that are kept beside the rows, so that a dashboard reads buckets and never rows.

Every amount is a whole number (millionths of a value, microseconds, billionths of the currency): sums come out the same in any order, and
what is added can be taken away again without a rest.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table

from pp_resources.store.ids import MICRO
from pp_resources.store.schema import SLOTS, TRAFFIC_AMOUNTS, scores, traffic, upsert

MINUTE, HOUR, DAY = WIDTHS = (60, 3600, 86400)
# Half-octaves from 1/8 ms to 131 s: a quantile is read within 19 % of its value.
BOUNDS_MS = tuple(2 ** (step / 2) for step in range(-6, 35))
assert len(BOUNDS_MS) + 1 == SLOTS
NANO = 1_000_000_000
_SAFE = 1 << 62  # SQLite holds larger whole numbers as floats


class Place(NamedTuple):
    """Whose sums; `at` in microseconds."""

    task: str
    variant: str
    shadow: int
    at: int


class Deltas:
    """What one transaction adds to the sums. `kept` marks what outlives its rows: the sums of rows that were deleted."""

    def __init__(self) -> None:
        self.scores: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        self.traffic: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(TRAFFIC_AMOUNTS))

    def score(self, place: Place, metric: str, value: float, sign: int = 1, kept: int = 0) -> None:
        """A value that counts (+1) or counts no longer (-1)."""
        amounts = (sign, sign * round(value * MICRO), sign * round(value * value * MICRO))
        for width in WIDTHS:
            _add(self.scores[(width, place.task, _start(place.at, width), place.variant, place.shadow, kept, metric)], amounts)

    def request(self, row: Mapping[str, Any], sign: int = 1, kept: int = 0) -> None:
        """One inference, by its column values."""
        amounts = [sign * amount for amount in request_amounts(row)]
        for width in WIDTHS:
            key = (width, row["task"], _start(row["at"], width), row["variant"], row["shadow"], kept)
            _add(self.traffic[key], amounts)

    def write(self, db: Connection) -> None:
        """Add everything to the tables."""
        _write(db, scores, self.scores, ("n", "total", "squares"))
        _write(db, traffic, self.traffic, TRAFFIC_AMOUNTS)


def request_amounts(row: Mapping[str, Any]) -> list[int]:
    """What one inference adds, in the order of `TRAFFIC_AMOUNTS`."""
    latency = row["latency_ms"]
    counts = [0] * SLOTS
    if latency is not None:
        counts[bisect_left(BOUNDS_MS, latency)] = 1
    cost = row["cost"]
    return [
        1,
        int(row["error"] is not None),
        int(row["valid"] == 0 and row["valid"] is not None),
        int(cost is None),
        0 if cost is None else round(cost * NANO),
        row["tokens_in"] or 0,
        row["tokens_out"] or 0,
        int(latency is not None),
        0 if latency is None else round(latency * 1000),
        *counts,
    ]


def _start(at: int, width: int) -> int:
    return at // MICRO // width * width


def _add(sums: list[int], amounts: Iterable[int]) -> None:
    for place, amount in enumerate(amounts):
        if amount:
            sums[place] += amount


def _write(db: Connection, table: Table, sums: Mapping[tuple[Any, ...], list[int]], names: tuple[str, ...]) -> None:
    keys = [column.name for column in table.primary_key]
    # Always in the same order, so that two transactions wait for each other's rows instead of locking each other out.
    rows = [
        dict(zip(keys, key)) | {name: amount if -_SAFE < amount < _SAFE else float(amount) for name, amount in zip(names, amounts)}
        for key, amounts in sorted(sums.items())
        if any(amounts)
    ]
    if rows:
        insert = upsert(db)(table)
        added = {name: table.c[name] + insert.excluded[name] for name in names}
        db.execute(insert.on_conflict_do_update(index_elements=keys, set_=added), rows)
