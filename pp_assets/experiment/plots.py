"""Pictures of results."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def scatter(
    points: "pd.DataFrame", columns: tuple[str, str], names: Sequence[str], path: Path | str | None = None, *, diagonal: bool = False
) -> Any:
    """One point a row, with error bars from `<column>_error`. Equal points are drawn larger. Returns a matplotlib figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    x, y = columns
    axes.errorbar(points[x], points[y], points[f"{y}_error"], points[f"{x}_error"], fmt="none", ecolor="#94a3b8", elinewidth=0.8, zorder=1)
    heaps = points.groupby([x, y]).size().reset_index(name="count")
    axes.scatter(heaps[x], heaps[y], s=18 * heaps["count"] ** 0.5 + 6, color="#1d4ed8", alpha=0.75, zorder=2)
    if diagonal and len(points):
        ends = [float(points[[x, y]].min().min()), float(points[[x, y]].max().max())]
        axes.plot(ends, ends, color="#64748b", linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_title(f"{len(points)} items; larger points are several", fontsize=10)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
