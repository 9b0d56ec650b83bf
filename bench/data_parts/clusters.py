"""Topics against known labels: agreement, stability, speed, beside BERTopic's default on the same vectors in the same run.

    .venv/bin/python -m bench.data_parts.clusters DATA [--peers]

DATA holds a folder per data set with train.jsonl. Vectors are computed once and kept in a folder under .pp. Outliers count as a group of
their own for both. `--peers` adds other ways of grouping, which are told the number of labels where they ask for it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pp_assets.data.clusters.fit import fit, refit
from pp_assets.data.clusters.model import OUTLIER
from pp_assets.data.clusters.naming import name_quality, name_topics
from pp_assets.data.neighbours import nearest

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
KEPT = Path(__file__).resolve().parent.parent.parent / ".pp" / "bench" / "vectors"
REPEATS = 5
# Which value of a row is the label.
SETS: dict[str, Callable[[dict[str, Any]], str]] = {
    "banking77": lambda row: str(row["output_json"]["intent"]),
    "snips": lambda row: str(row["output_json"]["intent"]),
    "product_aspects": lambda row: str(row["meta"]["product"]),
}


def measure(data: Path) -> dict[str, float]:
    """The RESULT keys, of banking77; prints a table of all three data sets."""
    print("| data set | rows | labels | topics | outliers | ARI | NMI | shuffle | refit | rows per CPU-minute | names tell |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |", flush=True)
    found = {name: ours(name, *load(data, name)) for name in SETS}
    texts, vectors, labels = load(data, "banking77")
    theirs = bertopic(texts, vectors)
    inside = theirs["labels"] != OUTLIER
    told = f"ARI {adjusted_rand_score(labels, theirs['labels']):.3f}, NMI {normalized_mutual_info_score(labels, theirs['labels']):.3f}"
    topics = len(set(theirs["labels"][inside].tolist()))
    told += f", {topics} topics, {1 - inside.mean():.3f} outliers, {theirs['rate']:,.0f} rows per CPU-minute"
    print(f"\nBERTopic's default on banking77: {told}")
    return {**found["banking77"], "bertopic_points_per_cpu_minute": round(theirs["rate"])}


def ours(name: str, texts: list[str], vectors: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Fit, fit on shuffled rows, refit on nine tenths (five times)."""
    items = [f"{name}-{i}" for i in range(len(texts))]
    began = time.process_time()
    found = fit(vectors, items)
    cpu = time.process_time() - began
    same, kept = [], []
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(items))
        if seed < 2:
            same.append(float((fit(vectors[order], [items[i] for i in order]).labels == found.labels[order]).mean()))
        part = np.sort(rng.choice(len(items), int(0.9 * len(items)), replace=False))
        kept.append(adjusted_rand_score(found.labels[part], refit(found, vectors[part], [items[i] for i in part]).labels))
    quality = name_quality(name_topics(found, texts), vectors, embedder().embed)
    values = {
        "cluster_ari": adjusted_rand_score(labels, found.labels),
        "cluster_nmi": normalized_mutual_info_score(labels, found.labels),
        "shuffle_stability": min(same),
        "refit_stability": min(kept),
        "points_per_cpu_minute": len(items) / cpu * 60,
    }
    agree = f"{values['cluster_ari']:.3f} {interval(labels, found.labels)} | {values['cluster_nmi']:.3f}"
    spread = f"{np.mean(kept):.3f} (least {min(kept):.3f})"
    row = f"| {name} | {len(items):,} | {len(set(labels.tolist()))} | {len(found.ids)} | {found.outliers / len(items):.3f} | {agree} "
    row += f"| {min(same):.3f} | {spread} | {values['points_per_cpu_minute']:,.0f} "
    print(row + f"| {quality['accuracy']:.3f} [{quality['low']:.3f}, {quality['high']:.3f}], chance {quality['chance']:.3f} |", flush=True)
    return {key: round(value, 4) for key, value in values.items()}


