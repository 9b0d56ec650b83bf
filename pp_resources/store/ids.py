"""Times and identifiers of rows: both grow within a process, whatever the clock does."""

import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

MICRO = 1_000_000
_lock = threading.Lock()
_last = 0
_clock: Callable[[], int] = time.time_ns
_drawn: list[int] = []
os.register_at_fork(after_in_child=_drawn.clear)  # two processes would give out the same


@contextmanager
def clock(read: Callable[[], int]) -> Iterator[None]:
    """Take the time (nanoseconds since 1970) from elsewhere, in the whole process: for simulations, whose days last seconds."""
    global _clock, _last
    before, _clock, _last = (_clock, _last), read, 0
    try:
        yield
    finally:
        _clock, _last = before


def now() -> int:
    """Microseconds since 1970 (UTC), larger at every call: a clock that is set back stands still here until it has caught up."""
    global _last
    with _lock:
        _last = max(_clock() // 1000, _last + 1)
        return _last


def uuid7(at: int | None = None) -> str:
    """A version 7 UUID (RFC 9562) of a time in microseconds: 48 bits of milliseconds, 12 of the rest, 62 random. Sorts by time."""
    milliseconds, rest = divmod(now() if at is None else at, 1000)
    random = _random_bits() >> 2
    parts = milliseconds >> 16 & 0xFFFFFFFF, milliseconds & 0xFFFF, rest, 0x8000 | random >> 48, random & 0xFFFFFFFFFFFF
    return "%08x-%04x-7%03x-%04x-%012x" % parts  # noqa: UP031  half the time of other ways to format


def _random_bits() -> int:
    """64 bits that nobody can guess, of many that were asked for at once: a system call for each gives away Python's lock."""
    try:
        return _drawn.pop()
    except IndexError:
        _drawn.extend(struct.unpack("<512Q", os.urandom(4096)))
        return _random_bits()


def iso(at: int) -> str:
    """`2026-11-01T09:30:00.000+00:00`."""
    return datetime.fromtimestamp(at / MICRO, UTC).isoformat(timespec="milliseconds")


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of a time; without a zone it is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * MICRO)
