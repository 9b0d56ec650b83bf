"""Pictures of scores with error bars: systems by quality and time, two systems against each other, slices."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pp_assets.evaluation.drawing import BLUE, DARK, GREY, RED, Bar, draw, forest, short

TIME = "latency_ms_p50"
LABELS = 12  # points that are named; more names would lie on each other


class Point(NamedTuple):
    """A metric across (`x`), another upwards (`y`), as the report holds them."""

    name: str
    x: Mapping[str, Any]
    y: Mapping[str, Any]
    colour: str


def quality_by_time(systems: Sequence[Mapping[str, Any]], metric: str, candidate: str) -> bytes | None:
    """Each system by the median time of an answer (logarithmic) and its metric, both with intervals; None where no time was stored."""
    points = [
        Point(s["name"], s["metrics"][TIME], s["metrics"][metric], BLUE if s["name"] == candidate else DARK)
        for s in systems
        if (s["metrics"][TIME]["value"] or 0) > 0 and s["metrics"][metric]["value"] is not None
    ]
    if not points or metric.startswith("latency"):
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        for point in points:
            _cross(axes, point)
        _name(axes, points)
        axes.margins(x=0.14)
        axes.set_xlabel("median time of an answer, milliseconds")
        axes.set_ylabel(metric)
        axes.set_ylim(-0.02, 1.02) if not metric.startswith("tokens") else None

    return draw((6.4, 3.8), paint)


def against_each_other(points: Sequence[Point], names: Sequence[str], what: str) -> bytes | None:
    """Points by the score of system B (across) and of A (upwards): above the diagonal A is better."""
    shown = [point for point in points if point.x["value"] is not None and point.y["value"] is not None]
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        for point in shown:
            _cross(axes, point)
        _name(axes, shown[:LABELS])
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"B: {short(names[1], 48)}")
        axes.set_ylabel(f"A: {short(names[0], 40)}")
        axes.set_title(what, fontsize=9)

    return draw((5.2, 4.8), paint)


def slice_plot(slices: Mapping[str, Any], key: str = "candidate") -> bytes | None:
    """The metric on each slice with its interval; red and blue where it is surely worse or better than on the rest."""
    rows = []
    for row in slices["rows"]:
        metric = row[key]
        colour = RED if row["worse"] else BLUE if row["better"] else DARK
        rows.append(Bar(f"{short(row['slice'], 30)} (n {row['n']})", metric["value"], metric["low"], metric["high"], colour))
    share = all(row.high is None or row.high <= 1 for row in rows)
    return forest(rows, f"{slices['metric']} by slice (red: surely worse than the rest)", {}, share=share)


def _cross(axes: Axes, point: Point) -> None:
    x, y = point.x, point.y
    bars = {"color": point.colour, "linewidth": 1.2, "alpha": 0.55}
    if x["low"] is not None and x["high"] is not None:
        axes.plot([x["low"], x["high"]], [y["value"]] * 2, **bars)
    if y["low"] is not None and y["high"] is not None:
        axes.plot([x["value"]] * 2, [y["low"], y["high"]], **bars)
    axes.plot(x["value"], y["value"], "o", color=point.colour, markersize=5)


def _name(axes: Axes, points: Sequence[Point]) -> None:
    for point in points:
        place = (point.x["value"], point.y["value"])
        axes.annotate(short(point.name), place, xytext=(5, 4), textcoords="offset points", fontsize=7, color=point.colour)
