"""Builders of the data stages: each reads the folders of its upstream stages, fills an empty one and returns the numbers to show."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pp_assets.data.evaluate import evaluate_inputs, summary
from pp_assets.data.generation.asked import Answers, ask
from pp_assets.data.generation.filters import Embed, Judge
from pp_assets.data.generation.methods import MODES
from pp_assets.data.generation.run import Options, generate
from pp_assets.data.labels import FILE as LABEL_ERRORS
from pp_assets.data.labels import summary as label_summary
from pp_assets.data.labels import suspects, write_suspects
from pp_assets.data.leakage import Leak, find_leaks, held_out, leaks
from pp_assets.data.review import NOBODY, Decided
from pp_assets.data.rows import read_generated, read_table, write_generated, write_table
from pp_assets.data.sources import Row as Line
from pp_assets.data.statistics import describe, draw
from pp_assets.task.contract.files import load_contract
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import score_rows
from pp_assets.task.examples import Example, read_split
from pp_assets.task.spec import Task

if TYPE_CHECKING:
    from pp_resources.provider import Provider

if TYPE_CHECKING:
    from pp_assets.data.clusters.model import Clusters

SAMPLES = 12
MOST_LABELLED = 50_000  # rows: beyond it each is not compared with each to find suspect labels
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


@dataclass(frozen=True)
class TopicOptions:
    """How the clusters are made: the sentence encoder, the seed of the map's layout, threads, and the key in meta that holds a time."""

    encoder: str
    seed: int
    threads: int
    time_field: str | None = None


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


def build_clusters(dataset: Path, generated: Path, out: Path, *, options: "TopicOptions", before: Path | None = None) -> dict[str, Any]:
    """embeddings.npy, the clusters, clusters.parquet, topics.json, map.html, map.png; rows are those of train, then the generated ones.

    Topics come from written rows alone: copies of a row would pass for a dense place. A generated row has its parent's topic. With the
    clusters of `before` it is a refit, which keeps ids and names.
    """
    import torch

    from pp_assets.data.clusters.fit import fit, refit
    from pp_assets.data.clusters.layout import positions
    from pp_assets.data.clusters.model import OUTLIER, load, save
    from pp_assets.data.clusters.naming import name_quality, name_topics
    from pp_assets.data.clusters.tables import seconds, topic_table
    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder

    torch.set_num_threads(options.threads)
    written, made = read_split(dataset, "train"), read_generated(generated / "generated.parquet")
    texts, items = [e.input_text for e in written], [e.item_id for e in written]
    embedder = Embedder(find_base(options.encoder))
    vectors = embedder.write([*texts, *(g.example.input_text for g in made)], out / "embeddings.npy")
    own = vectors[: len(written)]
    old = load(before) if before else None
    found = name_topics(refit(old, own, items) if old and old.centroids.shape[1] == own.shape[1] else fit(own, items), texts)
    save(found, out)
    places = positions(own, items, options.seed)
    quality = name_quality(found, own, embedder.embed)
    times = [seconds(e.meta.get(options.time_field)) for e in written] if options.time_field else None
    named = topic_table(found, texts, own, times=times, quality=quality)
    at = {item: i for i, item in enumerate(items)}
    rows = [(e.item_id, "written", i) for i, e in enumerate(written)] + [(g.example.item_id, "generated", at[g.parent]) for g in made]
    records = [
        {"item_id": item, "kind": kind, "topic": found.labels[i], "strength": found.similarity[i], "x": places[i, 0], "y": places[i, 1]}
        for item, kind, i in rows
    ]
    write_table(out / "clusters.parquet", records, _CLUSTERS)
    _write_json(out / "topics.json", {"topics": named, "names": {k: v for k, v in quality.items() if k != "topics"}})
    _draw(out, written, made, found, places, named)
    return {
        "rows": len(texts),
        "topics": len(found.ids),
        "outliers": found.outliers,
        "outlier_share": round(found.outliers / max(1, len(texts)), 4),
        "names_tell": quality["accuracy"],
        "changes": dict(sorted(Counter(e["kind"] for e in found.history[-1]["events"]).items())) if found.history else {},
        "table": [_shown(entry) for entry in named[:20]],
        "history": [_told(event) for event in (found.history[-1]["events"] if found.history else []) if event["kind"] != "survived"][:20],
        "strays": [{"input": e["input_text"][:200]} for t in named if t["topic"] == OUTLIER for e in t["examples"]],
    }


