"""Pictures of confidences: reliability, risk over coverage, the confidences of two systems beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pp_assets.evaluation.drawing import BLUE, DARK, GREY, RED, draw, short

PANELS = 8
ACROSS = 4
_OUTCOMES = (("both right", GREY), ("both wrong", DARK), ("only A right", BLUE), ("only B right", RED))


def reliability(entries: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The share that is right over the confidence, a panel an entry; a calibrated system lies on the diagonal. None without confidences."""
    shown = [entry for entry in entries if entry["reliability"]][:PANELS]
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        rows, across = -(-len(shown) // ACROSS), min(ACROSS, len(shown))
        grid = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, entry in zip(grid, shown):
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
            for part in entry["reliability"]:
                axes.plot([part["confidence"]] * 2, [part["low"], part["high"]], color=GREY, linewidth=1.4)
            sure, right = ([part[key] for part in entry["reliability"]] for key in ("confidence", "right"))
            axes.plot(sure, right, "o-", color=BLUE, markersize=4, linewidth=1)
            axes.set_title(f"{short(entry['field'])}\nECE {entry['ece']['value']:.3f}", fontsize=8)
            axes.set_xlim(0, 1.02)
            axes.set_ylim(0, 1.02)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("confidence", fontsize=8)
        figure.supylabel("share right, with 95 % intervals", fontsize=8)

    return draw((2.1 * min(ACROSS, len(shown)) + 0.6, 2.2 * -(-len(shown) // ACROSS) + 0.4), paint)


def risk_coverage(entries: Sequence[Mapping[str, Any]]) -> bytes | None:
    """What is wrong among the surest answers, over the share of answers that are kept."""
    shown = [entry for entry in entries if entry["curve"]][:PANELS]
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, entry in enumerate(shown):
            coverage, risk = ([point[key] for point in entry["curve"]] for key in ("coverage", "risk"))
            style: Any = {"color": DARK, "linewidth": 2} if not place else {"color": f"C{place}", "linewidth": 1}
            axes.plot(coverage, risk, label=short(entry["field"]), **style)
        axes.set_xlabel("coverage: share of answers that are kept, the surest first")
        axes.set_ylabel("share of them that is wrong")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, None)
        axes.legend(fontsize=7)

    return draw((5.6, 3.2), paint)


def confidence_scatter(points: Sequence[Sequence[Any]], names: Sequence[str]) -> bytes | None:
    """Each item by the confidence of system A and of system B; `points` are (confidence, confidence, right, right)."""
    if not points:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        held = (lambda a, b: a and b, lambda a, b: not a and not b, lambda a, b: a and not b, lambda a, b: b and not a)
        for (label, colour), of_kind in zip(_OUTCOMES, held):
            some = [point for point in points if of_kind(point[2], point[3])]
            shown = f"{label} ({len(some)})"
            axes.plot([p[1] for p in some], [p[0] for p in some], "o", color=colour, markersize=4, alpha=0.75, label=shown)
        axes.set_xlabel(f"confidence of B: {short(names[1], 44)}")
        axes.set_ylabel(f"confidence of A: {short(names[0], 36)}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=4, frameon=False, handletextpad=0.2, columnspacing=1)

    return draw((5.2, 4.8), paint)
