"""Builders of the data stages: each reads the folders of its upstream stages, fills an empty one and returns the numbers to show."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pp_assets.data.evaluate import evaluate_inputs, summary
from pp_assets.data.generation.asked import Answers, ask
from pp_assets.data.generation.filters import Embed, Judge
from pp_assets.data.generation.methods import MODES
from pp_assets.data.generation.run import Options, generate
from pp_assets.data.leakage import held_out, leaks
from pp_assets.data.review import NOBODY, Decided
from pp_assets.data.rows import read_generated, read_table, write_generated, write_table
from pp_assets.task.contract.files import load_contract
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import score_rows
from pp_assets.task.examples import Example, read_split
from pp_assets.task.spec import Task

if TYPE_CHECKING:
    from pp_resources.provider import Provider

SAMPLES = 12
SHOWN = ("by_method", "yields", "coverage", "diversity", "leaks", "asked", "skipped")
_CLUSTERS = pa.schema(
    [
        ("item_id", pa.string()),
        ("kind", pa.string()),
        ("topic", pa.int64()),
        ("strength", pa.float32()),
        ("x", pa.float32()),
        ("y", pa.float32()),
    ]
)
_SCORES = pa.schema(
    [
        ("item_id", pa.string()),
        ("kind", pa.string()),
        ("keep", pa.bool_()),
        ("score", pa.float64()),
        ("reason", pa.string()),
        ("checks", pa.string()),
    ]
)


def build_generated(
    task: Task, dataset: Path, out: Path, *, threads: int, decided: Decided = NOBODY, provider: "Provider | None" = None
) -> dict[str, Any]:
    """generated.parquet: new rows with parents, method, params and seed; generation.json and data_card.*: yields, coverage, diversity."""
    from pp_assets.data.generation.card import card, write_card

    train, held, schema = read_split(dataset, "train"), held_out(dataset), task.output_schema
    embed = embedder(task.spec.encoder_model_id, threads)
    asked = Answers()
    if provider is not None and task.spec.generation.ask_rows:
        words = f"{task.spec.description} {task.spec.rubric.text}".strip()
        asked = ask(provider, schema, train, task.spec.generation, task.spec.seed, words)
    told: dict[str, Any] = {"asked": asked.rows, "asked_dropped": asked.dropped, "rejected": decided.rejected}
    found = generate(schema, train, held, options_of(task), embed=embed, judge=judge_of(task, train), **told)
    rows = decided.generated(schema, found.rows)
    write_generated(out / "generated.parquet", rows)
    document = card(task, train, rows, found, held, embed, asked.facts)
    write_card(document, out)
    parents = {e.item_id: e.input_text for e in train}
    sample = [{"method": g.method, "parent": parents[g.parent][:200], "generated": g.example.input_text[:200]} for g in rows[:SAMPLES]]
    return {"rows": len(rows), **{name: document[name] for name in SHOWN}, "sample": sample}


def judge_of(task: Task, train: Sequence[Example]) -> Judge:
    """Scores of rows by the task's contract, its own or the derived one, without a provider: nodes that need one have no say."""
    contract = load_contract(task, train)

    def judge(rows: Sequence[Example]) -> list[float | None]:
        total = score_rows(contract, [Row(row.input_text, row.output) for row in rows]).total
        return [None if np.isnan(score) else float(score) for score in total]

    return judge


def options_of(task: Task) -> Options:
    """How a task wants rows to be made."""
    spec = task.spec.generation
    methods = tuple(spec.methods if spec.methods is not None else MODES[spec.exploration_mode])
    near, seed = task.spec.eval_split.near_duplicate_threshold, task.spec.seed
    return Options(spec.per_seed, seed, methods, near, spec.similarity_threshold, spec.min_contract_score)


