"""`pp store`: what is kept of use, out of it, and out of the way."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.tasks import store_here
from pp_resources.errors import UserError
from pp_resources.settings import Settings

if TYPE_CHECKING:
    pass

app = typer.Typer(help="Look after the store of inferences and feedback.", no_args_is_help=True)
Day = Annotated[str | None, typer.Option(metavar="DATE", help="A UTC day such as 2026-11-01.")]


@app.command()
def status(as_json: JsonFlag = False) -> None:
    """Where the store is, what is in it, and what waits in journals for it to come back.

    Example: pp store status --json
    """
    from pp_resources.store.journal import journals_of
    from pp_resources.store.overview import overview

    out = Output(as_json)
    found = overview(store_here(), journals_of(Settings.from_env().home))
    if not out.result(found):
        table(("store", ""), [(name.replace("_", " "), str(value)) for name, value in found.items()], whole=("",))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go.")],
    since: Day = None,
    until: Day = None,
    as_json: JsonFlag = False,
) -> None:
    """Write inferences and feedback as Parquet, a file a day: from --since until before --until, all days by default.

    Example: pp store export exported --since 2026-11-01
    """
    from pp_gateway.cli.stages import watching
    from pp_resources.store.export import export as write

    out = Output(as_json)
    with watching("export"):
        files = write(store_here(), folder, since=_seconds(since, "--since"), until=_seconds(until, "--until"))
    if not out.result({"files": files, "rows": sum(one["rows"] for one in files)}):
        line(f"{sum(one['rows'] for one in files)} rows in {len(files)} files under {folder}")


@app.command()
def retain(
    older_than: Annotated[float, typer.Option(metavar="DAYS", min=0, help="Delete what is older than this many days.")],
    task: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Delete old inferences with their feedback and queue items, decisions on weights before the last, ended jobs.

    Sums by time stay, and so do examples and all other decisions: promotions, roll-backs, the flywheel's turns.

    Example: pp store retain --older-than 90
    """
    from pp_gateway.cli.stages import watching
    from pp_resources.store.ids import MICRO
    from pp_resources.store.retention import retain as delete

    out = Output(as_json)
    until = time.time() - older_than * 86400
    with watching("retain"):
        report = delete(store_here(), before=int(until * MICRO), task=task)
    for file in (Settings.from_env().home / "logs" / "jobs").glob("*.log") if task is None else ():
        if file.stat().st_mtime < until:
            file.unlink()
    if not out.result(report):
        line("deleted: " + ", ".join(f"{count} {name}" for name, count in report.items()))


@app.command()
def erase(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person, as sent with inferences and feedback.")],
    as_json: JsonFlag = False,
) -> None:
    """Delete all of one person, in the store and in journals, and tell what went. Sums stay: they hold no text.

    Example: pp store erase user-4711
    """
    from pp_resources.store.journal import journals_of
    from pp_resources.store.journal_erasure import erase_from_journals
    from pp_resources.store.retention import erase as delete

    out = Output(as_json)
    report = delete(store_here(), subject)
    journals = erase_from_journals(journals_of(Settings.from_env().home), subject)
    report |= {"journal_rows": journals["rows"], "journals_held": journals["held"]}
    if not out.result(report):
        line("deleted: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.items() if name != "journals_held"))
        if journals["held"]:
            line(f"{journals['held']} journals are held by running processes: rows of this person in them are dropped at their replay")


@app.command()
def rebuild(as_json: JsonFlag = False) -> None:
    """Count all sums again from the rows and mend those that differ. Writers wait meanwhile.

    Example: pp store rebuild
    """
    from pp_gateway.cli.stages import watching
    from pp_resources.store.rebuild import rebuild as recount

    out = Output(as_json)
    with watching("rebuild"):
        report = recount(store_here())
    if not out.result(report):
        line(
            f"{report['inferences']} inferences, {report['feedback']} feedback: {report['buckets']} buckets, {report['differed']} differed"
        )


def _seconds(day: str | None, where: str) -> int | None:
    try:
        return None if day is None else int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise UserError(f"{day!r} is no day", where=where, how="write it such as 2026-11-01") from error
