"""The map as one HTML file that works without a network: zoom, hover, search, colours, lasso to a file of rows."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pp_assets.data.clusters.model import OUTLIER, Clusters

HERE = Path(__file__).parent
CHARACTERS = 30_000_000  # of all texts together; beyond, each is cut
LONGEST_OF_MANY = 120
VALUES = 60  # distinct values up to which a field gives colours


def write_map(
    path: Path,
    found: Clusters,
    places: np.ndarray,
    texts: Sequence[str],
    *,
    title: str = "Topics",
    fields: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Write the page of these rows at their `places` (rows, 2). Each of `fields` (by row, such as label, split or kind) is shown on hover;
    those with at most 60 values can colour the points. Where texts are more than 30 million characters they are cut, and chosen rows are
    saved without them. Equal input gives equal bytes.
    """
    from plotly.offline import get_plotlyjs

    cut = sum(map(len, texts)) > CHARACTERS
    topics = {int(t): i for i, t in enumerate([*found.ids.tolist(), OUTLIER])}
    coded = [_coded("topic", [topics[t] for t in found.labels.tolist()], [found.name(t) for t in topics])]
    data = {
        "title": title,
        "x": _packed(places[:, 0], "<f4"),
        "y": _packed(places[:, 1], "<f4"),
        "ids": list(found.item_ids),
        "texts": [t[:LONGEST_OF_MANY] for t in texts] if cut else list(texts),
        "cut": cut,
        "fields": coded + [_field(name, values) for name, values in (fields or {}).items()],
        "outliers": topics[OUTLIER],
    }
    # Nothing may load: what runs is in the file. Plotly makes its WebGL shaders' code at run time, which is called eval.
    policy = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
    with path.open("w", encoding="utf-8") as out:
        out.write(f"{head}<style>{(HERE / 'map.css').read_text('utf-8')}</style></head><body>{(HERE / 'map.html').read_text('utf-8')}\n")
        out.write(f"<script>{get_plotlyjs()}</script>\n")
        # "</script>" in a text would end the block, "<!--" would start another.
        out.write(f'<script type="application/json" id="data">{_json(data)}</script>\n')
        out.write(f"<script>{(HERE / 'map.js').read_text('utf-8')}</script></body></html>\n")


def _field(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Values as codes into a list of words, the most frequent first."""
    words = ["" if v is None else v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, sort_keys=True) for v in values]
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    order = sorted(counts, key=lambda w: (-counts[w], w))
    at = {word: i for i, word in enumerate(order)}
    return _coded(name, [at[w] for w in words], [w or "(none)" for w in order])


def _coded(name: str, codes: Sequence[int], words: Sequence[str]) -> dict[str, Any]:
    colours = name == "topic" or len(words) <= VALUES
    return {"name": name, "codes": _packed(np.asarray(codes), "<i4"), "words": list(words), "colours": colours}


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
