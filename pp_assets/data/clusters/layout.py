"""Where each row stands on the map: UMAP of a sample, every other row between those that it resembles most."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pp_assets.data.clusters.graph import content_order, spread
from pp_assets.data.neighbours import nearest

FITTED = 5000
NEIGHBOURS = 15
EPOCHS = 200
FEW = 20  # rows below which two axes of most variance are the map
BETWEEN = 3  # rows of the sample that place another row
BLOCK = 2048


def positions(vectors: np.ndarray, item_ids: Sequence[str], seed: int, fitted: int = FITTED) -> np.ndarray:
    """Coordinates (rows, 2), float32; the same in every order of the rows. Of more than `fitted` rows a sample by content is laid out."""
    order = content_order(item_ids)
    sample = order[:fitted]
    found = np.zeros((len(order), 2), dtype=np.float32)
    base = np.ascontiguousarray(vectors[sample], dtype=np.float32)
    found[sample] = placed = _umap(base, seed) if len(base) >= FEW else _flat(base)
    rest = order[len(sample) :]
    reach = float(np.ptp(placed, axis=0).max()) / 400 if len(placed) else 0.0
    drawn = np.random.default_rng(seed)
    for start in range(0, len(rest), BLOCK):
        rows = rest[start : start + BLOCK]
        near, cosines = nearest(np.asarray(vectors[rows], dtype=np.float32), BETWEEN, base)
        weights = np.exp(20 * (cosines - cosines[:, :1]))[..., None]
        # A little apart from each other: rows between the same three would hide one another.
        apart = reach * drawn.standard_normal((len(rows), 2))
        found[rows] = (placed[near] * weights).sum(1) / weights.sum(1) + apart
    return found


def _umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    import warnings

    count = min(NEIGHBOURS, len(vectors) - 1)
    places, cosines = nearest(vectors, count - 1)
    # Each row is its own first neighbour, as UMAP wants it.
    places = np.column_stack([np.arange(len(vectors)), places])
    distances = np.column_stack([np.zeros(len(vectors), dtype=np.float32), np.maximum(1 - cosines, 0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        _keep_compiled(umap)
        options: dict[str, Any] = {"n_neighbors": count, "min_dist": 0.1, "metric": "cosine", "n_epochs": EPOCHS, "init": _started(vectors)}
        # One thread: with several, the result depends on their order.
        return np.asarray(
            umap.UMAP(random_state=seed, n_jobs=1, precomputed_knn=(places, distances, None), **options).fit_transform(vectors)
        )


def _started(vectors: np.ndarray) -> np.ndarray:
    flat = _flat(vectors)
    return flat / np.maximum(flat.std(0, keepdims=True), 1e-9) * 4


def _flat(vectors: np.ndarray) -> np.ndarray:
    """The two axes of most variance."""
    if min(vectors.shape) < 2:
        return np.zeros((len(vectors), 2), dtype=np.float32)
    return spread(vectors, 2)


def _keep_compiled(umap: Any) -> None:
    """Let numba keep on disk what it compiles for UMAP, which asks for that only in part: 600 rows take 13.3 CPU seconds in a process that
    compiles, 3.3 in one that finds it done."""
    from numba.core.dispatcher import Dispatcher

    for module in (umap.umap_, umap.layouts, umap.utils):
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and not function.stats.cache_path:
                with suppress(RuntimeError):  # no folder to keep it in
                    function.enable_caching()
