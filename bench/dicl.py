"""What chosen examples are worth: beside a trained encoder, before a small language model, and how long choosing takes.

    .venv/bin/python -m bench.dicl DATA [--seeds 2] [--test 1000] [--items 60] [--recipe encoder-lora] [--home .pp/dicl]

DATA holds banking77 as schema.json, train.jsonl and test.jsonl. An encoder learns 10 rows of each label (15 in 100 of them for
validation); the head of neighbours has the same rows, then 1,000 and 3,000 demonstrations more, other training rows, which go through the
store and the gate. Weights are fitted on validation rows, nothing was tuned on test rows. The language model is the shipped one on
support-triage: without examples, with fixed ones, with chosen ones. What was trained is kept under --home.
"""

import argparse
import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.lowdata import Case, write_task
from pp_assets.base_systems import Base, answer_budget, few_shot
from pp_assets.data.generation.proof import WITH, WITHOUT, compared, line_of
from pp_assets.data.leakage import held_out
from pp_assets.evaluation.compare import compare_systems
from pp_assets.evaluation.predictions import make_rows
from pp_assets.pipeline import rows_digest
from pp_assets.prompts.dicl.index import Index, Worked
from pp_assets.prompts.dicl.retriever import Choosing, Retriever
from pp_assets.prompts.dicl.shelf import Shelf
from pp_assets.prompts.dicl.stage import Ground, encoder_name, grown, rules_of
from pp_assets.prompts.dicl.systems import BlendedPredictor, ContextPredictor
from pp_assets.sources import source_digest
from pp_assets.task.causal_prompt import prompt_of
from pp_assets.task.contract.derive import derive
from pp_assets.task.dataset import build_dataset
from pp_assets.task.examples import open_test_split, read_split
from pp_assets.task.spec import load_task
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output
from pp_resources.store.opened import open_store
from pp_resources.store.rows import Feedback

ROOT = Path(__file__).resolve().parent.parent
ARMS = ("none", "start", "+1000", "+3000")
DRAWN = 0  # seed of the test items, the same for all seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--test", type=int, default=3080, help="test items of banking77")
    parser.add_argument("--items", type=int, default=60, help="test items of support-triage")
    parser.add_argument("--recipe", default="encoder-lora")
    parser.add_argument("--home", type=Path, default=ROOT / ".pp" / "dicl")
    parser.add_argument("--only", choices=("time", "encoder", "causal"))
    args = parser.parse_args()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    import torch

    torch.set_num_threads(1)
    found = dict[str, float | None]()
    if args.only in (None, "time"):
        found |= {f"select_ms_{count}": select_time(count) for count in (10_000, 100_000)}
    if args.only in (None, "encoder"):
        found |= encoder(args.data, args.home.resolve(), args.seeds, args.test, args.recipe)
    if args.only in (None, "causal"):
        found |= causal(args.home.resolve(), args.items)
    print("RESULT " + " ".join(f"{key}={'none' if value is None else format(value, '.4f')}" for key, value in found.items()))


