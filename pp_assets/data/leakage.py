"""Proof that nothing a model learns from is also in the data it is judged by.

Only the inputs, ids and groups of held-out rows are read here, to keep copies of them out of training; expected outputs are not, so nothing
about the answers can flow, and it does not count as opening the test split.

A row leaks when a held-out row is the same item: a candidate by 3-grams or by the cosine of sentence embeddings that passes the checks of
numbers, names, negations and words (`pp_assets.task.same_item`). Someone else's question in similar words is no leak.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pp_assets.task.duplicates import BandHasher, jaccard, normalise, shingles
from pp_assets.task.same_item import SAME, Alike, difference, read
from pp_assets.task.similar import EXACT_PAIRS, candidates, known_words, nearest

LEAST_COSINE = 0.9  # of sentence embeddings: a candidate
SAME_MEANING = 0.85  # below it words that mean the same are not looked for
SYNONYMS = 0.4  # cosine of two words that may stand for each other: of guarded WordNet synonyms 95 % reach it
CERTAIN, SYNONYMS_THERE = 0.97, 0.25  # the same where the sentences are nearly one
COARSE = 0.8  # Jaccard similarity that bands look for in larger sets
BLOCK = 1024
Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class HeldOut:
    """Inputs, ids and groups of validation and test rows."""

    texts: list[str]
    item_ids: frozenset[str]
    groups: frozenset[str]


@dataclass(frozen=True)
class Leak:
    """A text (its place) that is the same item as one of the others (its place), with the similarity of their 3-grams."""

    place: int
    other: int
    similarity: float


def held_out(dataset_dir: Path, splits: Sequence[str] = ("val", "test")) -> HeldOut:
    """The rows that training must not resemble."""
    table = pq.read_table(
        dataset_dir / "clean.parquet", columns=["item_id", "input_text", "group"], filters=[("split", "in", list(splits))]
    )
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return HeldOut(columns["input_text"], frozenset(columns["item_id"]), frozenset(columns["group"]))


def find_leaks(
    texts: Sequence[str],
    others: Sequence[str],
    vectors: tuple[np.ndarray, np.ndarray] | None = None,
    embed: Embed | None = None,
) -> list[Leak]:
    """The texts that are the same item as one of the others, in order, each with the most similar of these.

    `vectors` are unit embeddings of both; `embed` gives those of single words, which tell synonyms. Without them only what 3-grams bring
    close is found.
    """
    known = known_words(texts, others)
    pairs = {(a, b): s for a, b, s in _close(texts, others)}
    if vectors is not None:
        for a, b in _near(*vectors):
            pairs.setdefault((a, b), -1.0)
    sense = WordSense(embed, [(texts[a], others[b]) for a, b in pairs]) if vectors is not None and embed is not None else None
    best: dict[int, Leak] = {}
    for (a, b), similarity in pairs.items():
        if similarity < 0:
            similarity = jaccard(shingles(normalise(texts[a])), shingles(normalise(others[b])))
        if a in best and best[a].similarity >= similarity:
            continue
        alike = sense.of(float(vectors[0][a] @ vectors[1][b])) if sense is not None and vectors is not None else None
        if difference(texts[a], others[b], known, alike) == SAME:
            best[a] = Leak(a, b, round(similarity, 4))
    return [best[a] for a in sorted(best)]


class WordSense:
    """Tells words that mean the same by the cosine of their embeddings; all words of some pairs are embedded at once."""

    def __init__(self, embed: Embed, pairs: Sequence[tuple[str, str]]) -> None:
        words = sorted({word for pair in pairs for word in set(read(pair[0]).words) ^ set(read(pair[1]).words)})
        self._vectors = dict(zip(words, embed(words))) if words else {}

    def of(self, cosine: float) -> Alike | None:
        """What to ask for a pair of sentences with this cosine."""
        if cosine < SAME_MEANING:
            return None
        least = SYNONYMS_THERE if cosine >= CERTAIN else SYNONYMS
        return lambda a, b: a in self._vectors and b in self._vectors and float(self._vectors[a] @ self._vectors[b]) >= least


def nearest_similarity(texts: Sequence[str], others: Sequence[str], threshold: float) -> list[float]:
    """For each text the highest Jaccard similarity (character 3-grams) to any of `others` that reaches the threshold, else 0."""
    if len(texts) * len(others) <= EXACT_PAIRS:
        return [found.similarity if found.similarity >= threshold else 0.0 for found in nearest(texts, others)]
    best = [0.0] * len(texts)
    for a, _, similarity in _by_bands(texts, others, threshold):
        best[a] = max(best[a], similarity)
    return best


def leaks(rows: Sequence[Any], held: HeldOut, threshold: float, found: Sequence[Leak] = ()) -> dict[str, int]:
    """How many of these training rows share an item, a group or a near-identical input with held-out rows; `found` are their leaks."""
    near = nearest_similarity([row.input_text for row in rows], held.texts, threshold)
    return {
        "same_item": sum(row.item_id in held.item_ids for row in rows),
        "same_group": sum(row.group in held.groups for row in rows),
        "near_duplicate": sum(similarity > 0 for similarity in near),
        "disturbed": len(found),
    }


def _close(texts: Sequence[str], others: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    if len(texts) * len(others) <= EXACT_PAIRS:
        yield from candidates(texts, others)
    else:
        yield from _by_bands(texts, others, COARSE)


def _near(vectors: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int]]:
    for start in range(0, len(vectors), BLOCK):
        a, b = np.nonzero(vectors[start : start + BLOCK] @ others.T >= LEAST_COSINE)
        yield from zip((a + start).tolist(), b.tolist())


def _keys(hasher: BandHasher, texts: Sequence[str]) -> np.ndarray:
    """Band keys in blocks: hashing takes 40 bytes a character of a block."""
    return np.vstack([hasher.keys(list(texts[start : start + BLOCK])) for start in range(0, len(texts), BLOCK)])


def _by_bands(texts: Sequence[str], others: Sequence[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    """Pairs whose similarity reaches the threshold, by shared MinHash bands."""
    hasher = BandHasher(threshold)
    ours, theirs = [normalise(t) for t in texts], [normalise(t) for t in others]
    keys, other_keys = _keys(hasher, ours), _keys(hasher, theirs)
    found: dict[int, set[int]] = {}
    for band in range(hasher.bands):
        order = np.argsort(other_keys[:, band], kind="stable")
        column = other_keys[order, band]
        starts, ends = (np.searchsorted(column, keys[:, band], side=side) for side in ("left", "right"))  # type: ignore[call-overload]
        for i in np.flatnonzero(ends > starts).tolist():
            found.setdefault(i, set()).update(order[starts[i] : ends[i]].tolist())
    for i, places in sorted(found.items()):
        mine = shingles(ours[i])
        for j in sorted(places):
            similarity = jaccard(mine, shingles(theirs[j]))
            if similarity >= threshold:
                yield i, j, similarity
