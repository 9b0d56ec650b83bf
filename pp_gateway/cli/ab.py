"""`pp ab`: an A/B test of two systems from their stored answers, whole or with looks in between."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.compare import WHAT, ReportFiles, command, report_files, show, sides_of, write_report
from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_resources.errors import UserError


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
    _winner(found)
    if path is not None:
        _path(path)
    if plot is not None:
        line(f"plot     {plot}")
    for file in files:
        line(f"report   {file}")


def _winner(found: Mapping[str, Any]) -> None:
    from pp_assets.evaluation.comparison_rows import nearly

    sure = "" if found["confidence"] is None else f", confidence {nearly(found['confidence'], 4)} (1 - p)"
    line(f"winner   {found['winner'] or 'none is shown'}{sure}")


def _path(path: Mapping[str, Any]) -> None:
    from pp_assets.evaluation.comparison import stopped
    from pp_assets.evaluation.comparison_rows import LOOK_HEAD, look_rows

    line()
    table(LOOK_HEAD, look_rows(path), right=("items", "groups"))
    line(stopped(path))