def select_time(count: int, queries: int = 200) -> float:
    """Median milliseconds of choosing 4 of so many examples for a vector of 384, one thread."""

    draw = np.random.default_rng(0)
    words = [f"word{i}" for i in range(2000)]
    examples = [Worked(f"{i:08}", " ".join(draw.choice(words, 10)), {"y": i % 77}, str(i % 77)) for i in range(count)]
    retriever, began = Retriever(), time.perf_counter()
    retriever.swap(Index.of(examples, draw.normal(size=(count, 384)).astype(np.float32)))
    made = time.perf_counter() - began
    vectors = draw.normal(size=(queries, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    taken = []
    for i, vector in enumerate(vectors):
        began = time.perf_counter()
        assert len(retriever.select(examples[i].input_text, vector=vector)) == 4
        taken.append(1000 * (time.perf_counter() - began))
    p50, p99 = np.quantile(taken, [0.5, 0.99])
    print(f"{count:,} examples: {p50:.2f} ms (p99 {p99:.2f}), index made in {made:.1f} s, {count * 384 * 4 / 2**20:.0f} MB", flush=True)
    return float(p50)


class Once:
    """A predictor that is asked each text once, and an embedding that is."""

    def __init__(self, inner: Any, embed: Any) -> None:
        self.name, self._inner, self._embed = inner.name, inner, embed
        self._said: dict[str, Any] = {}
        self._vectors: dict[str, np.ndarray] = {}

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Any]:
        new = [text for text in dict.fromkeys(inputs) if text not in self._said]
        self._said |= dict(zip(new, self._inner.predict(new, distributions=True)))
        return [self._said[text] if distributions else replace(self._said[text], choices={}) for text in inputs]

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors |= dict(zip(new, self._embed(new)))
        return np.stack([self._vectors[text] for text in texts])


def encoder(data: Path, home: Path, seeds: int, items: int, recipe: str) -> dict[str, float | None]:
    """Gains of the blends over the classifier alone on test rows, seeds pooled by item."""

    said: dict[str, dict[int, Any]] = {arm: {} for arm in ARMS}
    for seed in range(seeds):
        spec, rows = of_seed(data, home, seed, items, recipe)
        for arm, answers in rows.items():
            said[arm][seed] = answers
    found = dict[str, float | None]()
    for arm in ARMS[1:]:
        one = compared(spec, {WITH: said[arm], WITHOUT: said["none"]})[WITHOUT]
        print(f"banking77, {recipe}, {arm}: {line_of(one, 'without a blend')}", flush=True)
        told = {"value": one.value, "gain": one.effect, "low": one.low, "high": one.high}
        found |= {f"{arm.strip('+')}_{key}": value for key, value in told.items()}
    return {"none_value": one.other_value} | found


def of_seed(data: Path, home: Path, seed: int, items: int, recipe: str) -> tuple[Any, dict[str, Any]]:
    """(spec, by arm the answers to the test items)."""

    from pp_resources.models.embedder import Embedder

    task = write_task(Case("banking77", shots=10), data, seed, home)
    dataset = fresh(home / "datasets" / f"banking77-{seed}")
    build_dataset(task, dataset)
    train, val = read_split(dataset, "train"), read_split(dataset, "val")
    test = open_test_split(dataset, home / "ledger.jsonl", task.name, "bench/dicl.py")
    test = random.Random(DRAWN).sample(sorted(test, key=lambda e: e.item_id), min(items, len(test)))
    once = Once(classifier(task, recipe, train, val, home), Embedder.of(task.spec.encoder_model_id, 1).embed)
    shelf = Shelf(open_store(fresh(home / "stores" / str(seed))), task.name)
    ground = Ground(task, train, held_out(dataset), derive(task.spec, train), once.embed, encoder_name(task.spec.encoder_model_id))
    more = demonstrations(data / "banking77" / "train.jsonl", {e.input_text for e in [*train, *val]}, seed)
    retriever, rows, sent = Retriever(once.embed), {}, 0
    model = BlendedPredictor("dicl", once, task.spec, retriever)
    for arm in ARMS:
        if arm != "none":
            send(shelf, task.name, more[sent : (upto := int(arm) if arm.startswith("+") else 0)])
            sent = upto
            told = grown(shelf, ground, rules_of(task))
            retriever.swap(shelf.index(ground.encoder))
            (blend,) = model.fit(val).values()
            gate = f"{told['active']} of {told['candidates']} candidates; {told['reasons']}"
            print(f"seed {seed} {arm}: {gate}; weight {blend.weight}, sharpness {blend.sharpness}, {blend.why}", flush=True)
        answers = model.predict([e.input_text for e in test])
        rows[arm] = make_rows(test, answers, lambda out: dump_output(task.output_schema, out))
    return task.spec, rows


def classifier(task: Any, recipe: str, train: Sequence[Any], val: Sequence[Any], home: Path) -> Any:
    """The trained encoder; from --home where it was trained before."""

    from pp_assets.training.encoder import EncoderRun
    from pp_assets.training.loop import train as train_on
    from pp_assets.training.overrides import recipe_of
    from pp_assets.training.predictors import load_predictor

    made, code = recipe_of(task, recipe), source_digest("pp_assets.training.loop", "pp_assets.training.encoder")
    folder = home / "models" / digest([rows_digest(train), rows_digest(val), repr(made), task.spec.seed, code])[:16]
    if not (folder / "training.json").exists():
        run = EncoderRun(task.spec, made, train, val, task.spec.seed, 1)
        print(f"training {recipe} on {len(train)} rows, {run.epochs} epochs", flush=True)
        train_on(run, folder.with_suffix(".made"), work=folder.with_suffix(".work"))
        folder.with_suffix(".made").rename(folder)
    return load_predictor(folder, task.spec, 1)


def demonstrations(source: Path, used: set[str], seed: int) -> list[dict[str, Any]]:
    """Other training rows in an order of the seed."""
    rows = [row for line in source.read_text("utf-8").splitlines() if (row := json.loads(line))["input_text"] not in used]
    return random.Random(seed).sample(rows, 3000)


def send(shelf: Any, task: str, rows: Sequence[dict[str, Any]]) -> None:

    said = [Feedback(kind="demonstration", task=task, input=r["input_text"], output=json.dumps(r["output_json"])) for r in rows]
    for refused in filter(lambda result: isinstance(result, Exception), shelf.store.write_many(said) if said else ()):
        raise refused


def causal(home: Path, items: int) -> dict[str, float | None]:
    """The shipped language model bound to the schema: fields that are right with fixed and with chosen examples, against none."""

    from pp_resources.models.causal import CausalPredictor
    from pp_resources.models.embedder import Embedder

    task = load_task("support-triage", ROOT / "tasks")
    spec, dataset = task.spec, fresh(home / "datasets" / "support-triage")
    build_dataset(task, dataset)
    train = read_split(dataset, "train")
    test = open_test_split(dataset, home / "ledger.jsonl", task.name, "bench/dicl.py")
    test = random.Random(DRAWN).sample(sorted(test, key=lambda e: e.item_id), min(items, len(test)))
    texts = [e.input_text for e in test]
    embed = Embedder.of(spec.encoder_model_id, 1).embed
    shelf = Shelf(open_store(fresh(home / "stores" / "causal")), task.name)
    ground = Ground(task, train, held_out(dataset), derive(spec, train), embed, encoder_name(spec.encoder_model_id))
    told = grown(shelf, ground, rules_of(task))
    print(f"support-triage: {told['active']} of {told['candidates']} training rows are examples; {told['reasons']}", flush=True)
    base = Base(spec.base_model_id)
    options: dict[str, Any] = {"constrained": True, "max_new_tokens": answer_budget(task, train, base.tokenizer)}
    none = CausalPredictor("none", base.model, base.tokenizer, spec.output_schema, prompt_of(spec), **options)
    count = spec.decoding.few_shot
    retriever = Retriever(embed, shelf.index(ground.encoder))
    systems: dict[str, Any] = {
        "none": none,
        "static": none.behind(prompt_of(spec, few_shot(train, count, spec.seed))),
        "dicl": ContextPredictor("dicl", spec, none, retriever, Choosing(k=count)),
    }
    rows: dict[str, Any] = {}
    for name, system in systems.items():
        began, answers = time.perf_counter(), system.predict(texts)
        rows[name] = make_rows(test, answers, lambda out: dump_output(spec.output_schema, out))
        seconds, tokens = (time.perf_counter() - began) / len(texts), np.mean([one.tokens_in for one in answers])
        print(f"  {name}: {tokens:.0f} tokens in, {seconds:.2f} s an answer", flush=True)
    found: dict[str, float | None] = {}
    for name, other in (("static", "none"), ("dicl", "none"), ("dicl", "static")):
        for metric in ("field_exact_mean", "field_exact.category"):
            one = compare_systems(spec, rows[name], rows[other], metric)
            interval = f"[{one.low:+.4f}, {one.high:+.4f}]" if one.low is not None and one.high is not None else one.reason
            print(f"  {metric} {name} {one.value:.4f}, {other} {one.other_value:.4f}: {one.effect:+.4f} {interval}, n {one.n}", flush=True)
            if metric == "field_exact_mean":
                key = f"causal_{name}_over_{other}"
                found |= {key: one.effect, f"{key}_low": one.low, f"{key}_high": one.high}
    return found


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main()
