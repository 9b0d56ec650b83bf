"""Builder of the stage: a verdict on every training and generated row, and the proof that none of the kept ones is held out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pp_assets.data.difficulty import difficulty
from pp_assets.data.evaluate import Evaluated, evaluate_inputs, summary, verdict_plot
from pp_assets.data.labels import FILE as LABEL_ERRORS
from pp_assets.data.labels import Suspect, suspects, write_suspects
from pp_assets.data.labels import summary as label_summary
from pp_assets.data.leakage import Embed, Leak, find_leaks, held_out, leaks
from pp_assets.data.neighbours import Near, near_written
from pp_assets.data.novelty import novelty
from pp_assets.data.rows import read_generated, read_table, write_table
from pp_assets.data.sources import Row as Line
from pp_assets.data.statistics import describe, draw
from pp_assets.task.contract.spec import Contract
from pp_assets.task.examples import Example, read_split
from pp_assets.task.spec import Task

SAMPLES = 12
MOST_LABELLED = 50_000  # rows: beyond it each is not compared with each to find suspect labels
_SCORES = pa.schema(
    [
        *((name, pa.string()) for name in ("item_id", "kind")),
        ("keep", pa.bool_()),
        *((name, pa.float64()) for name in ("score", "filter_score", "contract", "novelty", "difficulty")),
        *((name, pa.string()) for name in ("reason", "checks")),
    ]
)


def build_inputs(
    task: Task, contract: Contract, dataset: Path, generated: Path, clusters: Path, out: Path, *, embed: Embed
) -> dict[str, Any]:
    """inputs.parquet: one verdict a row; inputs.png; label_errors.jsonl: suspect labels; stats.json, stats.png: what is kept.

    Rows that are held-out items, disturbed, are dropped, but for given splits; what is kept and resembles held-out rows is counted as
    leaks, by kind.
    """
    written = read_split(dataset, "train")
    made = [g.example for g in read_generated(generated / "generated.parquet")]
    rows, schema = [*written, *made], task.output_schema
    vectors = np.load(clusters / "embeddings.npy", allow_pickle=False)
    given = task.spec.eval_split.strategy == "files"
    held = held_out(dataset)
    leaking = _leaking([row.input_text for row in rows], held.texts, vectors, embed)
    near = near_written(vectors, _groups(rows), len(written))
    found = evaluate_inputs(
        schema,
        written,
        made,
        near,
        # Given official splits are used as they are; what they share is shown and does not stop anything.
        leaking=frozenset() if given else frozenset(leak.place for leak in leaking),
        measured={
            "contract": _by_contract(contract, rows),
            "novelty": novelty(near),
            "difficulty": difficulty(schema, written, made, vectors),
        },
        limits=task.spec.inputs,
    )
    write_table(out / "inputs.parquet", [{**one.__dict__, "checks": json.dumps(one.checks)} for one in found], _SCORES)
    (out / "inputs.png").write_bytes(verdict_plot(found))
    kept = [row for row, one in zip(rows, found) if one.keep]
    still = [leak for leak in leaking if found[leak.place].keep]
    counts = leaks(kept, held, task.spec.eval_split.near_duplicate_threshold, still)
    wrong, known = _suspects(task, written, vectors, near)
    write_suspects(out / LABEL_ERRORS, wrong)
    told = describe(Line(row.input_text, json.dumps(row.output, sort_keys=True), "") for row in kept)
    (out / "stats.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draw(out / "stats.png", told)
    numbers = {"duplicates": told["duplicates"], **label_summary(wrong, known, SAMPLES)}
    return {**summary(found), **numbers, "leaks": counts, "splits_given": given, **_samples(rows, found, leaking, held.texts)}


def kept_ids(inputs: Path) -> set[str]:
    """Item ids that the evaluated inputs keep."""
    return {row["item_id"] for row in read_table(inputs / "inputs.parquet") if row["keep"]}


def _by_contract(contract: Contract, rows: Sequence[Example]) -> np.ndarray:
    """Scores of the rows' own outputs; nodes that ask a model or compare with a label have no say."""
    from pp_assets.task.contract.rules import Row
    from pp_assets.task.contract.score import score_rows

    return score_rows(contract, [Row(row.input_text, row.output) for row in rows]).total


def _suspects(task: Task, written: Sequence[Example], vectors: np.ndarray, near: Near) -> tuple[list[Suspect], dict[str, float]]:
    n = len(written)
    if n > MOST_LABELLED:
        return [], {}
    # A suspect label is held against all written rows; of a larger set `near` knows a part of them.
    every = near if len(near.among) == n else near_written(vectors[:n], _groups(written), n, n)
    return suspects(task.output_schema, written, every)


def _groups(rows: Sequence[Example]) -> list[str]:
    return [row.group or row.item_id for row in rows]


def _leaking(texts: list[str], held: list[str], vectors: np.ndarray, embed: Embed) -> list[Leak]:
    """The rows that are held-out items, whose vectors go into no file of the stage: nothing downstream can learn from them."""
    return find_leaks(texts, held, (vectors, embed(held)), embed)


def _samples(rows: Sequence[Example], found: Sequence[Evaluated], leaking: Sequence[Leak], held: Sequence[str]) -> dict[str, Any]:
    """Tables of single rows: what was dropped, what is like held-out rows, the most novel and the hardest."""

    def shown(places: Sequence[int], *names: str) -> list[dict[str, Any]]:
        return [
            {name: getattr(found[i], name) for name in ("kind", *names)} | {"input": rows[i].input_text[:200]} for i in places[:SAMPLES]
        ]

    def most(name: str) -> list[int]:
        return sorted((i for i, one in enumerate(found) if getattr(one, name) is not None), key=lambda i: (-getattr(found[i], name), i))

    dropped = sorted((i for i, one in enumerate(found) if not one.keep), key=lambda i: found[i].item_id)
    alike = [
        {
            "kept": found[leak.place].keep,
            "similarity": leak.similarity,
            "input": rows[leak.place].input_text[:200],
            "held_out": held[leak.other][:200],
        }
        for leak in leaking[:SAMPLES]
    ]
    return {
        "dropped_sample": shown(dropped, "reason", "score"),
        "leaking_sample": alike,
        "novel_sample": shown(most("novelty"), "novelty"),
        "hard_sample": shown(most("difficulty"), "difficulty"),
    }
