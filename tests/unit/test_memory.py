"""Memory that is free is the system's again, as far as the C library knows how."""

import ctypes
import sys
from pathlib import Path

import pytest

from pp_resources.memory import give_back


def resident() -> int:
    """Bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone keeps what was freed")
def test_what_was_freed_below_something_in_use_is_given_back() -> None:
    blocks = [b"x" * 50_000 for _ in range(4000)]
    del blocks[:-1]
    before = resident()
    give_back()
    assert before - resident() > 100_000_000
