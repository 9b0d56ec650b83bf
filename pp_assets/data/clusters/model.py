"""Clusters as they are kept: centroids with a radius of their own, the rows that made them, names, history. They map new rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pp_resources.errors import UserError

OUTLIER = -1
WITHIN = 0.99  # share of a cluster's own members inside its radius
ASSIGNED = 8192  # rows at a time
WEIGHTS, ROWS, FACTS = "clusters.safetensors", "cluster_rows.parquet", "clusters.json"
FORMAT = 1


@dataclass(frozen=True)
class Clusters:
    """`ids` (k,) int64, rising, never used twice; `centroids` (k, size) float32 unit vectors; `radii` (k,) float32, the cosine distance
    within which 99 % of the members lie; per row of the fit, in the order given: `item_ids`, `labels` (an id, or OUTLIER), `similarity`
    (cosine to the row's own, for an outlier to the nearest centroid).

    `names` by id: {"name", "terms", "titled"}; a refit leaves out those whose topic has changed so much that it wants a new name.
    `history`: for each refit {"rows", "outliers", "events"} (see `history.Event`). `next_id` is the id that the next cluster gets.
    """

    ids: np.ndarray
    centroids: np.ndarray
    radii: np.ndarray
    item_ids: tuple[str, ...]
    labels: np.ndarray
    similarity: np.ndarray
    next_id: int
    names: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def outliers(self) -> int:
        return int((self.labels == OUTLIER).sum())

    def name(self, topic: int) -> str:
        """Its name, `topic 7` where it has none."""
        return "outliers" if topic == OUTLIER else str(self.names.get(topic, {}).get("name") or f"topic {topic}")

    def assign(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids, cosines) of unit vectors (rows, size): the nearest centroid's, OUTLIER (unassigned) where the row lies outside its radius.

        Raises UserError when the vectors have another size, as those of another encoder do.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.centroids.shape[1]:
            what = f"vectors of shape {vectors.shape}, centroids of size {self.centroids.shape[1]}"
            raise UserError(what, where="assign", how="embed with the same encoder")
        places, cosines = np.zeros(len(vectors), dtype=np.int64), np.zeros(len(vectors), dtype=np.float32)
        for start in range(0, len(vectors), ASSIGNED):
            similar = np.asarray(vectors[start : start + ASSIGNED], dtype=np.float32) @ self.centroids.T
            places[start : start + ASSIGNED] = best = similar.argmax(1)
            cosines[start : start + ASSIGNED] = similar[np.arange(len(similar)), best]
        return np.where(1 - cosines <= self.radii[places], self.ids[places], OUTLIER), cosines


def save(found: Clusters, folder: Path) -> None:
    """Three files in `folder`; equal clusters give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save_file

    save_file({"ids": found.ids, "centroids": found.centroids, "radii": found.radii}, folder / WEIGHTS)
    rows = pa.table({"item_id": list(found.item_ids), "topic": found.labels, "similarity": found.similarity})
    pq.write_table(rows, folder / ROWS, compression="zstd")
    facts: dict[str, Any] = {"format": FORMAT, "next_id": found.next_id}
    facts |= {"names": {str(k): dict(v) for k, v in sorted(found.names.items())}, "history": [dict(h) for h in found.history]}
    (folder / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load(folder: Path) -> Clusters:
    """What `save` wrote. Raises UserError where there is none."""
    import pyarrow.parquet as pq
    from safetensors.numpy import load_file

    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
    except FileNotFoundError:
        raise UserError("no clusters here", where=str(folder), how="make them first: pp data") from None
    if facts["format"] != FORMAT:
        raise UserError(f"clusters of format {facts['format']}, known is {FORMAT}", where=str(folder), how="make them again: pp data")
    weights, rows = load_file(folder / WEIGHTS), pq.read_table(folder / ROWS)
    columns = {"labels": rows["topic"].to_numpy(), "similarity": rows["similarity"].to_numpy()}
    names = {int(k): v for k, v in facts["names"].items()}
    items, history = tuple(rows["item_id"].to_pylist()), tuple(facts["history"])
    return Clusters(**weights, **columns, item_ids=items, names=names, history=history, next_id=facts["next_id"])
