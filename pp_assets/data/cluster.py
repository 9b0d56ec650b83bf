"""Topics of the inputs: sentence embeddings, UMAP, HDBSCAN, names by class-based TF-IDF. Outliers stay apart as topic -1."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OUTLIERS = -1
TOO_FEW = 20  # below this many rows everything is one topic: a density means nothing
# Above 4096 rows UMAP finds neighbours with a slower start, and each row costs; the rest follows its most similar row.
FITTED = 4000
BLOCK = 1024
DIMENSIONS = 5
TERMS = 3
EXAMPLES = 3


@dataclass(frozen=True)
class Clustering:
    """By row: `labels` (int, -1 for outliers), `strength` of membership in 0..1, `map` (float32, shape (rows, 2)) for a look."""

    labels: np.ndarray
    strength: np.ndarray
    map: np.ndarray


def cluster(vectors: np.ndarray, seed: int, fitted: int = FITTED) -> Clustering:
    """Group rows by their unit embeddings (float32, shape (rows, size)). Equal input and seed give equal groups on one machine.

    Of more than `fitted` rows a seeded sample is grouped; every other row goes where the most similar row of the sample is.
    """
    if len(vectors) > fitted:
        sample = np.sort(np.random.default_rng(seed).choice(len(vectors), fitted, replace=False))
        found = cluster(vectors[sample], seed, fitted)
        nearest = _nearest(vectors, vectors[sample])
        return Clustering(found.labels[nearest], found.strength[nearest], found.map[nearest])
    n = len(vectors)
    if n < TOO_FEW:
        return Clustering(np.zeros(n, dtype=int), np.ones(n), _flat_map(vectors))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hdbscan
        import umap

        _keep_compiled(umap)
        # One thread: with several, UMAP's result depends on their order.
        options = {"n_neighbors": min(15, n - 1), "min_dist": 0.0, "metric": "cosine", "random_state": seed, "n_jobs": 1}
        reduced = umap.UMAP(n_components=min(DIMENSIONS, n - 2), **options).fit_transform(vectors)
        size = max(5, n // 50)
        found = hdbscan.HDBSCAN(min_cluster_size=size, min_samples=max(2, size // 2), core_dist_n_jobs=1).fit(reduced)
    labels = found.labels_.astype(int)
    if labels.max(initial=OUTLIERS) < 0:
        return Clustering(np.zeros(n, dtype=int), np.ones(n), _flat_map(reduced))
    return Clustering(labels, found.probabilities_.astype(float), _flat_map(reduced))


def _keep_compiled(umap: Any) -> None:
    """Let numba keep on disk what it compiles for UMAP, which asks for that only in part: 600 rows take 13.3 CPU seconds in a process that
    compiles, 3.3 in one that finds it done."""
    from numba.core.dispatcher import Dispatcher

    for module in (umap.umap_, umap.layouts, umap.utils):
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and not function.stats.cache_path:
                with suppress(RuntimeError):  # no folder to keep it in
                    function.enable_caching()


def topics(texts: Sequence[str], item_ids: Sequence[str], vectors: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """One entry per topic, largest first, outliers last: id, name, size, terms, and the inputs next to its middle."""
    names = topic_terms(texts, labels)
    found = []
    for label in sorted(set(labels.tolist()), key=lambda c: (c == OUTLIERS, -int((labels == c).sum()), c)):
        rows = np.flatnonzero(labels == label)
        middle = vectors[rows].mean(0)
        nearest = rows[np.argsort(-(vectors[rows] @ middle), kind="stable")[:EXAMPLES]]
        entry = {"topic": int(label), "name": "outliers" if label == OUTLIERS else ", ".join(names[label]) or f"topic {label}"}
        entry |= {"size": len(rows), "share": round(len(rows) / len(labels), 4), "terms": names[label]}
        found.append(entry | {"examples": [{"item_id": item_ids[i], "input_text": texts[i][:300]} for i in nearest.tolist()]})
    return found


def topic_terms(texts: Sequence[str], labels: np.ndarray) -> dict[int, list[str]]:
    """The words that set each group apart: frequency in the group times log(1 + average group length / frequency over all)."""
    from sklearn.feature_extraction.text import CountVectorizer

    groups = sorted(set(labels.tolist()))
    documents = [" ".join(texts[i] for i in np.flatnonzero(labels == g).tolist()) for g in groups]
    try:
        vectorizer = CountVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b")
        counts = vectorizer.fit_transform(documents).toarray()
    except ValueError:  # not one word in any text
        return {g: [] for g in groups}
    words = vectorizer.get_feature_names_out()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    weights = shares * np.log(1 + counts.sum() / len(groups) / np.maximum(counts.sum(0), 1))
    return {g: [str(words[i]) for i in np.argsort(-row, kind="stable")[:TERMS] if row[i] > 0] for g, row in zip(groups, weights)}


def draw_map(path: Path, clustering: Clustering, found: Sequence[dict[str, Any]]) -> None:
    """Scatter plot of all rows, a colour per topic (the ten largest named), outliers grey."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    x, y = clustering.map.T
    for place, topic in enumerate(found):
        rows = clustering.labels == topic["topic"]
        outliers = topic["topic"] == OUTLIERS
        named = f"{topic['name']} ({topic['size']})" if place < 10 or outliers else None
        axes.scatter(x[rows], y[rows], s=14, color="0.75" if outliers else f"C{place % 10}", label=named, linewidths=0)
    axes.set(title="Training inputs by topic", xticks=[], yticks=[])
    figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    figure.savefig(path, metadata={"Software": None})


def _nearest(vectors: np.ndarray, among: np.ndarray) -> np.ndarray:
    blocks = [(vectors[i : i + BLOCK] @ among.T).argmax(axis=1) for i in range(0, len(vectors), BLOCK)]
    return np.concatenate(blocks)


def _flat_map(vectors: np.ndarray) -> np.ndarray:
    """First two principal components, each with its largest value positive so that the picture does not flip."""
    centred = vectors - vectors.mean(0, keepdims=True)
    if min(centred.shape) < 2:
        return np.zeros((len(vectors), 2), dtype=np.float32)
    _, _, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    flat = centred @ axes[:2].T
    signs = np.sign(flat[np.abs(flat).argmax(0), [0, 1]])
    return (flat * np.where(signs == 0, 1, signs)).astype(np.float32)
