"""`pp task`: start a task, check it, list tasks, point at data that is already there, describe the task file to an editor."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.tasks import TaskArgument
from pp_resources.settings import Settings

FAILED = 2

app = typer.Typer(help="Start, check and list tasks.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, '.', '_' and '-'.")]


@app.command()
def init(name: Name, as_json: JsonFlag = False) -> None:
    """Write a small task that works, to be edited.

    Example:

        pp task init invoices
    """
    from pp_assets.task.scaffold import init_task

    _written(Output(as_json), name, init_task(name, Settings.from_env().tasks))


@app.command()
def check(task: TaskArgument, as_json: JsonFlag = False) -> None:
    """Find everything that would stop or spoil a run: the task file, models, variants, every line of data.

    Exit code 2 when there is a problem; warnings do not stop a run.

    Examples:

        pp task check support-triage

        pp task check path/to/task --json
    """
    from pp_assets.task.check import check_task
    from pp_assets.task.spec import load_task

    out = Output(as_json)
    report = check_task(load_task(task, Settings.from_env().tasks))
    if not out.result(report.as_dict()):
        _show_summary(report.summary)
        for found in report.quarantine:
            where = ": ".join(str(part) for part in (f"{found['file']}:{found['line']}", found["field"]) if part)
            line(f"quarantine: {where}: {found['reason']}")
        for told in report.prompt_lines:
            line(f"prompt: {told}")
        for warning in report.warnings:
            line(f"warning: {warning}")
        line(f"{report.task}: {'ready' if report.ok else f'{len(report.problems)} problems'}")
    for problem in report.problems:
        out.say(f"problem: {problem}")
    if not report.ok:
        raise typer.Exit(FAILED)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List the tasks in the tasks folder.

    Example: pp task list --json
    """
    from pp_assets.task.spec import list_tasks, load_task
    from pp_resources.errors import UserError

    out = Output(as_json)
    settings = Settings.from_env()
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any]
    for name in list_tasks(settings.tasks):
        try:
            spec = load_task(name, settings.tasks).spec
            facts = {"variants": spec.variants, "archived": spec.archived, "description": spec.description, "error": None}
        except UserError as error:
            facts = {"variants": [], "archived": False, "description": "", "error": str(error)}
        rows.append({"task": name, **facts})
    if out.result(rows):
        return
    if not rows:
        line(f"no tasks in {settings.tasks}; write one with: pp task init NAME")
        return
    words = ["cannot be read" if row["error"] else f"{'archived: ' if row['archived'] else ''}{row['description']}" for row in rows]
    table(
        ("task", "variants", "description"),
        [(row["task"], ", ".join(row["variants"]), said) for row, said in zip(rows, words, strict=True)],
    )
    for row in rows:
        if row["error"]:
            line(f"{row['task']}: {row['error']}")


@app.command("import")
def import_(
    name: Name,
    schema: Annotated[Path, typer.Option(help="JSON Schema of the output, JSON or YAML; it is copied.")],
    train: Annotated[Path, typer.Option(help="JSON lines to learn from.")],
    test: Annotated[Path, typer.Option(help="JSON lines to be judged on.")],
    val: Annotated[Path | None, typer.Option(help="JSON lines to stop training by; default: a part of train.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a task whose official splits are files that stay where they are.

    Example:

        pp task import banking77 --schema schema.json --train train.jsonl --test test.jsonl
    """
    from pp_assets.task.scaffold import import_task

    _written(Output(as_json), name, import_task(name, Settings.from_env().tasks, schema, train, test, val))


@app.command()
def schema(as_json: JsonFlag = False) -> None:  # noqa: ARG001
    """Print the JSON Schema of a task file, for editors (it is JSON with or without --json).

    Example:

        pp task schema > task.schema.json
    """
    from pp_assets.task.spec import spec_json_schema

    Output(True).result(spec_json_schema())


def _written(out: Output, name: str, folder: Path) -> None:
    if not out.result({"task": name, "folder": str(folder)}):
        line(f"wrote {folder}")
        line(f"next: edit it, then pp task check {name}")


def _show_summary(summary: dict[str, Any]) -> None:
    if summary:
        rows = summary["rows"]
        line(f"rows: {rows['kept']} kept of {rows['read']}; train {rows['train']}, val {rows['val']}, test {rows['test']}")
        line(f"groups: {summary['groups']['count']}; quarantine: {summary['quarantine']['lines']} lines")
