"""The rows that lie nearest to others by the cosine of unit vectors: one exact search, for all that asks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pp_resources.progress import steps

BLOCK = 1024  # rows that are compared at once,
CELLS = 50_000 * BLOCK  # and cosines: with where they stand they take 600 MB
WITNESSES = 20_000  # written rows that neighbours are looked for among, spread evenly over all
NEIGHBOURS = 10  # the most that a reader of `Near` wants


@dataclass(frozen=True)
class Near:
    """The written rows nearest to each row of a task, those of its own group left out: paraphrases of one source would vouch for each
    other, and make all else look far.

    `places` int (rows, up to NEIGHBOURS), most similar first, -1 where there are no more; `cosines` of the same shape, -inf there;
    `among`: places of the written rows that were compared with; `groups`: a number for each row's group.
    """

    places: np.ndarray
    cosines: np.ndarray
    among: np.ndarray
    groups: np.ndarray


def near_written(vectors: np.ndarray, groups: Sequence[str], written: int, most: int = WITNESSES) -> Near:
    """Of unit vectors (rows, size), the first `written` of rows that people wrote, of which at most so many are looked among."""
    among, codes = spread_out(written, most), codes_of(groups)
    places, cosines = nearest(vectors, NEIGHBOURS, vectors[among], (codes, codes[among]))
    return Near(np.where(places >= 0, among[places], -1), cosines, among, codes)


def nearest(
    vectors: np.ndarray, count: int, among: np.ndarray | None = None, groups: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each row the `count` most similar ones of `among`, or without it the most similar other rows: (places, int64, and cosines, both
    (rows, count)), most similar first, of equally similar ones the first. Where there are no more, the place is -1 and the cosine -inf.

    With `groups` (numbers of the rows, of `among`) rows of a row's own group do not count. Never more than CELLS cosines are in memory.
    """
    others = vectors if among is None else among
    count = min(count, len(others) - (among is None))
    places = np.full((len(vectors), max(0, count)), -1, dtype=np.int64)
    cosines = np.full(places.shape, -np.inf, dtype=np.result_type(vectors, others))
    if count <= 0:
        return places, cosines
    size = max(1, min(BLOCK, CELLS // len(others)))
    with steps("neighbours", -(-len(vectors) // size)) as advance:
        for start in range(0, len(vectors), size):
            block = slice(start, start + size)
            away = -vectors[block] @ others.T
            if groups is not None:
                away[groups[0][block][:, None] == groups[1][None, :]] = np.inf
            elif among is None:
                away[np.arange(len(away)), np.arange(start, start + len(away))] = np.inf
            found = away.argmin(1)[:, None] if count == 1 else np.argpartition(away, count - 1, axis=1)[:, :count]
            values = np.take_along_axis(away, found, 1)
            order = np.lexsort((found, values), axis=1)
            found, values = np.take_along_axis(found, order, 1), np.take_along_axis(values, order, 1)
            places[block], cosines[block] = np.where(np.isfinite(values), found, -1), -values
            advance("")
    return places, cosines


def spread_out(rows: int, most: int) -> np.ndarray:
    """Places of at most so many of the rows, evenly spread: the same ones every time."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(int)) if rows else np.array([], int)


def codes_of(values: Sequence[str]) -> np.ndarray:
    """A whole number for each value, in the order of the values."""
    return np.unique(np.array(values, dtype=object), return_inverse=True)[1]
