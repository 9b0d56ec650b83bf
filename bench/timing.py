"""Times of things that are compared: run in turn in one process, so that a busy machine slows all of them alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple


class Time(NamedTuple):
    """Seconds: `cpu` of this process (all threads added up), `wall` by the clock."""

    cpu: float
    wall: float


def timed(call: Callable[[], object]) -> Time:
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Time(time.process_time() - cpu, time.perf_counter() - wall)


def medians(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Time]:
    """Median times by name, of `repeats` rounds in each of which every call is made once."""
    rounds = [{name: timed(call) for name, call in calls.items()} for _ in range(repeats)]
    return {name: Time(median(r[name].cpu for r in rounds), median(r[name].wall for r in rounds)) for name in calls}
