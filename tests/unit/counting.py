"""What a piece of work takes, in numbers that a busy machine does not change: how it grows with its input, and never seconds."""

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any


def lines_run(work: Callable[[], Any]) -> int:
    """Lines of Python that are run, each turn of a loop anew; what a C function does in one call is one line."""
    count = 0

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def bytes_held(work: Callable[[], Any]) -> int:
    """The most memory that it holds at once, that of arrays included."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth(work: Callable[[int], Callable[[], Any]], size: int, measure: Callable[[Callable[[], Any]], int]) -> float:
    """How many times as much `work(2 * size)` takes as `work(size)`: 2 where it is proportional, 4 where it is quadratic."""
    small, large = work(size), work(2 * size)
    small()  # imports and caches are made once
    return measure(large) / measure(small)
