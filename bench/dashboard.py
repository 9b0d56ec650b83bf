"""The dashboard's overview over many rows: how long the route takes, beside the same figures counted from the rows themselves.

    .venv/bin/python -m bench.dashboard [--rows 1000000] [--folder DIR] [--url postgresql://…]

The rows are those of bench/store.py (30 days, two tasks of three variants, half of them rated), with an item for people for every fiftieth
and a decision on weights of 10 kB for every hundredth. The route is asked over HTTP on loopback, each time after what is kept of the last
reading has grown old; processor time is that of the whole process. A scan counts requests, errors, costs, latencies and values by day and
variant in SQL, and quantiles of the latency exactly; both must tell the same numbers.
"""

import argparse
import json
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml
from sqlalchemy import Connection, func, select

from bench.serving import serving
from bench.store import TASKS, VARIANTS, fill
from pp_gateway.dashboard.overview import begin
from pp_gateway.dashboard.snapshots import FRESH
from pp_gateway.serve.app import Plan, build_app
from pp_resources.settings import Settings
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store, open_store
from pp_resources.store.schema import feedback, inferences
from pp_resources.store.work import Decision, QueueItem

REPEATS = 15
DAY = 86_400
RANGE = "90d"  # holds all rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        home = Path(made) / "home"
        home.mkdir()
        store = open_store(home, args.url)
        fill(store, args.rows)
        beside(store, args.rows)
        figures = {"rows": args.rows} | measured(home, store, args.url)
        store.close()
    print("RESULT " + " ".join(f"{name}={value:g}" for name, value in figures.items()))


def beside(store: Store, rows: int) -> None:
    """Items for people and decisions, spread over the same 30 days."""
    span, many = 30 * DAY * MICRO, {"padding": "x" * 10_000}
    start = now() - span
    made: list[Any] = []
    for number in range(0, rows, 50):
        task, at = TASKS[number // 50 % 2], start + span * number // rows
        made.append(QueueItem(inference=f"i{number}", task=task, reason="low confidence", at=at))
        if number % 100 == 0:
            weights = dict.fromkeys(VARIANTS, 1 / 3)
            made.append(Decision(task=TASKS[number // 100 % 2], kind="weights", data={"weights": weights, "state": many}, at=at))
        if len(made) > 1000:
            store.write_many(made)
            made = []
    store.write_many(made)


def measured(home: Path, store: Store, url: str | None) -> dict[str, float]:
    """Median and longest time of the route (ms), its processor time, and the time of a scan."""
    models = {task: {"url": "http://127.0.0.1:9/v1", "model": "none"} for task in TASKS}
    (home / "gateway.yaml").write_text(yaml.safe_dump({"models": models}))
    plan = Plan(Settings(home, home / "tasks", threads=1), store_url=url)
    plan.settings.tasks.mkdir(exist_ok=True)
    with serving(build_app(plan)) as base:
        path = f"{base}/api/overview?task={TASKS[0]}&range={RANGE}"
        asked(path)
        times, used = [], []
        for _ in range(REPEATS):
            time.sleep(FRESH + 0.05)
            before, start = time.process_time(), time.perf_counter()
            told = asked(path)
            times.append((time.perf_counter() - start) * 1000)
            used.append((time.process_time() - before) * 1000)
    start, before = time.perf_counter(), time.process_time()
    counted = scanned(store, TASKS[0], begin(RANGE, time.time()))
    scan, scan_used = (time.perf_counter() - start) * 1000, (time.process_time() - before) * 1000
    compare(told, counted)
    size = len(json.dumps(told))
    print(f"{'':>12} {'median ms':>10} {'longest ms':>10} {'processor ms':>12}   (n {REPEATS}; {size / 1000:.0f} kB)")
    print(f"{'overview':>12} {median(times):>10.0f} {max(times):>10.0f} {median(used):>12.0f}")
    print(f"{'scan':>12} {scan:>10.0f} {'':>10} {scan_used:>12.0f}")
    processor = {"processor_ms": median(used), "scan_processor_ms": scan_used}
    return {"dashboard_ms": median(times), "longest_ms": max(times), "scan_ms": scan, **processor}


def scanned(store: Store, task: str, since: int) -> dict[str, Any]:
    """The same figures from rows: by variant requests, errors, invalid answers, cost and the latencies, by variant and day the values."""
    c, f = inferences.c, feedback.c
    day = (c.at // (DAY * MICRO)).label("day")
    mine = (c.task == task) & (c.shadow == 0) & (c.at >= since * MICRO)
    with store.reading() as db:
        sums = select(c.variant, day, func.count(), func.count(c.error), func.sum(c.cost)).where(mine).group_by(c.variant, day)
        traffic = db.execute(sums).all()
        joined = select(c.variant, f.metric, day, func.count(), func.sum(f.value)).select_from(
            feedback.join(inferences, f.inference == c.id)
        )
        said = db.execute(joined.where(mine, f.counts == 1, f.value.is_not(None)).group_by(c.variant, f.metric, day)).all()
        quantiles = [float(value) for value in np.quantile(list(_latencies(db, mine)), [0.5, 0.95])]
    return {"traffic": traffic, "said": said, "quantiles": quantiles}


def _latencies(db: Connection, mine: Any) -> Iterator[float]:
    yield from db.execute(select(inferences.c.latency_ms).where(mine, inferences.c.latency_ms.is_not(None))).scalars()


def compare(told: dict[str, Any], counted: dict[str, Any]) -> None:
    """Raises AssertionError where the two do not say the same."""
    for one in told["variants"]:
        rows = [row for row in counted["traffic"] if row[0] == one["name"]]
        said = [row for row in counted["said"] if row[0] == one["name"]]
        assert one["requests"] == sum(row[2] for row in rows), one["name"]
        assert one["errors"]["value"] == sum(row[3] for row in rows) / one["requests"], one["name"]
        assert abs(one["cost"]["value"] - sum(row[4] for row in rows) / one["requests"]) < 1e-9, one["name"]
        assert (one["quality"]["n"], round(one["quality"]["value"] * one["quality"]["n"])) == (
            sum(r[3] for r in said),
            sum(r[4] for r in said),
        )
    for point in told["trends"]["metrics"]["right"]:
        rows = [row for row in counted["said"] if row[2] * DAY == point["start"]]
        assert (point["n"], round(point["value"] * point["n"])) == (sum(row[3] for row in rows), sum(row[4] for row in rows))
    for name, exact in zip(("p50", "p95"), counted["quantiles"]):
        assert abs(told["whole"][name]["value"] / exact - 1) < 0.19, (name, exact)


def asked(url: str) -> Any:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=120) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    main()
