"""Which pairs of texts are worth a closer look: exact set similarities of character 3-grams by sparse products, for sets of moderate size.

A pair is a candidate when its Jaccard similarity reaches LEAST_JACCARD, or when nearly all 3-grams of the shorter text stand in the
longer one: a greeting before a short question makes the first small and leaves the second. MinHash bands cannot ask for so little among
a million texts (half of all pairs would share a bucket); there `pp_assets.task.duplicates` finds the pairs from .8 on.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from pp_assets.task.duplicates import normalise, shingles
from pp_assets.task.same_item import read
from pp_resources.progress import steps

LEAST_JACCARD = 0.5
CONTAINED, LEAST_SHINGLES = 0.95, 12
EXACT_PAIRS = 2 * 10**8  # 10,000 texts with each other take 10 s; beyond 14,000 MinHash bands
KNOWN_TEXTS = 3  # a word that stands in so many texts is no typing error; in larger sets one text in COMMON
COMMON = 2000
BLOCK = 512


class Pair(NamedTuple):
    """Places in the two lists, and the Jaccard similarity of the 3-grams."""

    a: int
    b: int
    similarity: float


class Nearest(NamedTuple):
    """Of one text: the highest similarity to any of the others, and where that stands (-1: nowhere)."""

    similarity: float
    place: int


def known_words(*lists: Sequence[str]) -> frozenset[str]:
    """Words that stand in enough texts to be no typing errors."""
    counts = Counter(word for texts in lists for text in texts for word in set(read(text).words))
    least = max(KNOWN_TEXTS, sum(map(len, lists)) / COMMON)
    return frozenset(word for word, count in counts.items() if count >= least)


def candidates(texts: Sequence[str], others: Sequence[str] | None = None, least: float = LEAST_JACCARD) -> Iterator[Pair]:
    """Every candidate pair of a text and one of `others` (or of the texts among themselves, the first place smaller), by rising places."""
    vocabulary: dict[str, int] = {}
    rows, columns = _matrix(texts, vocabulary), None
    if others is not None:
        columns = _matrix(others, vocabulary)
        rows = csr_array((rows.data, rows.indices, rows.indptr), shape=(len(texts), max(1, len(vocabulary))))
    with steps("similar texts", -(-len(texts) // BLOCK)) as advance:
        for start in range(0, len(texts), BLOCK):
            block = rows[start : start + BLOCK]
            right, offset = (columns, 0) if columns is not None else (rows[start:], start)
            yield from _block_pairs(block, right, start, offset, least, among=columns is None)
            advance("")


def nearest(texts: Sequence[str], others: Sequence[str]) -> list[Nearest]:
    """For each text the most similar of the others by 3-grams, whatever the similarity; exact, in blocks."""
    if not texts or not others:
        return [Nearest(0.0, -1)] * len(texts)
    vocabulary: dict[str, int] = {}
    rows, columns = _matrix(texts, vocabulary), _matrix(others, vocabulary)
    rows = csr_array((rows.data, rows.indices, rows.indptr), shape=(len(texts), max(1, len(vocabulary))))
    sizes, other_sizes = np.diff(rows.indptr), np.diff(columns.indptr)
    found: list[Nearest] = []
    with steps("nearest texts", -(-len(texts) // BLOCK)) as advance:
        for start in range(0, len(texts), BLOCK):
            common = (rows[start : start + BLOCK] @ columns.T).toarray()
            similarity = common / (sizes[start : start + BLOCK, None] + other_sizes[None, :] - common)
            best = similarity.argmax(1)
            found += [Nearest(float(row[j]), int(j)) for row, j in zip(similarity, best)]
            advance("")
    return found


def _block_pairs(block: csr_array, right: csr_array, start: int, offset: int, least: float, *, among: bool) -> Iterator[Pair]:
    common = (block @ right.T).tocoo()
    sizes, other_sizes = np.diff(block.indptr)[common.row], np.diff(right.indptr)[common.col]
    similarity = common.data / (sizes + other_sizes - common.data)
    shorter = np.minimum(sizes, other_sizes)
    keep = (similarity >= least) | ((common.data >= CONTAINED * shorter) & (shorter >= LEAST_SHINGLES))
    if among:
        keep &= common.col > common.row
    order = np.lexsort((common.col[keep], common.row[keep]))
    a, b, s = common.row[keep][order] + start, common.col[keep][order] + offset, similarity[keep][order]
    yield from map(Pair, a.tolist(), b.tolist(), s.tolist())


def _matrix(texts: Sequence[str], vocabulary: dict[str, int]) -> csr_array:
    """Which 3-gram stands in which text, int32 (texts, 3-grams); `vocabulary` grows."""
    places: list[int] = []
    ends = [0]
    for text in texts:
        places += sorted(vocabulary.setdefault(gram, len(vocabulary)) for gram in shingles(normalise(text)))
        ends.append(len(places))
    return csr_array((np.ones(len(places), dtype=np.int32), places, ends), shape=(len(texts), max(1, len(vocabulary))))
