"""Times of rows: growing, and from another clock where a simulation has one."""

import os
import time

from pp_resources.artifacts import ArtifactStore
from pp_resources.store.ids import MICRO, clock, now, uuid7


def test_times_grow_even_where_the_clock_stands_still_or_is_set_back():
    times = iter([5_000_000, 5_000_000, 1_000_000, 9_000_000])
    with clock(lambda: next(times)):
        assert [now() for _ in range(4)] == [5000, 5001, 5002, 9000]
    before = now()
    assert before < now() and abs(before - time.time() * MICRO) < 60 * MICRO, "the clock of the machine again"


def test_identifiers_sort_by_the_time_of_the_clock():
    with clock(lambda: 86_400 * 10**9):
        early = uuid7()
    assert early < uuid7()


def test_artifacts_are_dated_by_the_same_clock(tmp_path):
    with clock(lambda: 86_400 * 10**9):
        made = ArtifactStore(tmp_path).produce("things", "one", {"a": "b"}, lambda out: (out / "x").write_text("x") and None)
    assert made.created_at.startswith("1970-01-02T00:00:00")


def test_a_forked_process_gives_out_identifiers_of_its_own():
    at, (read, write) = now(), os.pipe()
    uuid7()  # random bits are there that both would use
    child = os.fork()
    if child == 0:
        os.write(write, "".join(uuid7(at) for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(read, 10_000).decode()
    theirs = {said[start : start + 36] for start in range(0, len(said), 36)}
    assert len(theirs) == 20 and not theirs & {uuid7(at) for _ in range(20)}