def build_inputs(task: Task, dataset: Path, generated: Path, clusters: Path, out: Path, *, threads: int) -> dict[str, Any]:
    """inputs.parquet: one verdict a row; label_errors.jsonl: suspect labels; stats.json, stats.png: what is kept.

    Rows that are held-out items, disturbed, are dropped, but for given splits; what is kept and resembles held-out rows is counted as
    leaks, by kind.
    """
    rows, written = _rows(dataset, generated)
    vectors = np.load(clusters / "embeddings.npy", allow_pickle=False)
    given = task.spec.eval_split.strategy == "files"
    held = held_out(dataset)
    leaking = _leaking([row.input_text for row in rows], held.texts, vectors, task.spec.encoder_model_id, threads)
    # Given official splits are used as they are; what they share is shown and does not stop anything.
    unwanted = frozenset() if given else frozenset(leak.place for leak in leaking)
    found = evaluate_inputs(task.output_schema, rows[:written], rows[written:], vectors, unwanted)
    records = [{**one.__dict__, "checks": json.dumps(one.checks)} for one in found]
    write_table(out / "inputs.parquet", records, _SCORES)
    kept = [row for row, one in zip(rows, found) if one.keep]
    still = [leak for leak in leaking if found[leak.place].keep]
    counts = leaks(kept, held, task.spec.eval_split.near_duplicate_threshold, still)
    worst = sorted((pair for pair in zip(rows, found) if not pair[1].keep), key=lambda pair: pair[1].item_id)[:SAMPLES]
    dropped = [{"kind": one.kind, "reason": one.reason, "score": one.score, "input": row.input_text[:200]} for row, one in worst]
    shown = [
        {
            "kept": found[leak.place].keep,
            "similarity": leak.similarity,
            "input": rows[leak.place].input_text[:200],
            "held_out": held.texts[leak.other][:200],
        }
        for leak in leaking[:SAMPLES]
    ]
    wrong, known = suspects(task.output_schema, rows[:written], vectors[:written]) if written <= MOST_LABELLED else ([], {})
    write_suspects(out / LABEL_ERRORS, wrong)
    told = describe(Line(row.input_text, json.dumps(row.output, sort_keys=True), "") for row in kept)
    (out / "stats.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draw(out / "stats.png", told)
    numbers = {"duplicates": told["duplicates"], **label_summary(wrong, known, SAMPLES)}
    return {**summary(found), **numbers, "leaks": counts, "splits_given": given, "dropped_sample": dropped, "leaking_sample": shown}


def _leaking(texts: list[str], held: list[str], vectors: np.ndarray, encoder: str, threads: int) -> list[Leak]:
    """The rows that are held-out items; these are embedded here and thrown away, so that nothing downstream can learn from them."""
    import torch

    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder

    torch.set_num_threads(threads)
    embed = Embedder(find_base(encoder)).embed
    return find_leaks(texts, held, (vectors, embed(held)), embed)


def kept_ids(inputs: Path) -> set[str]:
    """Item ids that the evaluated inputs keep."""
    return {row["item_id"] for row in read_table(inputs / "inputs.parquet") if row["keep"]}


def _draw(
    out: Path, written: list[Example], made: Sequence[Any], found: "Clusters", places: np.ndarray, named: list[dict[str, Any]]
) -> None:
    """The map as a page and as a picture. A generated row stands where its parent does, a little apart."""
    from dataclasses import replace

    from pp_assets.data.clusters.page import write_map
    from pp_assets.data.clusters.picture import draw_map

    draw_map(out / "map.png", found.labels, places, named)
    at = {e.item_id: i for i, e in enumerate(written)}
    parents = np.array([at[g.parent] for g in made], dtype=np.int64)
    rows = np.concatenate([np.arange(len(written)), parents])
    both = [*written, *(g.example for g in made)]
    drawn = replace(found, item_ids=tuple(e.item_id for e in both), labels=found.labels[rows], similarity=found.similarity[rows])
    reach = float(np.ptp(places, axis=0).max()) / 300
    apart = np.concatenate([np.zeros_like(places), reach * np.random.default_rng(0).standard_normal((len(made), 2))])
    fields: dict[str, list[Any]] = {"kind": ["written"] * len(written) + [g.method for g in made]}
    for name in sorted({name for e in written for name in e.output}):
        fields[name] = [e.output.get(name) for e in both]
    write_map(out / "map.html", drawn, places[rows] + apart, [e.input_text for e in both], title="Training inputs by topic", fields=fields)


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of the table of topics."""
    placed = entry.get("placed")
    line = {"id": entry["topic"], "topic": entry["name"], "rows": entry["size"], "share": entry["share"]}
    line["name_tells"] = f"{placed[0]} of {placed[1]}" if placed else ""
    line["trend"] = " ".join(str(part["rows"]) for part in entry.get("trend", []))
    return line | {"example": entry["examples"][0]["input_text"][:200]}


def _told(event: dict[str, Any]) -> dict[str, Any]:
    """A line of the history."""
    old, new = (", ".join(map(str, event[name])) for name in ("old", "new"))
    return {"event": event["kind"], "before": old, "after": new, "rows_before": event["before"], "rows_after": event["after"]}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


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
