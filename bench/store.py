"""The store's speed: rows a second that are on disk when they are acknowledged, and how long the dashboard's reads take.

    .venv/bin/python -m bench.store [--rows 1000000] [--submitters 1 8 64] [--seconds 5] [--folder DIR] [--url postgresql://…]

Each submitter is a thread that hands in one inference of some 600 bytes, waits until it is on disk, and hands in the next (closed loop);
beside them the same number of appends to a bare file, each synced, says what the disk gives. Reads are taken with all rows in, 30 days of
them in six variants of two tasks, half of them rated, in episodes of four; processor time is shown beside time by the clock.
"""

import argparse
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

from pp_resources.store.engine import address
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store
from pp_resources.store.read_feedback import demonstration_heads, feedback_since
from pp_resources.store.read_inferences import inference, list_inferences
from pp_resources.store.read_trends import active_count
from pp_resources.store.read_work import queue_counts
from pp_resources.store.recorder import Recorder
from pp_resources.store.rows import Feedback, Inference
from pp_resources.store.statistics import score_of, score_series, traffic_of, traffic_series

TASKS, VARIANTS, DAYS, DAY = ("triage", "expenses"), ("base", "encoder", "dicl"), 30, 86400
REPEATS = 25
INPUT = "Where is my parcel? Order A-1042 was due on Monday and the driver has not been seen since. " * 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--submitters", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        folder = Path(made)
        store = Store(address(folder, args.url), patience=60)
        store.write(row(0, now()))
        figures = writes(store, folder, args.submitters, args.seconds)
        figures |= fill(store, args.rows)
        figures |= reads(store, args.rows)
        store.close()
    print("RESULT " + " ".join(f"{name}={value:g}" for name, value in figures.items()))


def row(number: int, at: int) -> Inference:
    """An inference of some 600 bytes."""
    output = '{"team": "delivery", "urgent": true, "order_id": "A-1042"}'
    episode, latency = f"e{number // 4}", 5 + number % 97 * 1.7
    values = {"task": TASKS[number % 2], "variant": VARIANTS[number % 3], "episode": episode, "latency_ms": latency, "cost": 0.00012}
    return Inference(input=INPUT, output=output, valid=number % 50 != 0, tokens_in=120, tokens_out=20, at=at, **values)


def writes(store: Store, folder: Path, submitters: list[int], seconds: float) -> dict[str, float]:
    """Acknowledged rows a second in closed loop, straight and through the recorder, beside synced appends to a file."""
    figures = {}
    recorder = Recorder(store, folder / "journal", patience=60)
    print(f"{'submitters':>10} {'store/s':>9} {'recorder/s':>10} {'p50 ms':>7} {'p99 ms':>7} {'bare fsync/s':>12}")
    for count in submitters:
        straight, _ = closed_loop(lambda n: store.submit(row(n, now())).result(), count, seconds)
        recorded, times = closed_loop(lambda n: recorder.write(row(n, now())), count, seconds)
        with (folder / "bare").open("ab", buffering=0) as file:
            bare, _ = closed_loop(lambda _, f=file: (f.write(b"x" * 600), os.fsync(f.fileno())), 1, min(seconds, 2))
        cuts = quantiles(times, n=100)
        print(f"{count:>10} {straight:>9.0f} {recorded:>10.0f} {cuts[49] * 1000:>7.2f} {cuts[98] * 1000:>7.2f} {bare:>12.0f}")
        figures |= {f"writes_{count}": straight, f"recorded_{count}": recorded, f"p99_ms_{count}": cuts[98] * 1000}
    recorder.close()
    return figures


def closed_loop(act: Callable[[int], object], threads: int, seconds: float) -> tuple[float, list[float]]:
    """Acts a second of so many threads, and how long each took (seconds)."""
    end, times, began = time.monotonic() + seconds, list[float](), time.monotonic()

    def work(first: int) -> None:
        number = first
        while (start := time.monotonic()) < end:
            act(number)
            times.append(time.monotonic() - start)
            number += threads

    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(times) / (time.monotonic() - began), times


def fill(store: Store, rows: int) -> dict[str, float]:
    """Rows of the last 30 days in transactions of 1,000, every second one rated."""
    chance, began, step = random.Random(7), time.monotonic(), DAYS * DAY * MICRO // rows
    start = now() - DAYS * DAY * MICRO
    for first in range(0, rows, 1000):
        made = [row(number, start + number * step) for number in range(first, min(first + 1000, rows))]
        said = [Feedback(kind="boolean", metric="right", inference=one.id, value=int(chance.random() < 0.8)) for one in made[::2]]
        store.write_many([*made, *said])
    seconds = time.monotonic() - began
    print(f"\nfilled with {rows} inferences and {rows // 2} feedback in {seconds:.0f} s")
    return {"rows": rows, "bulk_rows_per_s": 1.5 * rows / seconds}


def reads(store: Store, rows: int) -> dict[str, float]:
    """The longest of 25 calls of each read after one to warm up, and the most processor time that one takes (ms)."""
    seconds = int(time.time())
    page = list_inferences(store, task="triage", limit=50)
    some = page.rows[0].id
    last = feedback_since(store, after=rows // 2 - 100)
    asked: dict[str, Callable[[], object]] = {
        "one by id": lambda: inference(store, some),
        "page of a task": lambda: list_inferences(store, task="triage", limit=50, before=page.next),
        "page of what went wrong": lambda: list_inferences(store, bad=True, limit=50),
        "feedback since": lambda: feedback_since(store, after=last[-50].seq if len(last) > 50 else 0, limit=100),
        "heads": lambda: demonstration_heads(store),
        "scores, all time": lambda: score_of(store),
        "scores, last 24 h": lambda: score_of(store, since=seconds - DAY),
        "traffic, all time": lambda: traffic_of(store),
        "traffic, last 24 h": lambda: traffic_of(store, since=seconds - DAY),
        "scores by day, 30 days": lambda: score_series(store, "triage", DAY),
        "traffic by hour, 7 days": lambda: traffic_series(store, "triage", 3600, since=seconds - 7 * DAY),
        "traffic by minute, 1 h": lambda: traffic_series(store, None, 60, since=seconds - 3600),
        "active episodes": lambda: active_count(store, "triage", time.time() - 300),
        "queue": lambda: queue_counts(store),
    }
    worst = used = 0.0
    print(f"\n{'read at ' + str(rows) + ' inferences':<30} {'median ms':>9} {'max ms':>8} {'processor ms':>12}")
    for name, ask in asked.items():
        ask()
        times, processor = repeated(ask)
        print(f"{name:<30} {sorted(times)[len(times) // 2]:>9.2f} {max(times):>8.2f} {processor:>12.2f}")
        worst, used = max(worst, *times), max(used, processor)
    return {"slowest_read_ms": worst, "dearest_read_processor_ms": used}


def repeated(ask: Callable[[], object]) -> tuple[list[float], float]:
    """How long each of 25 calls took by the clock (ms), and the processor time of one, which a busy machine leaves alone."""
    times, before = [], time.process_time()
    for _ in range(REPEATS):
        start = time.perf_counter()
        ask()
        times.append((time.perf_counter() - start) * 1000)
    return times, (time.process_time() - before) * 1000 / REPEATS


if __name__ == "__main__":
    main()
