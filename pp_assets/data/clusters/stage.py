"""Builder of the stage: topics of a task's training inputs, with everything that is shown of them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pp_assets.data.clusters.model import Clusters
from pp_assets.data.clusters.naming import Embed
from pp_assets.data.rows import read_generated, write_table
from pp_assets.task.examples import Example, read_split

if TYPE_CHECKING:
    from pp_resources.models.remote import Provider

_CLUSTERS = pa.schema(
    [
        ("item_id", pa.string()),
        ("kind", pa.string()),
        ("topic", pa.int64()),
        ("strength", pa.float32()),
        ("x", pa.float32()),
        ("y", pa.float32()),
    ]
)


def build_clusters(
    dataset: Path,
    generated: Path,
    out: Path,
    *,
    embed: Embed,
    seed: int,
    time_field: str | None = None,
    before: Path | None = None,
    provider: "Provider | None" = None,
) -> dict[str, Any]:
    """embeddings.npy, the clusters, clusters.parquet, topics.json, map.html, map.png; rows are those of train, then the generated ones.

    Topics come from written rows alone: copies of a row would pass for a dense place. A generated row has its parent's topic. With the
    clusters of `before` it is a refit, which keeps ids and names. A `provider` gives titles, and places held-back members by them. `seed`
    is that of the layout, `time_field` the key in meta that holds a time.
    """
    from pp_assets.data.clusters.fit import fit, refit
    from pp_assets.data.clusters.layout import positions
    from pp_assets.data.clusters.model import OUTLIER, load, save
    from pp_assets.data.clusters.naming import name_quality, name_topics
    from pp_assets.data.clusters.tables import seconds, topic_table
    from pp_assets.data.clusters.titles import placed_by_titles
    from pp_resources.models.embedder import write

    written, made = read_split(dataset, "train"), read_generated(generated / "generated.parquet")
    texts, items = [e.input_text for e in written], [e.item_id for e in written]
    vectors = write(embed, [*texts, *(g.example.input_text for g in made)], out / "embeddings.npy")
    own = vectors[: len(written)]
    old = load(before) if before else None
    grouped = refit(old, own, items) if old and old.centroids.shape[1] == own.shape[1] else fit(own, items)
    found = name_topics(grouped, texts, vectors=own, provider=provider)
    save(found, out)
    places = positions(own, items, seed)
    quality = placed_by_titles(provider, found, texts) if provider else name_quality(found, own, embed)
    times = [seconds(e.meta.get(time_field)) for e in written] if time_field else None
    named = topic_table(found, texts, own, times=times, quality=quality)
    at = {item: i for i, item in enumerate(items)}
    rows = [(e.item_id, "written", i) for i, e in enumerate(written)] + [(g.example.item_id, "generated", at[g.parent]) for g in made]
    records = [
        {"item_id": item, "kind": kind, "topic": found.labels[i], "strength": found.similarity[i], "x": places[i, 0], "y": places[i, 1]}
        for item, kind, i in rows
    ]
    write_table(out / "clusters.parquet", records, _CLUSTERS)
    _write_json(out / "topics.json", {"topics": named, "names": {k: v for k, v in quality.items() if k != "topics"}})
    _draw(out, written, made, found, places, named)
    return {
        "rows": len(texts),
        "topics": len(found.ids),
        "outliers": found.outliers,
        "outlier_share": round(found.outliers / max(1, len(texts)), 4),
        "names_tell": quality["accuracy"],
        "changes": dict(sorted(Counter(e["kind"] for e in found.history[-1]["events"]).items())) if found.history else {},
        "table": [_shown(entry) for entry in named[:20]],
        "history": [_told(event) for event in (found.history[-1]["events"] if found.history else []) if event["kind"] != "survived"][:20],
        "strays": [{"input": e["input_text"][:200]} for t in named if t["topic"] == OUTLIER for e in t["examples"]],
    }


def _draw(
    out: Path, written: list[Example], made: Sequence[Any], found: "Clusters", places: np.ndarray, named: list[dict[str, Any]]
) -> None:
    """The map as a page and as a picture. A generated row stands where its parent does, a little apart."""
    from pp_assets.data.clusters.page import write_map
    from pp_assets.data.clusters.picture import draw_map

    draw_map(out / "map.png", found.labels, places, named)
    at = {e.item_id: i for i, e in enumerate(written)}
    parents = np.array([at[g.parent] for g in made], dtype=np.int64)
    rows = np.concatenate([np.arange(len(written)), parents])
    both = [*written, *(g.example for g in made)]
    drawn = replace(found, item_ids=tuple(e.item_id for e in both), labels=found.labels[rows], similarity=found.similarity[rows])
    reach = float(np.ptp(places, axis=0).max()) / 300
    apart = np.concatenate([np.zeros_like(places), reach * np.random.default_rng(0).standard_normal((len(made), 2))])
    fields: dict[str, list[Any]] = {"kind": ["written"] * len(written) + [g.method for g in made]}
    for name in sorted({name for e in written for name in e.output}):
        fields[name] = [e.output.get(name) for e in both]
    write_map(out / "map.html", drawn, places[rows] + apart, [e.input_text for e in both], title="Training inputs by topic", fields=fields)


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of the table of topics."""
    placed = entry.get("placed")
    line = {"id": entry["topic"], "topic": entry["name"], "rows": entry["size"], "share": entry["share"]}
    line["name_tells"] = f"{placed[0]} of {placed[1]}" if placed else ""
    line["trend"] = " ".join(str(part["rows"]) for part in entry.get("trend", []))
    return line | {"example": entry["examples"][0]["input_text"][:200]}


def _told(event: dict[str, Any]) -> dict[str, Any]:
    """A line of the history."""
    old, new = (", ".join(map(str, event[name])) for name in ("old", "new"))
    return {"event": event["kind"], "before": old, "after": new, "rows_before": event["before"], "rows_after": event["after"]}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
