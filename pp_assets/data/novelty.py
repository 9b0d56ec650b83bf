"""How far an input lies from what is known: its similarity to the nearest known inputs, against that of each of these to the others."""

import numpy as np

from pp_assets.data.neighbours import Near, nearest

NEIGHBOURS = 5
LEAST = 40  # known rows: with fewer, not two of them could be called novel at 5 %


def similarity(vectors: np.ndarray, among: np.ndarray, groups: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Mean cosine of each row (unit vectors) to its nearest five of `among`, with `groups` (of the rows, of `among`) to those of others."""
    return _mean(nearest(vectors, NEIGHBOURS, among, groups)[1])


def novelty(near: Near) -> np.ndarray:
    """For each row the share of written rows that lie nearer to the others than it does, 0..1: of a row like the known above .95 in one
    case of twenty. nan where there are too few to tell."""
    known = near.among
    if len(known) < LEAST or len(np.unique(near.groups[known])) <= NEIGHBOURS:
        return np.full(len(near.places), np.nan)
    found = _mean(near.cosines[:, :NEIGHBOURS])
    return 1 - np.searchsorted(np.sort(found[known]), found, side="right") / len(known)


def _mean(cosines: np.ndarray) -> np.ndarray:
    return np.maximum(cosines, -1.0).mean(1)
