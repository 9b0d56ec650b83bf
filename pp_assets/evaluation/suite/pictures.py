"""Pictures of a suite as PNG bytes, drawn from its document alone, in the look of the report's."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from pp_assets.evaluation.confidence_plots import reliability, risk_coverage
from pp_assets.evaluation.drawing import BLUE, DARK, GREY, RED, draw


def render_suite_plots(document: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG bytes by name: `robustness`, `flips`, `reliability`, `risk_coverage`; those that have data."""
    plots = {
        "robustness": _heat_map(document["robustness"]["families"]),
        "flips": _flips(document),
        "reliability": reliability(document["calibration"]),
        "risk_coverage": risk_coverage(document["calibration"]),
    }
    return {name: data for name, data in plots.items() if data is not None}


def _heat_map(families: Mapping[str, Any]) -> bytes | None:
    """Whole objects right after each edit less before it, family by severity."""
    shown = [(name, found["severities"]) for name, found in families.items() if found["expects"] == "same"]
    if not shown:
        return None
    severities = sorted({s for _, found in shown for s in found})

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        values = [[found[s]["effect"] if s in found else float("nan") for s in severities] for _, found in shown]
        picture = axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                found = shown[i][1].get(severities[j])
                text = f"{value:+.2f}\nn {found['n']}" if found else "none"
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if abs(value) > 0.6 else DARK)
        axes.set_xticks(range(len(severities)), [f"severity {s}" for s in severities])
        axes.set_yticks(range(len(shown)), [name for name, _ in shown])
        axes.set_title("whole objects right: change against the clean input", fontsize=9)
        figure.colorbar(picture, ax=axes, shrink=0.8)

    return draw((6.0, 0.5 * len(shown) + 1.2), paint)


def _flips(document: Mapping[str, Any]) -> bytes | None:
    """The share of answers that change with wording and group, with intervals."""
    wording = document["consistency"]["wording"]
    rows = [(f"{wording['kind']}: {name}", found) for name, found in wording["variants"].items()]
    for name, dimension in document["bias"]["dimensions"].items():
        rows += [(f"{name}: {dimension['reference']} / {group}", found) for group, found in dimension["groups"].items()]
    if not rows:
        return None
    margin = document["settings"]["margin"]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (_, found) in zip(range(len(rows), 0, -1), rows):
            colour = {"holds": BLUE, "differs": RED}.get(found["verdict"], GREY)
            axes.plot([found["flip_low"], found["flip_high"]], [place, place], color=colour, linewidth=2)
            axes.plot(found["flips"], place, "o", color=colour)
        axes.axvline(margin, color=DARK, linewidth=1, linestyle="--")
        axes.set_xlim(0, 1)
        axes.set_yticks(range(len(rows), 0, -1), [name for name, _ in rows])
        axes.set_title("share of answers that flip (dashed: what is borne; red: differs, blue: holds)", fontsize=9)

    return draw((7.4, 0.26 * len(rows) + 0.9), paint)
