"""What work buys of a provider, for whoever answers for the work: asked for at the door, counted where it is bought.

The meter is found through a context variable when a provider is opened, since its answers are bought in threads of its own.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Meter:
    """Requests that were paid for, and their tokens. Answers that were kept cost nothing and are not in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.tokens_in = self.tokens_out = 0

    def add(self, tokens_in: int, tokens_out: int) -> None:
        with self._lock:
            self.requests += 1
            self.tokens_in += tokens_in
            self.tokens_out += tokens_out


_meter: ContextVar[Meter | None] = ContextVar("pp_spending", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """All that providers opened in this context sell goes to the meter."""
    made = Meter()
    before = _meter.set(made)
    try:
        yield made
    finally:
        _meter.reset(before)


def meter() -> Meter | None:
    """That of this context."""
    return _meter.get()
