"""Pictures of a report as PNG bytes, drawn from the report alone. Equal reports give equal bytes with one version of matplotlib."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pp_assets.evaluation.tables import lower_is_better

BARS = ("object_exact_match", "field_exact_mean", "schema_valid_rate", "valid_but_wrong_rate", "not_in_input_rate")
BLUE, GREY, DARK, RED = "#2563a8", "#b4bcc8", "#334155", "#b42318"
CELLS_UP_TO = 30  # classes; larger matrices are unreadable and told as a list
FIELD_PLOTS = 6


def render_plots(report: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG bytes by name: `metrics`, `effects`, `fields`, `latency`, and `confusion.<field>` for the candidate, those that have data."""
    plots: dict[str, bytes | None] = {
        "metrics": _metrics(report),
        "effects": _effects(report),
        "fields": _fields(report),
        "latency": _latency(report),
    }
    matrices = [(p, c) for p, c in report["confusion"][report["candidate"]].items() if c["matrix"] and c["classes"] <= CELLS_UP_TO]
    for path, found in matrices[:FIELD_PLOTS]:
        plots[f"confusion.{path}"] = _confusion(path, found)
    return {name: data for name, data in plots.items() if data is not None}


def search_plot(trials: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> bytes:
    """A search: every trial by the metric and the best so far; beside it how much each parameter explains, once that can be told."""
    importances, better = found["importances"], min if lower_is_better(found["metric"]) else max

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, 2 if importances else 1, squeeze=False)[0]
        told = [t for t in trials if t["value"] is not None]
        best = [better(t["value"] for t in told[: i + 1]) for i in range(len(told))]
        grid[0].step([t["number"] for t in told], best, where="post", color=BLUE)
        for colour, done in ((BLUE, True), (GREY, False)):
            some = [t for t in told if (t["outcome"] == "done") is done]
            grid[0].plot([t["number"] for t in some], [t["value"] for t in some], "o", color=colour, markersize=4)
        grid[0].set_xlabel("trial (grey: stopped early)")
        grid[0].set_title(f"{found['metric']} on validation rows", fontsize=9)
        if importances:
            names = sorted(importances, key=importances.__getitem__)
            grid[1].barh(names, [importances[name] for name in names], color=BLUE)
            grid[1].set_title("share of the score's variance explained", fontsize=9)

    return draw((8.4 if importances else 4.6, 3.0), paint)


def draw(size: tuple[float, float], paint: Callable[[Figure], None]) -> bytes:
    """PNG bytes of a figure of `size` inches that `paint` fills."""
    # Labels are user data: `$` must not start a formula, and a letter that the font lacks is no reason for noise.
    look: Any = {"text.parse_math": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(look), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _bars(axes: Axes, names: Sequence[str], found: Sequence[Mapping[str, Any]], colours: Sequence[str]) -> None:
    """Horizontal bars with interval whiskers, the first on top; a metric without a value is a word, not a bar."""
    places = range(len(names), 0, -1)
    for place, metric, colour in zip(places, found, colours):
        if metric["value"] is None:
            axes.text(0, place, " not scored", va="center", color=DARK, fontstyle="italic")
            continue
        axes.barh(place, metric["value"], height=0.68, color=colour)
        if metric["low"] is not None and metric["high"] is not None:
            axes.plot([metric["low"], metric["high"]], [place, place], color=DARK, linewidth=1.4, marker="|", markersize=6)
    axes.set_yticks(list(places), [_short(name) for name in names])


def _metrics(report: Mapping[str, Any]) -> bytes:
    wanted = dict.fromkeys((report["primary_metric"]["name"], *BARS))
    shown = [name for name in wanted if any(s["metrics"][name]["value"] is not None for s in report["systems"])]

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, shown):
            _bars(axes, [s["name"] for s in report["systems"]], [s["metrics"][name] for s in report["systems"]], _colours(report))
            axes.set_title(name, fontsize=9)
            if not name.startswith(("latency", "tokens")):
                axes.set_xlim(0, 1)

    return draw((2.6 * len(shown) + 1.2, 0.34 * len(report["systems"]) + 0.9), paint)


def _effects(report: Mapping[str, Any]) -> bytes | None:
    found = [(name, c) for name, c in report["comparisons"].items() if c["low"] is not None and c["high"] is not None]
    if not found:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (_, c) in zip(range(len(found), 0, -1), found):
            colour = BLUE if c["low"] > 0 else RED if c["high"] < 0 else DARK
            axes.plot([c["low"], c["high"]], [place, place], color=colour, linewidth=2)
            axes.plot(c["effect"], place, "o", color=colour)
        axes.axvline(0, color=GREY, linewidth=1)
        if report["primary_metric"]["min_effect"] > 0:
            axes.axvline(report["primary_metric"]["min_effect"], color=GREY, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(found), 0, -1), [f"against {_short(name)}" for name, _ in found])
        axes.set_ylim(0.4, len(found) + 0.6)
        axes.set_title(f"gain in {report['primary_metric']['name']}", fontsize=9)

    return draw((6.4, 0.34 * len(found) + 0.9), paint)


def _fields(report: Mapping[str, Any]) -> bytes | None:
    fields = report["fields"][:40]
    if not fields:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        sides = ("candidate_exact", "baseline_exact") if report["best_baseline"] else ("candidate_exact",)
        rows = [(f["path"] if side == "candidate_exact" else "", f[side]) for f in fields for side in sides]
        _bars(axes, [name for name, _ in rows], [metric for _, metric in rows], [BLUE, GREY][: len(sides)] * len(fields))
        axes.set_xlim(0, 1)
        axes.set_title("exact match by field: candidate, best baseline below it", fontsize=9)

    return draw((6.4, 0.42 * len(fields) + 0.8), paint)


def _latency(report: Mapping[str, Any]) -> bytes | None:
    names = ("latency_ms_p50", "latency_ms_p95")
    timed = [s for s in report["systems"] if s["metrics"][names[0]]["value"] is not None]
    if not timed:
        return None

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, 2, sharey=True)
        for axes, name in zip(grid, names):
            colours = [BLUE if s["name"] == report["candidate"] else GREY for s in timed]
            _bars(axes, [s["name"] for s in timed], [s["metrics"][name] for s in timed], colours)
            axes.set_title(f"{name} (ms an item)", fontsize=9)

    return draw((6.4, 0.34 * len(timed) + 0.9), paint)


def _confusion(path: str, found: Mapping[str, Any]) -> bytes:
    labels, matrix = [_short(name) for name in found["labels"]], found["matrix"]
    side = 0.42 * len(labels) + 2.0

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        shares = [[cell / max(1, sum(row)) for cell in row] for row in matrix]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, row in enumerate(matrix):
            for j, cell in enumerate(row):
                if cell:
                    axes.text(j, i, str(cell), ha="center", va="center", fontsize=7, color="white" if shares[i][j] > 0.5 else DARK)
        axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        axes.set_xlabel("answered")
        axes.set_ylabel("expected")
        axes.set_title(path, fontsize=9)

    return draw((side, side), paint)


def _colours(report: Mapping[str, Any]) -> list[str]:
    return [BLUE if s["name"] == report["candidate"] else GREY for s in report["systems"]]


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"
