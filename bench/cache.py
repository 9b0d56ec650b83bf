"""The cell cache at a million cells: how fast a full hit is read, how long a plan takes, how much memory that needs.

    .venv/bin/python bench/cache.py [--cells 1000000] [--rounds 5]

Half of the cells are answers (rows × 10 models × 5 trials, all different), half their scores. They are made by `run` itself; then a fresh
process, which knows nothing of them, reads the whole experiment (`run`, everything there) and plans it, in turn. Medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODELS, TRIALS = 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read(args.read, args.cells)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cells.db"
        began = time.perf_counter()
        exp = experiment(file, args.cells)
        computed = exp.run().computed
        exp.store.close()
        made = time.perf_counter() - began
        size = file.stat().st_size / 2**20
        print(f"{sum(computed.values()):,} cells made in {made:.0f} s, {size:.0f} MB on the disk")
        command = [sys.executable, __file__, "--cells", str(args.cells), "--read", str(file)]
        rounds = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(args.rounds)]
    found = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    print(f"{'':34} {'median':>12} {'least':>12} {'most':>12}")
    for key, words in (("hits_per_s", "cells read a second (full hit)"), ("plan_s", "plan (s)"), ("peak_mb", "peak memory (MB)")):
        values = [each[key] for each in rounds]
        print(f"{words:34} {found[key]:12,.1f} {min(values):12,.1f} {max(values):12,.1f}")
    print("RESULT " + " ".join(f"{key}={found[key]:.4g}" if key != "hits_per_s" else f"{key}={found[key]:.0f}" for key in found))


def experiment(file: Path, cells: int) -> Any:
    """The experiment of so many cells."""
    from pp_assets.experiment import Experiment, op

    @op(version="1", batch=("texts", 5000))
    def answer(texts: list[str], model: str) -> list[str]:
        Answered.count += len(texts)
        return [f"{model} says {Answered.count + i} to {text}" for i, text in enumerate(texts)]

    def length(answer: str) -> int:
        return len(answer)

    rows = [{"id": i, "text": f"text {i}"} for i in range(cells // (2 * MODELS * TRIALS))]
    exp = Experiment(rows, store=file).vary(model=[f"model-{i}" for i in range(MODELS)])
    return exp.step("answer", answer, inputs={"texts": "text"}).score(length).trials(TRIALS)


class Answered:
    """How many answers there were, so that no two are alike."""

    identity, count = "counter", 0


def read(file: Path, cells: int) -> dict[str, float]:
    """In a fresh process: a full hit, then a plan."""
    exp = experiment(file, cells)
    began = time.perf_counter()
    results = exp.run()
    seconds = time.perf_counter() - began
    assert not any(results.computed.values()) and not any(results.left.values())
    del results
    began = time.perf_counter()
    assert exp.plan().calls == 0
    planned = time.perf_counter() - began
    return {"hits_per_s": cells / seconds, "plan_s": planned, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Of this process alone; `ru_maxrss` begins with that of the process that started it."""
    return next(int(line.split()[1]) / 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
