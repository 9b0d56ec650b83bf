"""Pictures of scores with error bars: systems by quality and time, two systems against each other, slices."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pp_assets.evaluation.drawing import BLUE, DARK, GREY, RED, Bar, draw, forest, short

TIME = "latency_ms_p50"
LABELS = 12  # points that are named; more names would lie on each other
SHIFTS = (5, -14, 17, 29, -26, 41, 53, 65, 77)  # pixels that a name is moved up, in the order in which they are tried


class Point(NamedTuple):
    """A metric across (`x`), another upwards (`y`), as the report holds them; without a name it is shown without one."""

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
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        for point in points:
            _cross(axes, point)
        axes.margins(x=0.18)
        axes.set_xlabel("median time of an answer, milliseconds")
        axes.set_ylabel(metric)
        if not metric.startswith("tokens"):
            axes.set_ylim(-0.02, 1.02)
        axes.set_title(f"{metric} by time of an answer, with intervals", fontsize=9)
        _name(figure, axes, points)

    return draw((5.0, 3.8), paint)


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
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"B: {short(names[1], 48)}")
        axes.set_ylabel(f"A: {short(names[0], 40)}")
        axes.set_title(what, fontsize=9)
        _name(figure, axes, [point for point in shown if point.name][:LABELS])

    return draw((5.0, 4.6), paint)


def slice_plot(slices: Mapping[str, Any], key: str = "candidate") -> bytes | None:
    """The metric on each slice with its interval; red and blue where it is surely worse or better than on the rest."""
    rows = []
    for row in slices["rows"]:
        metric = row[key]
        colour = RED if row["worse"] else BLUE if row["better"] else DARK
        rows.append(Bar(f"{short(row['slice'], 30)} (n {row['n']})", metric["value"], metric["low"], metric["high"], colour))
    share = all(row.high is None or row.high <= 1 for row in rows)
    return forest(rows, f"{slices['metric']} by slice (red: worse than the rest, blue: better)", {}, share=share, width=6.4)


def _cross(axes: Axes, point: Point) -> None:
    x, y = point.x, point.y
    bars: Any = {"color": point.colour, "linewidth": 1.2, "alpha": 0.55}
    if x["low"] is not None and x["high"] is not None:
        axes.plot([x["low"], x["high"]], [y["value"]] * 2, **bars)
    if y["low"] is not None and y["high"] is not None:
        axes.plot([x["value"]] * 2, [y["low"], y["high"]], **bars)
    axes.plot(x["value"], y["value"], "o", color=point.colour, markersize=5)


def _name(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Names beside the points, the first ones first, each where it covers no point and no name; none where there is no such place."""
    figure.canvas.draw()  # where the points lie is known after the layout only
    spots = [axes.transData.transform((point.x["value"], point.y["value"])) for point in points]
    taken = [(x - 4, y - 4, 8.0) for x, y in spots]
    for point, (x, y) in zip(points, spots):
        name = short(point.name)
        width = 6.2 * len(name)  # pixels of a letter at size 7
        left = x + width > axes.bbox.x1
        start = x - 7 - width if left else x + 7
        inside = [dy for dy in SHIFTS if axes.bbox.y0 < y + dy < axes.bbox.y1 - 8]
        free = [dy for dy in inside if not any(_covers((start, y + dy, width), other) for other in taken)]
        if not free:
            continue  # the tables name it
        shift = free[0]
        taken.append((start, y + shift, width))
        where: Any = {"xytext": (-5 if left else 5, shift * 72 / figure.dpi), "textcoords": "offset points", "fontsize": 7}
        place, side = (point.x["value"], point.y["value"]), "right" if left else "left"
        axes.annotate(name, place, color=point.colour, ha=side, **where).set_in_layout(False)


def _covers(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    return abs(one[1] - other[1]) < 12 and one[0] < other[0] + other[2] and other[0] < one[0] + one[2]
