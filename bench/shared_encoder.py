"""Many encoder tasks in one process: each loaded as its package is, or all on one encoder in memory.

    .venv/bin/python -m bench.shared_encoder [--tasks 8] [--task support-triage] [--record]

The tasks are adapters of one task trained for an epoch with seeds of their own; their weights differ, their sizes do not. Each way is run
in fresh processes in turn: the time until every task has answered once, the memory that is then held, and of all tasks answering the same
inputs one after another the rate. The texts of all answers must be the same both ways.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from bench.throughput import TASKS, TRAIN_ROWS, adapt, memory_mb, processor, record, run_fresh

HEADING = "## Many tasks on one encoder"
WAYS = {"apart": "each on its own", "shared": "on one encoder"}
INPUTS, ROUNDS = 32, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="support-triage")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    from pp_gateway.cli.environment import quiet_environment

    os.environ["HF_HUB_OFFLINE"] = "1"
    quiet_environment()
    if args.probe:
        print(json.dumps(probe(args.probe, args.task, args.way, args.threads)))
        return
    with tempfile.TemporaryDirectory() as made:
        table = measure(Path(made), args.task, args.tasks, args.threads)
    print(table)
    if args.record:
        command = f"python -m bench.shared_encoder --task {args.task} --tasks {args.tasks} --threads {args.threads}"
        record(HEADING, table, f"`{command}`, {date.today()}, {processor()}")


def measure(folder: Path, task: str, tasks: int, threads: int) -> str:
    """The table, with the RESULT line below it."""
    from pp_assets.task.dataset import build_dataset
    from pp_assets.task.examples import read_split
    from pp_assets.task.spec import load_task

    loaded = load_task(task, TASKS)
    build_dataset(loaded, folder / "data")
    train, val = (read_split(folder / "data", split) for split in ("train", "val"))
    (folder / "inputs.json").write_text(json.dumps([e.input_text for e in val[:INPUTS]]), "utf-8")
    for seed in range(tasks):
        adapt(loaded, "encoder-lora", train[:TRAIN_ROWS], folder / "tasks" / f"{seed:03}", threads, seed)
    rounds = [
        {way: run_fresh("bench.shared_encoder", "--probe", folder, "--task", task, "--way", way, threads=threads) for way in WAYS}
        for _ in range(ROUNDS)
    ]
    return as_table(rounds, tasks, task)


def probe(folder: Path, task: str, way: str, threads: int) -> dict[str, Any]:
    """The fresh process."""
    texts = json.loads((folder / "inputs.json").read_text("utf-8"))
    predictors, first_mb = [], 0.0
    for predictor in load(folder / "tasks", task, way, threads):
        predictor.predict(texts[:1])
        predictors.append(predictor)
        first_mb = first_mb or held_mb()
    answered, cpu, held = time.time(), time.process_time(), held_mb()
    answers = [answer.text for predictor in predictors for answer in predictor.predict(texts)]
    rate = len(predictors) * len(texts) / (time.process_time() - cpu)
    each_mb = (held - first_mb) / max(1, len(predictors) - 1)
    return {"answered_at": answered, "cpu_s": cpu, "held_mb": held, "each_mb": each_mb, "per_cpu_s": rate, "answers": answers}


def load(folder: Path, task: str, way: str, threads: int) -> Any:
    """A predictor for each adapter in `folder`, one after another."""
    import torch

    from pp_assets.task.spec import load_task
    from pp_assets.training.predictors import base_of, load_predictor
    from pp_resources.models.encoder.shared import SharedEncoder

    torch.set_num_threads(threads)
    spec, encoder = load_task(task, TASKS).spec, None
    for made in sorted(path for path in folder.iterdir() if (path / "training.json").is_file()):
        if way == "apart":
            yield load_predictor(made, spec, threads)
            continue
        base = base_of(json.loads((made / "training.json").read_text("utf-8")))
        encoder = encoder or SharedEncoder(base)
        yield encoder.add(made.name, made, spec.io_schema.output)


def held_mb() -> float:
    gc.collect()
    return memory_mb("VmRSS")


def as_table(rounds: list[Mapping[str, Mapping[str, Any]]], tasks: int, task: str) -> str:
    found = {way: {key: median(r[way][key] for r in rounds) for key in rounds[0][way] if key != "answers"} for way in WAYS}
    pairs = [pair for r in rounds for pair in zip(*(r[way]["answers"] for way in WAYS), strict=True)]
    equal = sum(one == other for one, other in pairs) / len(pairs)
    rows = [f"{tasks} tasks of the size of {task}", "", "| | " + " | ".join(WAYS.values()) + " |", "| --- | --: | --: |"]
    shown = {
        "memory held (MB)": ("held_mb", "{:.0f}"),
        "of it for each task after the first (MB)": ("each_mb", "{:.1f}"),
        "cold start until each has answered (s)": ("cold_s", "{:.1f}"),
        "cold start until each has answered (CPU-s)": ("cpu_s", "{:.1f}"),
        "predictions a CPU-second": ("per_cpu_s", "{:.1f}"),
    }
    rows += [f"| {title} | " + " | ".join(form.format(found[way][key]) for way in WAYS) + " |" for title, (key, form) in shown.items()]
    result = " ".join(f"{way}_{key}={found[way][key]:.4g}" for key, _ in shown.values() for way in WAYS)
    same = f"Of {len(pairs) // len(rounds)} answers {equal:.1%} have the same text both ways."
    return "\n".join([*rows, "", same, "", f"RESULT {result} equal={equal:g}"])


if __name__ == "__main__":
    main()
