"""How far an input lies from what is known: its similarity to the nearest known inputs, against that of each of these to the others."""

from collections.abc import Sequence

import numpy as np

NEIGHBOURS = 5
LEAST = 40  # known rows: with fewer, not two of them could be called novel at 5 %
MOST = 20_000  # known rows that are compared with, spread evenly over all: a block of similarities to them takes 80 MB
BLOCK = 1024


def similarity(vectors: np.ndarray, among: np.ndarray, groups: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Mean cosine of each row (unit vectors) to its nearest five of `among`. With `groups` (of the rows, of `among`) rows of a row's own
    group do not count: paraphrases of one source would make all else look far."""
    found = []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ among.T
        if groups is not None:
            block[groups[0][start : start + BLOCK][:, None] == groups[1][None, :]] = -1.0
        found.append(-np.partition(-block, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS].mean(1))
    return np.concatenate(found) if found else np.array([])


def witnesses(rows: int) -> np.ndarray:
    """Places of the known rows that others are compared with."""
    return np.unique(np.linspace(0, rows - 1, min(rows, MOST)).astype(int)) if rows else np.array([], int)


def novelty(vectors: np.ndarray, groups: Sequence[str], written: int) -> np.ndarray:
    """For each row (unit embeddings, rows x size; the first `written` were written by people) the share of written rows that lie nearer to
    the others than it does, 0..1: of a row like the known above .95 in one case of twenty. nan where there are too few to tell."""
    chosen, codes = witnesses(written), codes_of(groups)
    if len(chosen) < LEAST or len(np.unique(codes[chosen])) <= NEIGHBOURS:
        return np.full(len(vectors), np.nan)
    found = similarity(vectors, vectors[chosen], (codes, codes[chosen]))
    return 1 - np.searchsorted(np.sort(found[chosen]), found, side="right") / len(chosen)


def codes_of(values: Sequence[str]) -> np.ndarray:
    """A whole number for each value, in the order of the values."""
    return np.unique(np.array(values, dtype=object), return_inverse=True)[1]
