"""`pp compare`: two systems on the same test items, from their stored answers; nothing is asked again."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line, table
from pp_gateway.cli.tasks import settle
from pp_resources.errors import UserError
from pp_resources.settings import Settings

ReportFiles = Annotated[
    list[Path] | None,
    typer.Option("--report", metavar="FILE", help="Also write all of it as a page (.html), .md or .json; may be given more than once."),
]
WHAT = "TASK/VARIANT, TASK/BASELINE, the folder of a package, or a *.jsonl.gz file of predictions"


def compare(
    a: Annotated[str, typer.Argument(metavar="SYSTEM", help=f"{WHAT}.")],
    b: Annotated[str, typer.Argument(metavar="OTHER", help="What it is compared with; the same kinds of names.")],
    metric: Annotated[str | None, typer.Option(help="Compare by this metric. Default: the task's primary one.")] = None,
    margin: Annotated[float | None, typer.Option(help="Also judge whether SYSTEM loses no more than this against OTHER.")] = None,
    report: ReportFiles = None,
    task: Annotated[str | None, typer.Option(help="The task, where two files of predictions do not tell it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare two systems that answered the same test items: effect, interval, tests, and what these items could have shown.

    Reads stored answers only: no model runs, no test split is opened.

    Examples:

        pp compare support-triage/encoder-lora support-triage/tfidf-logreg

        pp compare support-triage/encoder-lora support-triage/encoder-frozen --metric field_f1.team --margin 0.02

        pp compare support-triage/encoder-lora support-triage/tfidf-logreg --report comparison.html

        pp compare old/predictions/encoder-lora.jsonl.gz support-triage/encoder-lora --json
    """
    from pp_assets.evaluation.head_to_head import head_to_head

    out, files = Output(as_json), report_files(report)
    spec, rows = sides_of(a, b, task)
    sides = (a, rows[0]), (b, rows[1])
    found = head_to_head(spec, *sides, metric, margin)
    options = {"--metric": metric, "--margin": margin, "--task": task}
    write_report(files, spec, sides, found, command("compare", a, b, options, files))
    if not out.result({**found, "report": list(map(str, files))}):
        show(found)
        for file in files:
            line(f"report   {file}")


def report_files(given: Sequence[Path] | None) -> list[Path]:
    """The files of --report; a UserError for one that cannot be written, before anything is computed."""
    if not given:
        return []
    from pp_assets.evaluation.comparison_page import check_files

    check_files(list(given))
    return list(given)


def write_report(
    files: list[Path], spec: Any, sides: Any, found: Mapping[str, Any], typed: str, sequential: Mapping[str, Any] | None = None
) -> None:
    """The page of a comparison, its Markdown or JSON, as the suffix of each file says; nothing where no file is wanted."""
    if not files:
        return
    from pp_assets.evaluation.comparison import comparison_document
    from pp_assets.evaluation.comparison_page import write_comparison

    write_comparison(comparison_document(spec, sides[0], sides[1], found, typed, sequential), files)


def command(name: str, a: str, b: str, options: Mapping[str, Any], files: Sequence[Path]) -> str:
    """The command as somebody would type it again; options that are None or False are left out, True is one without a value."""
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    words = [part for key, value in given.items() for part in ([key] if value is True else [key, str(value)])]
    return shlex.join(["pp", name, a, b, *words, *(part for file in files for part in ("--report", str(file)))])


def sides_of(a: str, b: str, task: str | None) -> tuple[Any, list[Any]]:
    """(what the task says of scoring, the rows of both systems). Raises UserError for systems of different tasks, or of none."""
    from pp_assets.pipeline import Pipeline
    from pp_assets.stored_answers import find_answers

    settings = Settings.from_env()
    if task is not None:
        settings, task = settle(task)
    pipeline = Pipeline(settings)
    sides = [find_answers(pipeline, named) for named in (a, b)]
    told = sorted({name for name in (task, *(side.task for side in sides)) if name})
    if len(told) > 1:
        raise UserError(f"answers to different tasks: {', '.join(told)}", where=f"{a}, {b}", how="compare two systems of one task")
    if not told:
        raise UserError("these files do not say which task they answer", where=f"{a}, {b}", how="add --task TASK")
    spec = next((side.spec for side in sides if side.spec), None) or pipeline.task(told[0])
    return spec, [side.rows for side in sides]


def show(found: dict[str, Any]) -> None:
    """The comparison as a person reads it."""
    from pp_assets.evaluation.comparison_rows import TEST_HEAD, evidence_rows

    groups = "each its own group" if found["groups"] == found["n"] else f"in {found['groups']} groups"
    line(f"{found['task']}: {found['metric']} on {found['n']} test items, {groups}")
    line()
    systems = [(key.upper(), found[key]["name"], _value(found[key]), str(found[key]["n"])) for key in ("a", "b")]
    table(("", "system", "value [95 % interval]", "n"), systems, right=("n",))
    line()
    table(TEST_HEAD, evidence_rows(found))
    line()
    line(found["conclusion"])


def _value(side: dict[str, Any]) -> str:
    return interval(side["value"], side["low"], side["high"]) if side["value"] is not None else f"– ({side['reason']})"
