"""Weights over time as a picture: who answered with which share, and when something was decided for good."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pp_resources.store.ids import MICRO

COLOURS = ("#2563a8", "#d97706", "#15803d", "#7c3aed", "#b42318", "#0e7490", "#a16207", "#334155")


def weights_plot(history: Sequence[Mapping[str, Any]], task: str, until: float, before: Mapping[str, Any] | None = None) -> bytes:
    """PNG bytes of decisions (rows of kind "weights", oldest first) up to a time (seconds): a step line for each variant; crosses are
    roll-backs, stars winners. `before` is the decision before the first of them."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    from pp_assets.evaluation.drawing import RED, draw

    times: list[Any] = [datetime.fromtimestamp(row["at"] / MICRO, UTC) for row in history]
    times.append(max([*times, datetime.fromtimestamp(until, UTC)]))
    names = sorted({name for row in history for name in row["data"]["weights"]})
    marks = events(history, before)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, name in enumerate(names):
            shares = [row["data"]["weights"].get(name, 0.0) for row in history]
            axes.step(times, [*shares, *shares[-1:]], where="post", color=COLOURS[place % len(COLOURS)], linewidth=1.6, label=name)
        for at, kind, _ in marks:
            marker, colour = ("x", RED) if kind == "rolled back" else ("*", "black")
            when: Any = [datetime.fromtimestamp(at / MICRO, UTC)]
            axes.plot(when, [1.04], marker=marker, color=colour, markersize=8, clip_on=False)
        axes.set(ylim=(0, 1.08), ylabel="share of the traffic")
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
        axes.set_title(f"{task}: who answers ({len(history)} decisions)", fontsize=9)

    return draw((7.0, 3.0), paint)


def events(history: Sequence[Mapping[str, Any]], before: Mapping[str, Any] | None = None) -> list[tuple[int, str, str]]:
    """(microseconds, "rolled back" or "winner", reason) of what was decided for good, each when it was first in force."""
    found: list[tuple[int, str, str]] = []
    experiment, gone, won = "", set[str](), False
    for place, row in enumerate([before, *history] if before else history):
        state = row["data"].get("state") or {}
        if state.get("experiment") != experiment:
            experiment, won = state.get("experiment", ""), False
        rolled = state.get("rolled_back") or {}
        found += [(row["at"], "rolled back", rolled[name]["reason"]) for name in sorted(rolled.keys() - gone)]
        gone = set(rolled)
        if state.get("won") and not won:
            found.append((row["at"], "winner", state["won"]["reason"]))
            won = True
        if before and not place:
            found = []
    return found
