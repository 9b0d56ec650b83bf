"""Near-duplicates among a million texts in little memory: MinHash bands in numpy, candidates checked by exact Jaccard similarity.

datasketch keeps one Python object per row and its index in dictionaries (several KB a row); here a row costs 8 bytes a band and its text
lies on disk. The recall is that of the same bands in datasketch, and a test compares the two.
"""

import os
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

SHINGLE = 3
MAX_PERMUTATIONS = 96
# A bucket up to this size is compared pair by pair; a larger one against at most LEADERS of its members that differ from each other.
WHOLE_BUCKET = 128
LEADERS = 64
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Edge(NamedTuple):
    """Two rows (indices) whose similarity reaches the threshold."""

    a: int
    b: int
    similarity: float


def normalise(text: str) -> str:
    """What counts as the same text: Unicode compatibility forms, case and runs of white space do not matter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shingles(normalised: str) -> frozenset[str]:
    """Character 3-grams; a text that is shorter is its own only shingle."""
    padded = normalised.ljust(SHINGLE)
    return frozenset(padded[i : i + SHINGLE] for i in range(len(padded) - SHINGLE + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def bands_for(threshold: float) -> tuple[int, int]:
    """(bands, rows a band): the longest bands that still find 99 % of the pairs that lie exactly at the threshold."""
    for rows in range(12, 0, -1):
        bands = MAX_PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= 0.99:
            return bands, rows
    return MAX_PERMUTATIONS, 1


class BandHasher:
    """Band keys of normalised texts: `keys(texts)` is uint64 of shape (texts, bands)."""

    def __init__(self, threshold: float) -> None:
        self.bands, self._rows = bands_for(threshold)
        # Fixed, since equal data must give equal groups everywhere; odd factors are permutations of the 64-bit integers.
        draw = np.random.Generator(np.random.PCG64(20240229))
        self._factors = draw.integers(0, 2**63, size=self.bands * self._rows, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

    def keys(self, texts: list[str]) -> np.ndarray:
        padded = [text.ljust(SHINGLE) for text in texts]
        lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
        codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
        windows = np.zeros(len(codes) - SHINGLE + 1, dtype=np.uint64)
        for k in range(SHINGLE):
            windows = windows * np.uint64(0x100000001B3) + codes[k : k + len(windows)]
        ends = np.cumsum(lengths)
        inside = np.ones(len(codes), dtype=bool)
        for k in range(1, SHINGLE):
            inside[ends - k] = False  # windows that run into the next text
        hashes = mix(windows[inside[: len(windows)]])
        counts = lengths - SHINGLE + 1
        starts = np.cumsum(counts) - counts
        out = np.empty((len(texts), self.bands), dtype=np.uint64)
        for band in range(self.bands):
            key = np.full(len(texts), band + 1, dtype=np.uint64)
            for row in range(self._rows):
                key = mix(key ^ np.minimum.reduceat(hashes * self._factors[band * self._rows + row], starts))
            out[:, band] = key
        return out


class TextSpool:
    """Texts on disk, read back by index; 8 bytes of memory each."""

    def __init__(self, path: Path) -> None:
        self._handle = path.open("w+b")
        self._offsets = array("q", [0])

    def append(self, texts: Iterable[str]) -> None:
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            self._handle.write(data)
            self._offsets.append(self._offsets[-1] + len(data))

    def __getitem__(self, index: int) -> str:
        start, end = self._offsets[index], self._offsets[index + 1]
        return os.pread(self._handle.fileno(), end - start, start).decode("utf-8", "surrogatepass")

    def flush(self) -> None:
        self._handle.flush()

    def close(self) -> None:
        self._handle.close()


@dataclass
class NearDuplicates:
    """Edges that join the near-duplicates (a spanning set, not every pair) and how many buckets were too large to compare pair by pair."""

    edges: list[Edge] = field(default_factory=list)
    coarse_buckets: int = 0


def find_near_duplicates(
    keys: list[np.ndarray], rows: np.ndarray, texts: TextSpool, threshold: float, *, only_with: np.ndarray | None = None
) -> NearDuplicates:
    """Join rows whose similarity reaches the threshold.

    `keys` are the blocks of band keys of all rows; `rows` the indices to compare, in an order that depends on their content only, so
    that the result does not depend on the order of lines. With `only_with` (bool per row of the data set) only pairs with at least one
    marked row are compared.
    """
    found = NearDuplicates()
    parent = array("q", range(len(rows)))
    sets: dict[int, frozenset[str]] = {}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def shingles_of(i: int) -> frozenset[str]:
        if i not in sets:
            if len(sets) > 4 * WHOLE_BUCKET:
                sets.clear()
            sets[i] = shingles(texts[int(rows[i])])
        return sets[i]

    def join(i: int, j: int) -> bool:
        """Whether i and j are joined now."""
        a, b = root(i), root(j)
        if a == b:
            return True
        if only_with is not None and not (only_with[rows[i]] or only_with[rows[j]]):
            return False
        left, right = shingles_of(i), shingles_of(j)
        if min(len(left), len(right)) < threshold * max(len(left), len(right)):
            return False
        similarity = jaccard(left, right)
        if similarity < threshold:
            return False
        parent[max(a, b)] = min(a, b)
        found.edges.append(Edge(int(rows[i]), int(rows[j]), similarity))
        return True

    for band in range(keys[0].shape[1] if keys else 0):
        column = np.concatenate([block[:, band] for block in keys])[rows]
        for bucket in _buckets(column):
            if only_with is not None and not only_with[rows[bucket]].any():
                continue
            coarse = len(bucket) > WHOLE_BUCKET
            found.coarse_buckets += coarse
            clusters: list[list[int]] = []
            for i in bucket.tolist():
                near = [cluster for cluster in clusters if any(join(i, j) for j in (cluster[:1] if coarse else cluster))]
                if near:
                    near[0].append(i)
                elif not coarse or len(clusters) < LEADERS:
                    clusters.append([i])
    return found


def _buckets(column: np.ndarray) -> Iterator[np.ndarray]:
    """Positions that share a key, two or more at a time; within a bucket in rising order."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(ordered)])
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist()):
        yield order[start : start + size]


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64: spreads 64-bit values evenly, so that neighbours become strangers."""
    values = (values + _ODD).astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