def build_clusters(dataset: Path, generated: Path, out: Path, *, encoder: str, seed: int, threads: int) -> dict[str, Any]:
    """embeddings.npy, clusters.parquet, topics.json, map.png; rows are those of train, then the generated ones.

    Topics come from written rows alone: copies of a row would pass for a dense place. A generated row has its parent's topic.
    """
    import torch

    from pp_assets.data.cluster import OUTLIERS, cluster, draw_map, topics
    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder

    torch.set_num_threads(threads)
    written, made = read_split(dataset, "train"), read_generated(generated / "generated.parquet")
    texts = [e.input_text for e in written]
    vectors = Embedder(find_base(encoder)).embed([*texts, *(g.example.input_text for g in made)])
    np.save(out / "embeddings.npy", vectors, allow_pickle=False)
    own = vectors[: len(written)]
    found = cluster(own, seed)
    named = topics(texts, [e.item_id for e in written], own, found.labels)
    place = {e.item_id: i for i, e in enumerate(written)}
    parents = [(e.item_id, "written", i) for i, e in enumerate(written)] + [(g.example.item_id, "generated", place[g.parent]) for g in made]
    records = [
        {"item_id": item, "kind": kind, "topic": found.labels[i], "strength": found.strength[i], "x": found.map[i, 0], "y": found.map[i, 1]}
        for item, kind, i in parents
    ]
    write_table(out / "clusters.parquet", records, _CLUSTERS)
    (out / "topics.json").write_text(json.dumps(named, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draw_map(out / "map.png", found, named)
    outliers = int((found.labels == OUTLIERS).sum())
    shown = [{"topic": t["name"], "rows": t["size"], "example": t["examples"][0]["input_text"][:200]} for t in named[:20]]
    return {"rows": len(texts), "topics": len(set(found.labels.tolist()) - {OUTLIERS}), "outliers": outliers, "table": shown}


def build_inputs(task: Task, dataset: Path, generated: Path, clusters: Path, out: Path) -> dict[str, Any]:
    """inputs.parquet: one verdict a row. Kept rows that resemble held-out rows are counted as leaks, by kind."""
    rows, written = _rows(dataset, generated)
    vectors = np.load(clusters / "embeddings.npy", allow_pickle=False)
    found = evaluate_inputs(task.output_schema, rows[:written], rows[written:], vectors)
    records = [{**one.__dict__, "checks": json.dumps(one.checks)} for one in found]
    write_table(out / "inputs.parquet", records, _SCORES)
    kept = [row for row, one in zip(rows, found) if one.keep]
    leaking = leaks(kept, held_out(dataset), task.spec.eval_split.near_duplicate_threshold)
    worst = sorted((pair for pair in zip(rows, found) if not pair[1].keep), key=lambda pair: pair[1].item_id)[:SAMPLES]
    dropped = [{"kind": one.kind, "reason": one.reason, "score": one.score, "input": row.input_text[:200]} for row, one in worst]
    # Given official splits are used as they are; what they share is shown and does not stop anything.
    return {**summary(found), "leaks": leaking, "splits_given": task.spec.eval_split.strategy == "files", "dropped_sample": dropped}


def kept_ids(inputs: Path) -> set[str]:
    """Item ids that the evaluated inputs keep."""
    return {row["item_id"] for row in read_table(inputs / "inputs.parquet") if row["keep"]}


def embedder(model_id: str, threads: int) -> Embed:
    """Embeddings by the task's encoder, each text once; nothing is loaded before the first."""
    known: dict[str, np.ndarray] = {}

    def embed(texts: Sequence[str]) -> np.ndarray:
        import torch

        from pp_resources.models.bases import find_base
        from pp_resources.models.embedder import Embedder

        torch.set_num_threads(threads)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, Embedder(find_base(model_id)).embed(new)))
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)

    return embed


def _rows(dataset: Path, generated: Path) -> tuple[list[Example], int]:
    """Training rows, then generated ones; and how many of them were written by people."""
    train = read_split(dataset, "train")
    return [*train, *(g.example for g in read_generated(generated / "generated.parquet"))], len(train)
