"""The map as a small picture, for where a page cannot be shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pp_assets.data.clusters.model import OUTLIER

NAMED = 10


def draw_map(path: Path, labels: np.ndarray, places: np.ndarray, table: Sequence[Mapping[str, Any]]) -> None:
    """Scatter plot of rows at their `places` (rows, 2), a colour per topic of `table` (the ten largest named), outliers grey."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, topic in enumerate(table):
        rows = labels == topic["topic"]
        outliers = topic["topic"] == OUTLIER
        named = f"{topic['name']} ({topic['size']})" if place < NAMED or outliers else None
        size = 14 if len(labels) < 2000 else 3
        axes.scatter(places[rows, 0], places[rows, 1], s=size, color="0.75" if outliers else f"C{place % 10}", label=named, linewidths=0)
    axes.set(title="Training inputs by topic", xticks=[], yticks=[])
    figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    figure.savefig(path, metadata={"Software": None})