def interval(labels: np.ndarray, said: np.ndarray, draws: int = 200) -> str:
    """95 % of ARI over resampled rows (each row at most once a draw: doubles would count as agreement): half of them, n out of m."""
    rng, n = np.random.default_rng(0), len(labels)
    whole = adjusted_rand_score(labels, said)
    half = [rng.choice(n, n // 2, replace=False) for _ in range(draws)]
    gaps = [adjusted_rand_score(labels[rows], said[rows]) - whole for rows in half]  # as wide as that of n rows (Politis and Romano)
    low, high = np.quantile(gaps, [0.025, 0.975])
    return f"[{whole - high:.3f}, {whole - low:.3f}]"


def bertopic(texts: list[str], vectors: np.ndarray) -> dict[str, Any]:
    """BERTopic with its defaults, vectors given; a first run on a part of them lets numba compile."""
    from bertopic import BERTopic

    BERTopic().fit_transform(texts[:600], vectors[:600])
    began = time.process_time()
    labels, _ = BERTopic().fit_transform(texts, vectors)
    return {"labels": np.array(labels), "rate": len(texts) / (time.process_time() - began) * 60}


def peers(name: str, vectors: np.ndarray, labels: np.ndarray) -> None:
    """Other ways on the same vectors."""
    k = len(set(labels.tolist()))
    print(f"\n| way, on {name} | topics | outliers | ARI | NMI | ARI of two runs (rows shuffled, other seed) | rows per CPU-minute |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for way, group in WAYS.items():
        began = time.process_time()
        found = group(vectors, k, 0)
        cpu = time.process_time() - began
        order = np.random.default_rng(1).permutation(len(vectors))
        again = adjusted_rand_score(found[order], group(vectors[order], k, 1))
        agree = f"{adjusted_rand_score(labels, found):.3f} | {normalized_mutual_info_score(labels, found):.3f} | {again:.3f}"
        row = f"| {way} | {len(set(found.tolist()) - {OUTLIER})} | {(found == OUTLIER).mean():.3f} | {agree} "
        print(row + f"| {len(vectors) / cpu * 60:,.0f} |", flush=True)


def k_means(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=1, random_state=seed).fit_predict(vectors)


def ward(vectors: np.ndarray, k: int, _seed: int) -> np.ndarray:
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.decomposition import PCA

    from pp_assets.data.clusters.graph import linked

    places, _ = nearest(vectors, 15)
    return AgglomerativeClustering(k, connectivity=linked(vectors, places)).fit_predict(PCA(50, random_state=0).fit_transform(vectors))


def louvain(vectors: np.ndarray, _k: int, seed: int) -> np.ndarray:
    import networkx as nx

    from pp_assets.data.clusters.graph import linked

    places, _ = nearest(vectors, 15)
    graph = linked(vectors, places)
    shared = (graph @ graph).multiply(graph).tocsr()
    found = np.zeros(len(vectors), dtype=int)
    for label, rows in enumerate(nx.community.louvain_communities(nx.from_scipy_sparse_array(shared), seed=seed)):
        found[list(rows)] = label
    return found


def consensus(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Ten times k-means as ten one-hot codes, then k-means of those."""
    codes = [np.eye(k, dtype=np.float32)[k_means(vectors, k, 10 * seed + i)] for i in range(10)]
    return k_means(np.hstack(codes), k, seed)


def umap_points(vectors: np.ndarray, seed: int) -> np.ndarray:
    import umap

    return umap.UMAP(n_components=5, n_neighbors=15, min_dist=0.0, metric="cosine", random_state=seed, n_jobs=1).fit_transform(vectors)


def umap_k_means(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    return k_means(umap_points(vectors, seed), k, seed)


def umap_hdbscan(vectors: np.ndarray, _k: int, seed: int) -> np.ndarray:
    import hdbscan

    return hdbscan.HDBSCAN(min_cluster_size=30, min_samples=10, core_dist_n_jobs=1).fit_predict(umap_points(vectors, seed))


def ours_told(vectors: np.ndarray, k: int, _seed: int) -> np.ndarray:
    return fit(vectors, [vectors[i].tobytes().hex()[:64] + str(i) for i in range(len(vectors))], count=k).labels


WAYS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "k-means on the vectors": k_means,
    "Ward on the 15-neighbour graph, 50 axes": ward,
    "shared neighbours, Louvain": louvain,
    "consensus of ten k-means": consensus,
    "UMAP (5), k-means": umap_k_means,
    "UMAP (5), HDBSCAN (30, 10)": umap_hdbscan,
    "ours, told the number": ours_told,
}


def embedder() -> Any:
    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder

    return Embedder(find_base(ENCODER))


def load(data: Path, name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, vectors (float32) and labels of the training rows."""
    with (data / name / "train.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    texts, file = [row["input_text"] for row in rows], KEPT / f"{name}.npy"
    if not file.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        np.save(file, embedder().embed(texts))
    return texts, np.load(file), np.array([SETS[name](row) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", action="store_true")
    args = parser.parse_args()
    if not args.data.is_dir():
        sys.exit(f"no folder {args.data}")
    found = measure(args.data)
    if args.peers:
        _, vectors, labels = load(args.data, "banking77")
        peers("banking77", vectors, labels)
    print("RESULT " + " ".join(f"{key}={value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
