"""Quality of the encoder family on public data: official test splits, several seeds, beside the published figures.

    .venv/bin/python bench/quality.py DATA [--only banking77 --only snips] [--seeds 3] [--home .pp/quality]

DATA holds a folder per data set with schema.json, train.jsonl and test.jsonl (val.jsonl where there is an official one). Rows are read and
split by the product's own dataset stage; models are its recipes, trained on one thread. A seed draws the validation rows, the start and the
order of batches; test rows are opened once a seed and nothing is chosen by them. What was measured is kept under --home by code and data:
a killed bench goes on. The interval of a figure is over test items (mean over seeds of each end); the range is over seeds.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VARIANT = "encoder-lora"


@dataclass(frozen=True)
class Figure:
    """A number of a task: the metric of the report, the floor that it must reach (None: none is set) and the published figure."""

    key: str
    metric: str
    floor: float | None
    published: str


@dataclass(frozen=True)
class Case:
    """A data set as a task. `shots` keeps as many training rows of each class, drawn by the seed; `primary` chooses the epoch."""

    name: str
    figures: tuple[Figure, ...]
    data: str = ""
    shots: int = 0
    primary: str = "object_exact_match"


CASES = [
    Case("banking77", (Figure("banking77_acc", "object_exact_match", 0.94, "BERT-large 0.937"),)),
    Case("banking77-10shot", (Figure("banking77_10shot_acc", "object_exact_match", 0.86, ""),), "banking77", 10),
    Case(
        "snips",
        (
            Figure("snips_intent_acc", "field_exact.intent", 0.986, "BERT 0.991, DistilBERT 0.980"),
            Figure("snips_slot_f1", "value_f1", 0.945, "BERT 0.969, DistilBERT 0.961"),
            Figure("snips_whole_acc", "object_exact_match", 0.885, "BERT 0.930, DistilBERT 0.910"),
        ),
    ),
    Case(
        "restaurant8k",
        (Figure("restaurant8k_slot_f1", "value_f1", 0.94, "Span-ConveRT 0.96, V-CNN-CRF 0.94"),),
        primary="value_f1",
    ),
    Case("wnut17", (Figure("wnut17_f1", "value_f1", 0.42, "shared task 0.419, Flair 0.496"),), "wnut17_ner", primary="value_f1"),
    Case(
        "nlupp-banking",
        (Figure("nlupp_intent_f1", "field_f1.intents", 0.91, "roughly 0.90 to 0.93"),),
        "nlupp_banking",
        primary="field_f1.intents",
    ),
    Case("sms-spam", (Figure("sms_spam_f1", "class_f1.label.spam", 0.97, ""),), "sms_spam"),
    Case(
        "product-aspects",
        (Figure("product_aspects_f1", "field_f1.aspects", None, ""),),
        "product_aspects",
        primary="field_f1.aspects",
    ),
    Case(
        "qa-extract",
        (
            Figure("qa_extract_f1", "field_f1.answer", None, "mBERT after SQuAD 0.835"),
            Figure("qa_extract_em", "object_exact_match", None, "mBERT after SQuAD 0.722"),
        ),
        "qa_extract",
        primary="field_f1.answer",
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", metavar="TASK", help=", ".join(case.name for case in CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=ROOT / ".pp" / "quality")
    args = parser.parse_args()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    result = []
    print(f"{'figure':22} {'mean':>6}  {'95 % over items':18} {'over seeds':18} {'floor':>6}  {'CPU s':>6}  published")
    for case in CASES:
        if args.only and case.name not in args.only:
            continue
        runs = [measure(case, args.data / (case.data or case.name), seed, args.home.resolve()) for seed in range(args.seeds)]
        for figure in case.figures:
            values = [run["figures"][figure.key] for run in runs]
            mean = {end: statistics.mean(v[end] for v in values) for end in ("value", "low", "high")}
            interval = f"[{mean['low']:.4f}, {mean['high']:.4f}]"
            spread = f"{min(v['value'] for v in values):.4f} - {max(v['value'] for v in values):.4f}"
            seconds = statistics.mean(run["cpu_s"] for run in runs)
            floor = "" if figure.floor is None else f"{figure.floor:.3f}"
            print(
                f"{figure.key:22} {mean['value']:6.4f}  {interval:18} {spread:18} {floor:>6}  {seconds:6.0f}  {figure.published}",
                flush=True,
            )
            result.append(f"{figure.key}={mean['value']:.4f}")
    print("RESULT " + " ".join(result))


def measure(case: Case, data: Path, seed: int, home: Path) -> dict[str, Any]:
    """Figures of one training: read from `home` when this very one was made before."""
    from pp_assets.sources import source_digest
    from pp_assets.task.dataset import dataset_inputs
    from pp_assets.training.recipes import get_recipe
    from pp_resources.fingerprint import digest

    task = write_task(case, data, seed, home / "tasks")
    recipe = get_recipe(VARIANT)
    code = source_digest("pp_assets.training.loop", "pp_assets.training.encoder", "pp_assets.evaluation.metrics")
    known = home / "measured" / f"{task.name}-{digest([dataset_inputs(task), asdict(recipe), seed, code])[:16]}.json"
    if not known.exists():
        found = run(case, task, seed, home)
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(found, indent=1))
    return json.loads(known.read_text())  # type: ignore[no-any-return]


def write_task(case: Case, data: Path, seed: int, tasks: Path) -> Any:
    """The task of a case and seed, written anew: 5 of 90 training rows are for validation where no file is."""
    from pp_assets.task.scaffold import import_task
    from pp_assets.task.spec import load_task

    name = f"{case.name}-{seed}"
    shutil.rmtree(tasks / name, ignore_errors=True)
    train = few(data / "train.jsonl", case.shots, seed, tasks.parent / f"{name}.jsonl") if case.shots else data / "train.jsonl"
    val = data / "val.jsonl"
    folder = import_task(name, tasks, data / "schema.json", train, data / "test.jsonl", val if val.exists() else None)
    file = folder / "task.yaml"
    ratios = "  ratios: {train: 0.85, val: 0.05, test: 0.1}\n  seed: " + str(seed)
    text = file.read_text("utf-8").replace("  strategy: files", f"  strategy: files\n{ratios}")
    file.write_text(text + f"primary_metric: {{name: {case.primary}}}\n", "utf-8")
    return load_task(name, tasks)


def few(source: Path, shots: int, seed: int, target: Path) -> Path:
    """`shots` rows of each class (the whole output), drawn by the seed."""
    rows: dict[str, list[str]] = {}
    for line in source.read_text("utf-8").splitlines():
        rows.setdefault(json.dumps(json.loads(line)["output_json"], sort_keys=True), []).append(line)
    draw = random.Random(seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{line}\n" for key in sorted(rows) for line in draw.sample(rows[key], min(shots, len(rows[key])))), "utf-8")
    return target


def run(case: Case, task: Any, seed: int, home: Path) -> dict[str, Any]:
    """Train, answer the test rows, score."""
    from pp_assets.evaluation.metrics import score_metrics
    from pp_assets.evaluation.predictions import make_rows
    from pp_assets.evaluation.scoring import score_rows
    from pp_assets.task.dataset import build_dataset
    from pp_assets.task.examples import open_test_split, read_split
    from pp_assets.training.encoder import EncoderRun
    from pp_assets.training.loop import train
    from pp_assets.training.predictors import load_predictor
    from pp_assets.training.recipes import get_recipe
    from pp_resources.json_schema import dump_output

    dataset, model = (home / kind / task.name for kind in ("datasets", "models"))
    for folder in (dataset, model):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    build_dataset(task, dataset)
    began = time.process_time()
    training = EncoderRun(task.spec, get_recipe(VARIANT), read_split(dataset, "train"), read_split(dataset, "val"), seed, 1)
    said = train(training, model, work=home / "work" / task.name)
    seconds = time.process_time() - began
    test = open_test_split(dataset, home / "ledger.jsonl", task.name, "bench/quality.py")
    answers = load_predictor(model, task.spec, 1).predict([example.input_text for example in test])
    scored = score_rows(task.spec, make_rows(test, answers, lambda out: dump_output(task.output_schema, out)))
    metrics = score_metrics(scored)
    figures: dict[str, dict[str, float | None]] = {}
    for figure in case.figures:
        if figure.metric.startswith("class_f1."):
            _, path, label = figure.metric.split(".")
            figures[figure.key] = class_f1(scored, path, label)
        else:
            metric = metrics[figure.metric]
            figures[figure.key] = {"value": metric.value, "low": metric.low, "high": metric.high}
    return {"cpu_s": seconds, "epochs": said["epochs"], "n": len(test), "train_rows": len(training.rows), "figures": figures}


def class_f1(scored: Any, path: str, label: str) -> dict[str, float | None]:
    """F1 of one class of an enum field, with a bootstrap interval over items."""
    import numpy as np

    from pp_assets.evaluation.tables import label as label_of

    truth, said = (np.array([label_of(a, path) == json.dumps(label) for a in side]) for side in (scored.expected, scored.answers))
    counts = np.stack([truth & said, truth, said]).astype(float)

    def f1(sums: Any) -> Any:
        return 2 * sums[0] / (sums[1] + sums[2])

    draws = np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=2000)
    low, high = np.quantile(f1(counts @ draws.T), [0.025, 0.975])
    return {"value": float(f1(counts.sum(1))), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    main()
