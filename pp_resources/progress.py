"""Progress of long work, for whoever watches: the work says how far it is, the door that started it decides where that is shown.

The watcher is found through a context variable, so that nothing between the two (stages, assets, Dagster) has to know of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[str, int, int, str], None]
"""Hears (title, steps done, steps in all, detail). Work that ends early says that it was only as many steps as were done."""

_watcher: ContextVar[Watcher | None] = ContextVar("pp_progress", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """All progress of this context goes to `watcher`."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


@contextmanager
def steps(title: str, total: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """Yields `advance(detail)`, to be called after each of `total` steps, of which `done` were done before (a resumed run)."""
    watcher = _watcher.get()
    if watcher is None:
        yield lambda _detail: None
        return
    count = done
    watcher(title, count, total, "")

    def advance(detail: str) -> None:
        nonlocal count
        count += 1
        watcher(title, count, total, detail)

    try:
        yield advance
    finally:
        if count < total:
            watcher(title, count, count, "")
