"""What generated rows are worth where data is scarce: the same recipe with and without them, on the whole test split, seeds pooled by item.

    .venv/bin/python bench/lowdata.py DATA [--only snips --only banking77] [--seeds 3] [--home .pp/lowdata]

DATA holds a folder per data set with schema.json, train.jsonl and test.jsonl. A seed draws the rows that are there (10 of each label, or
100), of which 15 in 100 are for validation, and the start and order of the training; the two example tasks have their own splits. Rows are
made offline, as the tasks' `generation` says here. Two sides have no generated rows: the recipe as it is, and with as many epochs more as
the rows were multiplied by. What was answered is kept under --home: a killed bench goes on. Methods were chosen on training rows.
"""

import argparse
import json
import os
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VARIANT = "encoder-lora"


@dataclass(frozen=True)
class Case:
    """`shots` rows of each label, or `rows` of all; 0 of both: a task of the repository as it is. `methods` in place of the mode's."""

    name: str
    primary: str = "object_exact_match"
    shots: int = 0
    rows: int = 0
    mode: str = "BALANCED"
    methods: tuple[str, ...] = ()
    per_seed: int = 1


CASES = [
    Case("snips", "value_f1", rows=100, methods=("recombination",), per_seed=3),
    Case("restaurant8k", "value_f1", rows=100, per_seed=5),
    Case("banking77", shots=10, mode="CREATIVE"),
    Case("support-triage"),
    Case("expense-notes"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", metavar="TASK", help=", ".join(case.name for case in CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=ROOT / ".pp" / "lowdata")
    args = parser.parse_args()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    result = []
    for case in CASES:
        if args.only and case.name not in args.only:
            continue
        for key, value in measure(case, args.data, args.seeds, args.home.resolve()).items():
            result.append(f"{case.name.replace('-', '_')}_{key}={'none' if value is None else format(value, '.4f')}")
    print("RESULT " + " ".join(result))


def measure(case: Case, data: Path, seeds: int, home: Path) -> dict[str, float | None]:
    """Gains with their intervals, all seeds together."""
    from pp_assets.data.generation.proof import MORE_STEPS, WITHOUT, compared, line_of

    said: dict[str, dict[int, Any]] = {}
    for seed in range(seeds):
        spec, found, sizes = of_seed(case, data, seed, home)
        for arm, rows in found.items():
            said.setdefault(arm, {})[seed] = rows[0]
        alone = {arm: {0: rows[0]} for arm, rows in found.items()}
        effects = {arm: one.effect for arm, one in compared(spec, alone).items()}
        print(f"{case.name} seed {seed}: {sizes}; gain {effects[WITHOUT]:+.4f}, at equal steps {effects[MORE_STEPS]:+.4f}", flush=True)
    pooled = compared(spec, said)
    for arm, one in pooled.items():
        print(f"{case.name}: {line_of(one, arm)}", flush=True)
    plain, steps = pooled[WITHOUT], pooled[MORE_STEPS]
    return {"gain": plain.effect, "low": plain.low, "high": plain.high} | {
        "steps_gain": steps.effect,
        "steps_low": steps.low,
        "steps_high": steps.high,
    }


def of_seed(case: Case, data: Path, seed: int, home: Path) -> tuple[Any, Any, str]:
    """(spec, by side what it says of the test rows, how many rows there were)."""
    from pp_assets.data.generation.proof import Rows, answers
    from pp_assets.data.generation.run import generate
    from pp_assets.data.generation.stage import options_of
    from pp_assets.data.leakage import held_out
    from pp_assets.pipeline import rows_digest
    from pp_assets.sources import source_digest
    from pp_assets.task.dataset import build_dataset
    from pp_assets.task.examples import open_test_split, read_split
    from pp_assets.training.overrides import recipe_of
    from pp_resources.fingerprint import digest
    from pp_resources.models.embedder import Embedder

    task = write_task(case, data, seed, home)
    dataset = home / "datasets" / f"{case.name}-{seed}"
    shutil.rmtree(dataset, ignore_errors=True)
    dataset.mkdir(parents=True)
    build_dataset(task, dataset)
    train, val = read_split(dataset, "train"), read_split(dataset, "val")
    embed = Embedder.of(task.spec.encoder_model_id, 1).embed
    made = [g.example for g in generate(task.output_schema, train, held_out(dataset), options_of(task), embed=embed).rows]
    recipe = recipe_of(task, VARIANT)
    code = source_digest("pp_assets.training.loop", "pp_assets.training.encoder")
    key = digest([rows_digest(train), rows_digest(val), rows_digest(made), repr(recipe), seed, code])[:16]
    work = home / "answers" / f"{case.name}-{seed}-{key}"
    test = open_test_split(dataset, home / "ledger.jsonl", task.name, "bench/lowdata.py")
    found = answers(task.spec, recipe, Rows(train, made, val, {"test": test}), 1, threads=1, work=work)
    return task.spec, found["test"], f"{len(train)} rows, {len(made)} generated, {len(val)} for validation"


def write_task(case: Case, data: Path, seed: int, home: Path) -> Any:
    """The task of a case and seed, written anew."""
    from pp_assets.task.scaffold import import_task
    from pp_assets.task.spec import load_task

    made: dict[str, Any] = {"exploration_mode": case.mode, "per_seed": case.per_seed} | (
        {"methods": list(case.methods)} if case.methods else {}
    )
    if not case.shots and not case.rows:
        task = load_task(case.name, ROOT / "tasks")
        spec = task.spec.model_copy(update={"seed": seed, "generation": task.spec.generation.model_copy(update=made)})
        return replace(task, spec=spec)
    name, source = f"{case.name}-{seed}", data / case.name
    shutil.rmtree(home / "tasks" / name, ignore_errors=True)
    train = few(case, source / "train.jsonl", seed, home / f"{name}.jsonl")
    folder = import_task(name, home / "tasks", source / "schema.json", train, source / "test.jsonl")
    file = folder / "task.yaml"
    ratios = f"  ratios: {{train: 0.75, val: 0.15, test: 0.1}}\n  seed: {seed}"
    text = file.read_text("utf-8").replace("  strategy: files", f"  strategy: files\n{ratios}")
    text += f"seed: {seed}\nprimary_metric: {{name: {case.primary}}}\ngeneration: {json.dumps(made)}\n"
    file.write_text(text, "utf-8")
    return load_task(name, home / "tasks")


def few(case: Case, source: Path, seed: int, target: Path) -> Path:
    """The rows that there are, drawn by the seed: `shots` of each whole output, else `rows` of all."""
    groups: dict[str, list[str]] = {}
    for line in source.read_text("utf-8").splitlines():
        key = json.dumps(json.loads(line)["output_json"], sort_keys=True) if case.shots else ""
        groups.setdefault(key, []).append(line)
    draw, size = random.Random(seed), case.shots or case.rows
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        "".join(f"{line}\n" for key in sorted(groups) for line in draw.sample(groups[key], min(size, len(groups[key])))), "utf-8"
    )
    return target


if __name__ == "__main__":
    main()
