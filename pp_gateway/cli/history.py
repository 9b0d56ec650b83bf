"""`pp history`: the primary metric over the packages of a task, each tested against the champion."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line, table
from pp_gateway.cli.run import Variants
from pp_gateway.cli.tasks import TaskArgument, check_variants, settle
from pp_resources.errors import UserError

_SHORT = 8  # characters of a package's digest, which tell it from the others of a task


def history(
    task: TaskArgument,
    variant: Variants = None,
    margin: Annotated[float, typer.Option(min=1e-6, help="The loss against the champion that is borne.")] = 0.02,
    plot: Annotated[Path | None, typer.Option(help="Write the trend to this PNG file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show every package of a task over time: its primary metric with interval, and whether it loses against the champion.

    Reads stored answers only. Ends with 1 when the newest package of a variant is shown to be worse than the champion.

    Examples:

        pp history support-triage

        pp history support-triage --margin 0.01 --plot trend.png --json
    """
    from pp_assets.champion import read_champion
    from pp_assets.evaluation.trend import trend_plot
    from pp_assets.history import history as over_time
    from pp_assets.pipeline import Pipeline

    check_variants(variant or [])
    out = Output(as_json)
    settings, name = settle(task)
    found = over_time(Pipeline(settings), name, variant or [], read_champion(settings.home, name), margin)
    if not found["points"]:
        raise UserError("there is no package yet", where=name, how=f"run 'pp run {name}'")
    if plot is not None:
        plot.write_bytes(trend_plot(found))
    if not out.result({**found, "plot": str(plot) if plot else None}):
        _points(found)
        tested = f"{found['looks']} tested against it with a margin of {found['margin']:g}"
        line(f"champion: {tested}; alerts hold for all of them together (Holm)")
        for p in found["points"]:
            if p["value"] is None:
                line(f"no value {p['variant']} {p['package'][:_SHORT]}: {p['reason']}")
        for alert in found["alerts"]:
            line(f"worse    {alert}")
        if plot is not None:
            line(f"plot     {plot}")
    if found["alerts"]:
        raise typer.Exit(1)


def _points(found: Mapping[str, Any]) -> None:
    """A row for each package. Only a verdict is folded where the window is small; items are counted above the table where all answered as
    many."""
    counts = {p["n"] for p in found["points"]}
    asked = f" on {counts.pop()} test items" if len(counts) == 1 else ""
    line(f"{found['task']}: {found['metric']} [95 % interval] of {len(found['points'])} packages{asked}, oldest first")
    line()
    head = ("made", "variant", "package", "value", *(() if asked else ("n",)), "verdict", "champion")
    rows = []
    for p in found["points"]:
        value, n = interval(p["value"], p["low"], p["high"]), () if asked else (str(p["n"]),)
        rows.append((p["at"][:10], p["variant"], p["package"][:_SHORT], value, *n, p["verdict"], p["outcome"]))
    table(head, rows, right=("n",), whole=[name for name in head if name != "verdict"])
    line()
