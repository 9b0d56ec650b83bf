"""What an answer costs: predictions a second, floating-point operations, memory and cold start of both families on an example task.

    .venv/bin/python -m bench.throughput [--task support-triage] [--repeats 5] [--record]

Adapters are trained for one epoch on the default bases (weights change no cost but the length of a causal answer) and loaded as those
of packages are. Rates are of both families in turn in one process; peak memory and the time from the start of Python to the first answer
are each of a fresh process. Operations are those of all forward passes, counted by torch with attention, over the number of inputs.
Inputs are validation rows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADING = "## Cost of an answer"
TASKS = Path(__file__).resolve().parent.parent / "tasks"
VARIANTS = {"encoder": "encoder-lora", "causal": "lora-r8"}
TRAIN_ROWS, INPUTS = 64, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="support-triage")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    from pp_gateway.cli.environment import quiet_environment

    os.environ["HF_HUB_OFFLINE"] = "1"
    quiet_environment()
    if args.probe:
        probe(args.probe, args.task, args.threads)
        return
    with tempfile.TemporaryDirectory() as made:
        table = measure(Path(made), args.task, args.repeats, args.threads)
    print(table)
    if args.record:
        record(HEADING, table, f"`python -m bench.throughput --task {args.task} --threads {args.threads}`, {date.today()}, {processor()}")


def measure(folder: Path, task: str, repeats: int, threads: int) -> str:
    """The table, with the RESULT line below it."""
    import torch

    from bench.timing import medians
    from pp_assets.task.dataset import build_dataset
    from pp_assets.task.examples import read_split
    from pp_assets.task.spec import load_task
    from pp_assets.training.predictors import load_predictor

    torch.set_num_threads(threads)
    loaded = load_task(task, TASKS)
    build_dataset(loaded, folder / "data")
    train, val = (read_split(folder / "data", split) for split in ("train", "val"))
    texts = [e.input_text for e in val[:INPUTS]]
    (folder / "inputs.json").write_text(json.dumps(texts), "utf-8")
    for family, variant in VARIANTS.items():
        adapt(loaded, variant, train[:TRAIN_ROWS], folder / family, threads)
    predictors = {family: load_predictor(folder / family, loaded.spec, threads) for family in VARIANTS}
    calls = {family: lambda p=p: p.predict(texts) for family, p in predictors.items()}
    medians({family: lambda p=p: p.predict(texts[:4]) for family, p in predictors.items()}, 1)  # the first call prepares things once
    times = medians(calls, repeats)
    found = {}
    for family, predictor in predictors.items():
        fresh = [probed(folder / family, task, threads) for _ in range(3)]
        rate = {"per_s": len(texts) / times[family].wall, "per_cpu_s": len(texts) / times[family].cpu}
        found[family] = rate | {"flops": forward_flops(predictor, texts) / len(texts)}
        found[family] |= {name: median(f[name] for f in fresh) for name in ("rss_mb", "cold_s", "cold_cpu_s")}
    return as_table(found, len(texts), task)


def adapt(task: Any, variant: str, rows: Sequence[Any], out: Path, threads: int, seed: int = 0) -> None:
    """One epoch of a variant."""
    from pp_assets.training.loop import train
    from pp_assets.training.recipes import get_recipe

    recipe = get_recipe(variant)
    if recipe.family == "encoder":
        from pp_assets.training.encoder import EncoderRun as Run
    else:
        from pp_assets.training.causal import CausalRun as Run  # type: ignore[assignment]
    recipe = replace(recipe, params=replace(recipe.params, epochs=1))
    train(Run(task.spec, recipe, list(rows), [], seed, threads), out, work=out.with_suffix(".work"))


def forward_flops(predictor: Any, texts: Sequence[str]) -> int:
    """Floating-point operations of all forward passes for these texts."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # Of fused attention on the processor the counter knows nothing; taken apart it is matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predictor.predict(texts)
    return int(counter.get_total_flops())


def probed(folder: Path, task: str, threads: int) -> dict[str, float]:
    """Cold start and peak memory of a fresh process that loads the adapter and answers all inputs."""
    said = run_fresh("bench.throughput", "--probe", folder, "--task", task, threads=threads)
    return {"rss_mb": said["rss_mb"], "cold_s": said["cold_s"], "cold_cpu_s": said["cpu_s"]}


def run_fresh(module: str, *arguments: Any, threads: int) -> dict[str, Any]:
    """What a fresh process prints as JSON; `cold_s` is the time from its start to the `answered_at` that it tells."""
    command = [sys.executable, "-m", module, *arguments, "--threads", threads]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    began = time.time()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True, env=environment)
    said = json.loads(done.stdout.splitlines()[-1])
    return {**said, "cold_s": said["answered_at"] - began}


def probe(folder: Path, task: str, threads: int) -> None:
    """The fresh process: one answer, then all of them; prints when the first was there and the peak memory."""
    from pp_assets.task.spec import load_task
    from pp_assets.training.predictors import load_predictor

    texts = json.loads((folder.parent / "inputs.json").read_text("utf-8"))
    predictor = load_predictor(folder, load_task(task, TASKS).spec, threads)
    predictor.predict(texts[:1])
    answered, cpu = time.time(), time.process_time()
    predictor.predict(texts)
    print(json.dumps({"answered_at": answered, "cpu_s": cpu, "rss_mb": memory_mb("VmHWM")}))


def memory_mb(which: str) -> float:
    """Resident memory of this process: VmHWM is the peak, VmRSS what it holds now. What getrusage says would be its parent's peak, which a
    new process inherits."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{which}:"))) / 1024


def as_table(found: Mapping[str, Mapping[str, float]], inputs: int, task: str) -> str:
    rows = [f"{inputs} inputs of {task}", "", "| | " + " | ".join(VARIANTS.values()) + " |", "| --- | --: | --: |"]
    shown = {
        "predictions a second": ("per_s", "{:.1f}"),
        "predictions a CPU-second": ("per_cpu_s", "{:.1f}"),
        "forward operations a prediction (10^9)": ("flops", "{:.3f}"),
        "peak memory (MB)": ("rss_mb", "{:.0f}"),
        "cold start (s)": ("cold_s", "{:.2f}"),
        "cold start (CPU-s)": ("cold_cpu_s", "{:.2f}"),
    }
    for title, (key, form) in shown.items():
        values = [found[family][key] / (1e9 if key == "flops" else 1) for family in VARIANTS]
        rows.append(f"| {title} | " + " | ".join(form.format(value) for value in values) + " |")
    keys = ("per_s", "flops", "rss_mb", "cold_s")
    result = " ".join(f"{family}_{key}={found[family][key]:.4g}" for key in keys for family in VARIANTS)
    return "\n".join([*rows, "", f"RESULT {result}"])


def record(heading: str, table: str, how: str) -> None:
    """Put the table into its section of RESULTS.md, in place of the one that is there."""
    text = RESULTS.read_text("utf-8")
    section = f"{heading}\n\n{how}\n\n{table}\n"
    before, found, after = text.partition(heading)
    rest = after[after.index("\n## ") :] if found and "\n## " in after else ""
    RESULTS.write_text(f"{before.rstrip()}\n\n{section}{rest}", "utf-8")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor unknown")


if __name__ == "__main__":
    main()
