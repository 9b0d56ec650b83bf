"""What follows from the neighbours of rows: their graph, averages over neighbours; axes of spread, and a fixed order."""

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from pp_assets.data.neighbours import nearest

NEIGHBOURS = 15


def content_order(item_ids: Sequence[str]) -> np.ndarray:
    """Rows by a hash of their ids: whoever orders rows by it gets one result for every order of the lines. The first n of it are a random
    sample that stays (but for what was removed) when rows are added or removed."""
    keys = np.array([int.from_bytes(hashlib.blake2b(i.encode(), digest_size=8).digest(), "big") for i in item_ids], dtype=np.uint64)
    return np.lexsort((np.asarray(item_ids, dtype=object), keys)) if len(np.unique(keys)) < len(keys) else np.argsort(keys, kind="stable")


def neighbours_for(rows: int) -> int:
    """15 from 225 rows on, fewer below: what is averaged over should be small beside a topic."""
    return int(min(NEIGHBOURS, max(2, rows**0.5), rows - 1))


def linked(vectors: np.ndarray, places: np.ndarray) -> sparse.csr_matrix:
    """Symmetric 0/1 graph of rows that are neighbours in one direction or both; parts that hang apart are joined to their nearest part."""
    n, count = places.shape
    ones = np.ones(n * count, dtype=np.float32)
    graph = sparse.csr_matrix((ones, (np.repeat(np.arange(n), count), places.ravel())), shape=(n, n))
    graph = graph.maximum(graph.T).tocsr()
    while True:
        parts, member = connected_components(graph, directed=False)
        if parts == 1:
            return graph
        _, first = np.unique(member, return_index=True)
        middle = unit(_sums(vectors, member, parts))
        near = nearest(middle, 1)[0][:, 0]
        bridge = sparse.csr_matrix((np.ones(parts, dtype=np.float32), (first, first[near])), shape=(n, n))
        graph = graph.maximum(bridge).maximum(bridge.T).tocsr()


def averaged(vectors: np.ndarray, graph: sparse.csr_matrix, times: int) -> np.ndarray:
    """Each row's mean with its neighbours, `times` over, as unit vectors: what separates topics stays, what separates phrasings goes
    (a low-pass filter on the graph; Zhang et al. 2019, Attributed Graph Clustering via Adaptive Graph Convolution)."""
    with_self = graph + sparse.eye(graph.shape[0], dtype=np.float32, format="csr")
    mean = sparse.diags(1 / np.asarray(with_self.sum(1)).ravel()).dot(with_self).astype(np.float32)
    for _ in range(times):
        vectors = mean @ vectors
    return unit(vectors)


def spread(vectors: np.ndarray, size: int, power: float = 0.0) -> np.ndarray:
    """Coordinates on the `size` axes of most variance, each divided by its variance to the power `power` / 2: 1 is full whitening.

    Signs are fixed, so that equal input gives equal output."""
    centred = vectors - vectors.mean(0, dtype=np.float64).astype(np.float32)
    size = min(size, *centred.shape)
    values, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(centred))
    values, axes = values[::-1][:size], axes[:, ::-1][:, :size]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(size)] < 0, -1.0, 1.0)
    scale = np.maximum(values, values[0] * 1e-4 + 1e-12) ** (-power / 2)
    return (centred @ (axes * scale).astype(np.float32)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def means(vectors: np.ndarray, labels: np.ndarray, groups: int) -> np.ndarray:
    """Mean vector of each group 0..groups-1; zeros for an empty one."""
    counts = np.maximum(np.bincount(labels, minlength=groups), 1)
    return (_sums(vectors, labels, groups) / counts[:, None]).astype(np.float32)


def _sums(vectors: np.ndarray, labels: np.ndarray, groups: int) -> np.ndarray:
    member = sparse.csr_matrix((np.ones(len(labels), dtype=np.float32), (labels, np.arange(len(labels)))), shape=(groups, len(labels)))
    return np.asarray(member @ vectors)
