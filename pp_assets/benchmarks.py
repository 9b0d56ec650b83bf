"""What the trained variants of a task cost and how good they are, side by side on this machine. Times are observed: each run is kept."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.evaluation.benchmark import machine_cost, measure, summary, token_cost
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.groups import generator
from pp_assets.result_facts import hardware
from pp_assets.task.examples import read_split
from pp_resources.artifacts import Artifact, write_atomic
from pp_resources.errors import UserError
from pp_resources.models.price import Price
from pp_resources.progress import steps
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

# Run by a fresh process, whose peak memory is that of one model.
_PROBE = "import sys; from pp_assets.benchmarks import probe; probe(*sys.argv[1:])"


@dataclass(frozen=True)
class Options:
    """How much is measured. `hourly` is what an hour of this machine costs, in US dollars, `price` what a provider takes for tokens;
    `memory` starts a process for each model."""

    items: int = 64
    batch: int = 32
    repeats: int = 4
    hourly: float | None = None
    price: Price | None = None
    memory: bool = True


def benchmark(p: "Pipeline", name: str, variants: Sequence[str], options: Options) -> dict[str, Any]:
    """Measure trained variants (default: all of the task that are trained) on validation rows; the first is what others are compared with.

    Plain values, also written to `<home>/benchmarks/<task>/<time>.json`: `hardware`, `items`, `prices`, and `variants` by name with speed,
    tokens, memory, `cost` by the hour of this machine and by tokens, and the primary metric that was evaluated. Raises UserError when
    nothing is trained.
    """
    from pp_assets.training.predictors import load_predictor

    task = p.task(name)
    trained = _trained(p, name, variants)
    rows = read_split(p.current(stages.DATASETS, name).path, "val")
    chosen = sorted(generator(task.spec.seed, "benchmark").permutation(len(rows))[: options.items])
    texts = [rows[i].input_text for i in chosen]
    if not texts:
        raise UserError("there are no validation rows to ask", where=name, how="make eval_split.ratios.val larger")
    models = {variant: load_predictor(one.path, task.spec, p.settings.threads, p.settings.device) for variant, one in trained.items()}
    place = profile(p.settings)
    timings = measure(models, texts, batch=options.batch, repeats=options.repeats)
    found = summary(timings, task.spec.seed)
    with steps("memory", len(trained)) as advance:
        for variant, one in trained.items():
            found[variant] |= {"memory": _memory(p, name, one, texts) if options.memory else {"rss_mb": None, "reason": "not asked for"}}
            spent = machine_cost(found[variant]["seconds_per_item"], options.hourly)
            found[variant] |= {"cost": {"machine": spent, "tokens": token_cost(timings[variant], options.price)}}
            found[variant] |= {"quality": _quality(p, name, variant, one)}
            advance(variant)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    sides = (options.price.usd_in, options.price.usd_out) if options.price else (None, None)
    prices = dict(zip(("usd_per_hour", "usd_per_million_tokens_in", "usd_per_million_tokens_out"), (options.hourly, *sides)))
    document = {"task": name, "at": at, "hardware": place, "items": len(texts), "batch": options.batch, "repeats": options.repeats}
    document = rounded(document | {"prices": prices, "reference": next(iter(trained)), "variants": found})
    _keep(p, name, document)
    return document


def probe(tasks: str, name: str, folder: str, threads: str, device: str) -> None:
    """The fresh process: reads texts from standard input, answers them, prints the peak memory and the time to the first answer."""
    import time

    from pp_assets.task.spec import load_task
    from pp_assets.training.predictors import load_predictor

    texts = json.loads(sys.stdin.read())
    began = time.perf_counter()
    model = load_predictor(Path(folder), load_task(name, Path(tasks)).spec, int(threads), device)
    model.predict(texts[:1])
    first = time.perf_counter() - began
    model.predict(texts)
    print(json.dumps({"rss_mb": peak_mb(), "first_answer_s": first}))


def peak_mb() -> float:
    """Peak memory of this process in MB. On Linux `ru_maxrss` begins with what the process that started this one held (three models were
    all given the 1035 MB of the benchmark itself); VmHWM begins with the program."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        return next(int(row.split()[1]) for row in status.read_text("utf-8").splitlines() if row.startswith("VmHWM:")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def profile(settings: Settings) -> dict[str, Any]:
    """The machine that is measured: its processor, cores and memory, what else it did as this began (the load of the last minute, in
    processes that want a core), and the versions that compute."""
    from importlib.metadata import version

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = {"cores": os.cpu_count(), "memory_gb": pages / 1024**3, "load": os.getloadavg()[0]}
    return {**hardware(settings), **found, "versions": {name: version(name) for name in ("torch", "transformers")}}


def _trained(p: "Pipeline", name: str, variants: Sequence[str]) -> dict[str, Artifact]:
    if variants:
        return {variant: p.current(stages.ADAPTERS, f"{name}/{variant}") for variant in dict.fromkeys(variants)}
    keys = [key for key in p.store.keys(stages.ADAPTERS) if key.startswith(f"{name}/")]
    found = {key.partition("/")[2]: p.current(stages.ADAPTERS, key) for key in sorted(keys) if p.store.current(stages.ADAPTERS, key)}
    if not found:
        raise UserError("no variant is trained", where=name, how=f"run 'pp run {name}'")
    return found


def _memory(p: "Pipeline", name: str, adapter: Artifact, texts: Sequence[str]) -> dict[str, Any]:
    """Peak memory of a process that loads the model and answers all texts at once, and seconds from loading to the first answer."""
    place = str(p.settings.threads), p.settings.device
    command = [sys.executable, "-c", _PROBE, str(p.settings.tasks), name, str(adapter.path), *place]
    done = subprocess.run(command, input=json.dumps(list(texts)), capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        return {"rss_mb": None, "reason": (done.stderr.strip().splitlines() or ["the process ended"])[-1][:300]}
    return {**json.loads(done.stdout.splitlines()[-1]), "reason": ""}


def _quality(p: "Pipeline", name: str, variant: str, adapter: Artifact) -> dict[str, Any]:
    """The primary metric on the test items, from the evaluation of this very adapter."""
    report = p.store.current(stages.EVALUATIONS, f"{name}/{variant}")
    if report is None or report.inputs["adapter"] != adapter.digest:
        return {"value": None, "reason": f"not evaluated: run 'pp eval {name} --variant {variant}'"}
    kept = {"metric": "metric", "value": "value", "low": "value_low", "high": "value_high", "n": "n"}
    return {key: report.metadata[there] for key, there in kept.items()} | {"reason": ""}


def _keep(p: "Pipeline", name: str, document: dict[str, Any]) -> None:
    file = p.settings.home / "benchmarks" / name / f"{document['at'].replace(':', '')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(document, indent=1, allow_nan=False) + "\n")
    for variant, found in document["variants"].items():
        with p.tracker.run(name, variant, "benchmark") as run:
            place = {key: value for key, value in document["hardware"].items() if key not in ("load", "versions")}
            run.params({"items": document["items"], "batch": document["batch"], **place})
            numbers = {f"latency_ms_{q}": one["value"] for q, one in found["latency_ms"].items()}
            numbers |= {"items_per_s": found["items_per_s"]["batched"], "rss_mb": found["memory"]["rss_mb"]}
            run.summary({f"bench.{k}": v for k, v in numbers.items() if v is not None})
            run.file(file, "benchmark")
