"""Proof that nothing a model learns from is also in the data it is judged by.

Only the inputs, ids and groups of held-out rows are read here, to keep copies of them out of training; expected outputs are not, so nothing
about the answers can flow, and it does not count as opening the test split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pp_assets.task.duplicates import BandHasher, jaccard, normalise, shingles


@dataclass(frozen=True)
class HeldOut:
    """Inputs, ids and groups of validation and test rows."""

    texts: list[str]
    item_ids: frozenset[str]
    groups: frozenset[str]


def held_out(dataset_dir: Path, splits: Sequence[str] = ("val", "test")) -> HeldOut:
    """The rows that training must not resemble."""
    table = pq.read_table(
        dataset_dir / "clean.parquet", columns=["item_id", "input_text", "group"], filters=[("split", "in", list(splits))]
    )
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return HeldOut(columns["input_text"], frozenset(columns["item_id"]), frozenset(columns["group"]))


def nearest_similarity(texts: Sequence[str], others: Sequence[str], threshold: float) -> list[float]:
    """For each text the highest Jaccard similarity (character 5-grams) to any of `others` that reaches the threshold, else 0."""
    if not texts or not others:
        return [0.0] * len(texts)
    hasher = BandHasher(threshold)
    ours, theirs = [normalise(t) for t in texts], [normalise(t) for t in others]
    keys, other_keys = hasher.keys(ours), hasher.keys(theirs)
    candidates: list[set[int]] = [set() for _ in texts]
    for band in range(hasher.bands):
        order = np.argsort(other_keys[:, band], kind="stable")
        column = other_keys[order, band]
        starts, ends = (np.searchsorted(column, keys[:, band], side=side) for side in ("left", "right"))
        for i in np.flatnonzero(ends > starts).tolist():
            candidates[i].update(order[starts[i] : ends[i]].tolist())
    sets: dict[int, frozenset[str]] = {}
    best = []
    for text, found in zip(ours, candidates):
        mine = shingles(text) if found else frozenset()
        similar = (jaccard(mine, sets.setdefault(j, shingles(theirs[j]))) for j in found)
        best.append(max((s for s in similar if s >= threshold), default=0.0))
    return best


def leaks(rows: Sequence[Any], held: HeldOut, threshold: float) -> dict[str, int]:
    """How many of these training rows share an item, a group or a near-identical input with held-out rows."""
    near = nearest_similarity([row.input_text for row in rows], held.texts, threshold)
    return {
        "same_item": sum(row.item_id in held.item_ids for row in rows),
        "same_group": sum(row.group in held.groups for row in rows),
        "near_duplicate": sum(similarity > 0 for similarity in near),
    }
