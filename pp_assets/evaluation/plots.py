"""Pictures of a report as PNG bytes, drawn from the report alone. Equal reports give equal bytes with one version of matplotlib."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pp_assets.evaluation.confidence_plots import reliability, risk_coverage
from pp_assets.evaluation.drawing import BLUE, DARK, GREY, Bar, bars, draw, forest, short
from pp_assets.evaluation.score_plots import quality_by_time, slice_plot
from pp_assets.evaluation.tables import lower_is_better

BARS = ("object_exact_match", "field_exact_mean", "schema_valid_rate", "valid_but_wrong_rate", "not_in_input_rate")
CELLS_UP_TO = 30  # classes; larger matrices are unreadable and told as a list
FIELD_PLOTS = 6


def render_plots(report: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG bytes by name: `metrics`, `scatter` (quality by time), `effects`, `fields`, `slices`, `reliability`, `risk_coverage`, `latency`,
    and `confusion.<field>` for the candidate, those that have data."""
    plots: dict[str, bytes | None] = {
        "metrics": metric_bars(report["systems"], report["primary_metric"]["name"], report["candidate"]),
        "scatter": quality_by_time(report["systems"], report["primary_metric"]["name"], report["candidate"]),
        "effects": _effects(report),
        "fields": _fields(report),
        "slices": slice_plot(report["slices"]),
        "reliability": reliability(report["calibration"]),
        "risk_coverage": risk_coverage(report["calibration"]),
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


def metric_bars(systems: Sequence[Mapping[str, Any]], primary: str, candidate: str) -> bytes:
    """Bars of the main metrics with intervals, the candidate's in blue: a panel a metric, a bar a system."""
    wanted = dict.fromkeys((primary, *BARS))
    shown = [name for name in wanted if any(s["metrics"][name]["value"] is not None for s in systems)]
    colours = [BLUE if s["name"] == candidate else GREY for s in systems]

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, shown):
            bars(axes, [s["name"] for s in systems], [s["metrics"][name] for s in systems], colours)
            axes.set_title(name, fontsize=9)
            if not name.startswith(("latency", "tokens")):
                axes.set_xlim(0, 1)

    return draw((2.3 * len(shown) + 1.2, 0.34 * len(systems) + 0.9), paint)


def _effects(report: Mapping[str, Any]) -> bytes | None:
    rows = [Bar(f"against {short(name)}", c["effect"], c["low"], c["high"]) for name, c in report["comparisons"].items()]
    floor = report["primary_metric"]["min_effect"]
    lines = {0.0: "-"} | ({floor: "--"} if floor > 0 else {})
    return forest(rows, f"gain in {report['primary_metric']['name']}", lines)


def _fields(report: Mapping[str, Any]) -> bytes | None:
    fields = report["fields"][:40]
    if not fields:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        sides = ("candidate_exact", "baseline_exact") if report["best_baseline"] else ("candidate_exact",)
        rows = [(f["path"] if side == "candidate_exact" else "", f[side]) for f in fields for side in sides]
        bars(axes, [name for name, _ in rows], [metric for _, metric in rows], [BLUE, GREY][: len(sides)] * len(fields))
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
            bars(axes, [s["name"] for s in timed], [s["metrics"][name] for s in timed], colours)
            axes.set_title(f"{name} (ms an item)", fontsize=9)

    return draw((6.4, 0.34 * len(timed) + 0.9), paint)


def _confusion(path: str, found: Mapping[str, Any]) -> bytes:
    labels, matrix = [short(name) for name in found["labels"]], found["matrix"]
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
