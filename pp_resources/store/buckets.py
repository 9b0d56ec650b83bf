"""Sums by time that are kept beside the rows, so that a dashboard reads buckets and never rows.

Every amount is a whole number (millionths of a value, microseconds, billionths of the currency): sums come out the same in any order, and
what is added can be taken away again without a rest.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table

from pp_resources.store.ids import MICRO
from pp_resources.store.prepared import merge_rows
from pp_resources.store.schema import SLOTS, TRAFFIC_AMOUNTS, scores, traffic

MINUTE, HOUR, DAY = WIDTHS = (60, 3600, 86400)
# Half-octaves from 1/8 ms to 131 s: a quantile is read within 19 % of its value.
BOUNDS_MS = tuple(2 ** (step / 2) for step in range(-6, 35))
assert len(BOUNDS_MS) + 1 == SLOTS
NANO = 1_000_000_000
MINUTE_US = MINUTE * MICRO
_SAFE = 1 << 62  # SQLite holds larger whole numbers as floats

Sums = dict[tuple[Any, ...], list[int]]


class Place(NamedTuple):
    """Whose sums; `at` in microseconds."""

    task: str
    variant: str
    shadow: int
    at: int


class Deltas:
    """What one transaction adds to the sums, by minute. `kept` marks what outlives its rows: the sums of rows that were deleted."""

    def __init__(self) -> None:
        self._scores: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        self._traffic: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(TRAFFIC_AMOUNTS))

    def score(self, place: Place, metric: str, value: float, sign: int = 1, kept: int = 0) -> None:
        """A value that counts (+1) or counts no longer (-1)."""
        sums = self._scores[place.task, place.at // MINUTE_US, place.variant, place.shadow, kept, metric]
        sums[0] += sign
        sums[1] += sign * round(value * MICRO)
        sums[2] += sign * round(value * value * MICRO)

    def request(self, row: Mapping[str, Any], sign: int = 1, kept: int = 0) -> None:
        """One inference, by its column values."""
        sums = self._traffic[row["task"], row["at"] // MINUTE_US, row["variant"], row["shadow"], kept]
        latency, cost = row["latency_ms"], row["cost"]
        sums[0] += sign
        sums[1] += sign * (row["error"] is not None)
        sums[2] += sign * (row["valid"] == 0)
        sums[3] += sign * (cost is None)
        sums[4] += 0 if cost is None else sign * round(cost * NANO)
        sums[5] += sign * (row["tokens_in"] or 0)
        sums[6] += sign * (row["tokens_out"] or 0)
        if latency is not None:
            sums[7] += sign
            sums[8] += sign * round(latency * 1000)
            sums[-SLOTS + bisect_left(BOUNDS_MS, latency)] += sign

    def sums(self) -> tuple[Sums, Sums]:
        """What is added to the buckets of each width, for scores and for traffic, by primary key."""
        return _rolled_up(self._scores), _rolled_up(self._traffic)

    def write(self, db: Connection) -> None:
        """Add everything to the tables."""
        said, served = self.sums()
        _write(db, scores, said, ("n", "total", "squares"))
        _write(db, traffic, served, TRAFFIC_AMOUNTS)


def _rolled_up(by_minute: Sums) -> Sums:
    found: Sums = {}
    for (task, minute, *rest), amounts in by_minute.items():
        for width in WIDTHS:
            key = (width, task, minute * MINUTE // width * width, *rest)
            sums = found.get(key)
            found[key] = list(amounts) if sums is None else [a + b for a, b in zip(sums, amounts)]
    return {key: amounts for key, amounts in found.items() if any(amounts)}


def _write(db: Connection, table: Table, sums: Sums, names: tuple[str, ...]) -> None:
    keys = [column.name for column in table.primary_key]
    # Always in the same order, so that two transactions wait for each other's rows instead of locking each other out.
    rows = [
        dict(zip(keys, key)) | {name: amount if -_SAFE < amount < _SAFE else float(amount) for name, amount in zip(names, amounts)}
        for key, amounts in sorted(sums.items())
    ]
    merge_rows(db, table, rows, lambda old, new: {name: old[name] + new[name] for name in names})
