"""`pp ab`: an A/B test of two systems from their stored answers, whole or with looks in between."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.compare import WHAT, ReportFiles, command, report_files, show, sides_of, write_report
from pp_gateway.cli.output import JsonFlag, Output, interval, line, p_value, signed, table
from pp_resources.errors import UserError

_SHOWN = 12  # looks of a path


def ab(
    a: Annotated[str, typer.Argument(metavar="SYSTEM", help=f"{WHAT}.")],
    b: Annotated[str, typer.Argument(metavar="OTHER", help="What it is tested against; the same kinds of names.")],
    metric: Annotated[str | None, typer.Option(help="Compare by this metric. Default: the task's primary one.")] = None,
    sequential: Annotated[bool, typer.Option("--sequential", help="Reveal items in batches and stop when enough is known.")] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="Groups in a batch. Default: a 20th of them.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Of the order of items. Default: the task's.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the path of a sequential test to this PNG file.")] = None,
    report: ReportFiles = None,
    task: Annotated[str | None, typer.Option(help="The task, where two files of predictions do not tell it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Test two systems against each other: winner, confidence, p, effect sizes, power.

    With --sequential the items are revealed in a random order, whole groups at a time, and an interval that holds at every look says when
    to stop; the chance of a false winner stays under the task's alpha. Reads stored answers only.

    Examples:

        pp ab support-triage/encoder-lora support-triage/lora-r8

        pp ab support-triage/encoder-lora support-triage/majority --sequential --plot path.png
    """
    from pp_assets.evaluation.ab import ab_test, path_plot, sequential_test

    out, files = Output(as_json), report_files(report)
    if plot is not None and not sequential:
        raise UserError("only a sequential test has a path", where="--plot", how="add --sequential")
    spec, rows = sides_of(a, b, task)
    sides = (a, rows[0]), (b, rows[1])
    found = ab_test(spec, *sides, metric)
    path = sequential_test(spec, *sides, metric, batch=batch, seed=seed) if sequential else None
    options = {"--metric": metric, "--sequential": sequential, "--batch": batch, "--seed": seed, "--task": task}
    write_report(files, spec, sides, found, command("ab", a, b, options, files), path)
    if plot is not None and path is not None:
        plot.write_bytes(path_plot(path, (a, b)))
    if out.result({**found, "sequential": path, "plot": str(plot) if plot else None, "report": list(map(str, files))}):
        return
    show(found)
    _short(found)
    if path is not None:
        _path(path, a, b)
    if plot is not None:
        line(f"plot     {plot}")
    for file in files:
        line(f"report   {file}")


def _short(found: Mapping[str, Any]) -> None:
    sure = "" if found["confidence"] is None else f", confidence {_nearly(found['confidence'], 4)} (1 - p)"
    line(f"winner   {found['winner'] or 'none is shown'}{sure}")
    power = "– (no effect was observed)"
    if found["power"] is not None:
        power = f"{_nearly(found['power'], 2)} for an effect as large as the one observed, which flatters"
    line(f"power    {power}")


def _nearly(chance: float, digits: int) -> str:
    """A probability that is not certain is never shown as 1."""
    most = 1 - 10**-digits
    return f">{most:.{digits}f}" if chance > most else f"{chance:.{digits}f}"


def _path(path: Mapping[str, Any], a: str, b: str) -> None:
    line()
    looks = path["path"]
    shown = [looks[i] for i in sorted({round(k * (len(looks) - 1) / max(1, _SHOWN - 1)) for k in range(_SHOWN)})]
    rows = [(str(one["n"]), str(one["groups"]), signed(one["mean"]), interval_of(one), p_value(one["p"])) for one in shown]
    table(("items", "groups", "difference", "interval at all looks", "p"), rows, right=("items", "groups"))
    if path["stopped"]:
        winner = {"a": a, "b": b}[path["winner"]]
        line(f"stopped  after {path['needed']} of {path['of']} items: {winner} is better")
    else:
        line(f"stopped  not: after all {path['of']} items the interval still holds zero")


def interval_of(look: Mapping[str, Any]) -> str:
    return interval(None, look["low"], look["high"]).removeprefix("– ")
