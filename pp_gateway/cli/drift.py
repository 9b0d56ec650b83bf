"""`pp drift`: do the inputs of today look like those that the task was made from, and which do not?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, p_value, table
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.feedback.inputs import Met
    from pp_resources.settings import Settings

_SHOWN = 20  # windows


def drift(
    task: TaskArgument,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="JSON lines with input_text. Default: the feedback inbox.")] = None,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", help="START..END. One: only these inputs. Two: the second against the first.")
    ] = None,
    window: Annotated[int, typer.Option(min=20, help="Inputs that are tested at once.")] = 100,
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Share of windows that may be a false alarm.")] = 0.05,
    each: Annotated[bool, typer.Option("--each", help="Say of every input how far out it is, instead of testing windows.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write the windows to this PNG file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Test windows of new inputs against the task's training rows: are more of them novel than should be, have the topics moved?

    Two tests a window, adjusted together, so that inputs like the known ones raise an alarm in at most --alpha of the windows. A new kind
    of input close to a known one is seen only when the shares of the topics move. Ends with 1 when a window drifts. Windows of the inbox as
    they are tested by default are kept, and the run is seen in the UI.

    Examples:

        pp drift support-triage

        pp drift support-triage yesterday.jsonl --window 200 --plot drift.png

        pp drift support-triage calls.jsonl --range 2026-10-01..2026-11-01 --range 2026-11-01..

        pp drift support-triage calls.jsonl --each --json
    """
    from pp_assets.drifts import ALPHA, WINDOW, embed, known_inputs, known_rows, windows
    from pp_assets.drifts import each as row_by_row
    from pp_assets.feedback.inputs import between, of_file, of_inbox, time_range
    from pp_assets.pipeline import Pipeline

    out = Output(as_json)
    if len(ranges or []) > 2:
        raise UserError("more than two ranges", where="--range", how="give one, or the earlier and the later one")
    settings, name = settle(task)
    p = Pipeline(settings)
    where = str(file) if file else f"feedback on {name}"
    rows = of_file(file) if file else of_inbox(p.inbox.entries(name))
    parts = [between(rows, *time_range(text), where) for text in ranges or []] or [rows]
    if not parts[-1]:
        raise UserError("there is no input to test", where=where, how="give a file, send feedback, or take another --range")
    if file is None and not ranges and not each and (window, alpha) == (WINDOW, ALPHA):
        found = _inbox(settings, name, rows, where)
    else:
        vectors = embed(p, name, [row.input_text for row in parts[-1]])
        if len(parts) == 2:
            like, texts = known_rows(parts[0], embed(p, name, [row.input_text for row in parts[0]]), f"--range {(ranges or [''])[0]}")
        else:
            like, texts = known_inputs(p, name)
        if each:
            _each(out, row_by_row(like, texts, parts[-1], vectors))
            return
        size = len(parts[-1]) if len(parts) == 2 else window
        found = windows(like, texts, parts[-1], vectors, size=size, alpha=alpha)
    if not found["windows"]:
        raise _too_few(len(parts[-1]), where)
    if plot is not None:
        from pp_assets.drifts import drift_plot

        plot.write_bytes(drift_plot(found, name))
    if not out.result({"task": name, **found, "plot": str(plot) if plot else None}):
        _show(name, found)
        if plot is not None:
            line(f"plot     {plot}")
    if any(one["drift"] for one in found["windows"]):
        raise typer.Exit(1)


def _inbox(settings: "Settings", name: str, rows: "Sequence[Met]", where: str) -> dict[str, Any]:
    """The windows of the inbox: full ones by the job that also the sensor starts."""
    from pp_assets.drifts import LEAST_WINDOW, inbox_windows

    if len(rows) < LEAST_WINDOW:
        raise _too_few(len(rows), where)
    with running(settings) as (runner, _):
        runner.drift(name)
        return inbox_windows(runner.pipeline, name, rows)


def _too_few(rows: int, where: str) -> UserError:
    return UserError(f"{rows} inputs are too few to test", where=where, how="wait for 20, or ask about --each of them")


def _show(name: str, found: Mapping[str, Any]) -> None:
    shown = found["windows"][-_SHOWN:]
    line(
        f"{name}: {found['rows']} inputs in windows of {found['window']} against {found['known']} known ones; alarms at {found['alpha']:g}"
    )
    line()
    rows = []
    for one in shown:
        novel, mix = one["novel"], one["mix"]
        share = f"{number(novel['share'])} [{number(novel['low'])}, {number(novel['high'])}]"
        said = "drifts" if one["drift"] else ""
        ps = p_value(novel["p"]), number(mix["distance"]), p_value(mix["p"])
        rows.append(((one["from"] or f"input {one['first'] + 1}")[:16], str(one["n"]), share, number(novel["expected"]), *ps, said))
    table(("window from", "n", "novel", "expected", "p", "topics moved by", "p of topics", ""), rows, right=("n",))
    last = shown[-1]
    if last["drivers"] and last["drift"]:
        line()
        table(("farthest out", "p", "nearest known"), [(d["input_text"][:70], p_value(d["p"]), d["nearest"][:50]) for d in last["drivers"]])
    moved = [t for t in last["mix"]["topics"] if abs(t["z"]) > 2][:5]
    if moved and last["drift"]:
        line()
        cells = [(t["topic"][:50], number(t["share"]), number(t["known_share"]), f"{t['z']:+.1f}") for t in moved]
        table(("topic", "share", "known share", "standard errors"), cells)


def _each(out: Output, found: list[dict[str, Any]]) -> None:
    if not out.result(found):
        rows = [("novel" if one["novel"] else "", p_value(one["p"]), one["input_text"][:70], one["nearest"][:50]) for one in found]
        table(("", "p", "input", "nearest known"), rows)
