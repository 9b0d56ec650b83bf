"""Memory that was freed goes back to the system."""

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """What was freed in pieces: glibc keeps it below whatever is still in use, and each epoch of a training leaves more of it (an encoder's
    left 2.6 GB, with this 1.8). Nothing where another C library is at work."""
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    found = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return found or (lambda _kept: None)
