"""`pp jobs`: what was asked of the gateway, and what becomes of it. Read from the store, so that no gateway need run."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.tasks import store_here
from pp_resources.errors import UserError
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_resources.store.opened import Store

LOOK = 0.5  # seconds between two looks for news
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of a job, or how it begins or ends.")]
app = typer.Typer(help="Jobs that were asked of the gateway: see them, follow them, end them.", no_args_is_help=True)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as tune.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state, such as running; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List jobs, the newest first.

    Example: pp jobs list --state running --state queued
    """
    from pp_assets.flows.catalogue import KINDS
    from pp_gateway.jobs.records import STATES, describe
    from pp_resources.errors import nearest
    from pp_resources.store.read_work import list_jobs

    for given, known, option in ((state or [], STATES, "--state"), ([kind] if kind else [], KINDS, "--kind")):
        for one in given:
            if one not in known:
                raise UserError(f"unknown {one!r}", where=option, how=nearest(one, known))
    out, store = Output(as_json), store_here()
    rows = list_jobs(store, limit, states=state or None, kind=kind, payload=False) if store.exists else []
    found = describe(store, rows) if rows else []
    if out.result(found):
        return
    if not found:
        line("no jobs")
        return
    cells = [(one["id"], one["kind"], one["task"] or "", one["state"], _share(one), _eta(one), one["created"][:16]) for one in found]
    table(("id", "kind", "task", "state", "done", "left", "asked for"), cells, right=("done", "left"), whole=("id",))


@app.command()
def show(id: IdArgument, as_json: JsonFlag = False) -> None:
    """Show a job: state, progress, what it has spent, its result or what went wrong.

    Example: pp jobs show 01a20338
    """
    from pp_gateway.jobs.records import log_of

    out, store = Output(as_json), store_here()
    found = _find(store, id)
    found["log"] = str(log_of(Settings.from_env().home, found["id"]))
    if out.result(found):
        return
    line(f"{found['id']}  {found['kind']} {found['task'] or ''}: {found['state']}")
    for part in (found["progress"] or {}).get("parts", ()):
        line(f"  {part['title']}: {part['done']} of {part['total']} {part['detail']}")
    if found["eta_s"] is not None:
        line(f"  {_eta(found)} left, by {found['eta_from']}")
    spend = found["spend"]
    cost = "unpriced" if spend["cost"] is None else f"{spend['cost']:.4f} US dollars"
    line(f"  spent    {spend['requests']} requests, {spend['tokens_in']} tokens in, {spend['tokens_out']} out, {cost}")
    if found["error"]:
        line(f"  failed   {'; '.join(filter(None, found['error'].values()))}")
    for name, value in (found["result"] or {}).items():
        line(f"  {name:<8} {str(value)[:200]}")
    line(f"  log      {found['log']}")


@app.command()
def cancel(id: IdArgument, as_json: JsonFlag = False) -> None:
    """End a job. What it has made stays; one that had ended stays as it is.

    Example: pp jobs cancel 01a20338
    """
    from pp_gateway.jobs.records import ask_to_cancel

    store = store_here()
    found = _find(store, id)
    state = ask_to_cancel(store, Settings.from_env().home, found["id"], "command line")
    if not Output(as_json).result({"id": found["id"], "state": state}):
        line(f"{found['id']}: {state}")


@app.command()
def follow(
    id: IdArgument,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    data: Annotated[bool, typer.Option("--data", help="The rows that it makes, instead of what it tells.")] = False,
    as_json: JsonFlag = False,
) -> int:
    """Print what a job tells until it has ended, with --json or --data a JSON object a line. Ends with 1 where the job failed.

    Example: pp jobs follow 01a20338 --after 40
    """
    from pp_gateway.jobs.records import DATA, MESSAGES

    store = store_here()
    found = _find(store, id)
    ended = ""
    for event in _events(store, found["id"], after, (DATA,) if data else MESSAGES):
        if isinstance(event, str):
            ended = event
        elif data or as_json:
            _print_json({"seq": event["n"], **event["data"]} if data else _plain(event))
        else:
            line(f"{event['n']:>5}  {event['kind']:<9} {_said(event)}")
    return 1 if ended == "failed" else 0


def _events(store: "Store", id: str, after: int, kinds: tuple[str, ...]) -> Iterator[Mapping[str, Any] | str]:
    """Events as they come, and last how the job has ended."""
    from pp_resources.store.read_work import job, job_events_after
    from pp_resources.store.work import JOB_ENDS

    while True:
        row = job(store, id)
        events = job_events_after(store, id, after, kinds=kinds)
        yield from events
        after = events[-1]["n"] if events else after
        if not events and (row is None or row["state"] in JOB_ENDS):
            yield row["state"] if row else ""
            return
        if not events:
            time.sleep(LOOK)


def _find(store: "Store", id: str) -> dict[str, Any]:
    """The job that is meant. Raises UserError where none is, or more than one."""
    from pp_gateway.jobs.records import describe
    from pp_resources.store.read_work import list_jobs

    known = list_jobs(store, 1000, payload=False) if store.exists else []
    found = [row for row in known if row["id"] == id] or [row for row in known if row["id"].startswith(id) or row["id"].endswith(id)]
    if len(found) != 1:
        what = f"{len(found)} jobs" if found else "no job"
        raise UserError(f"{what} {id!r}", where="ID", how="pp jobs list shows them")
    return describe(store, found)[0]


def _plain(event: Mapping[str, Any]) -> dict[str, Any]:
    from pp_resources.store.ids import iso

    return {"seq": event["n"], "at": iso(event["at"]), "kind": event["kind"], "state": event["state"], "data": event["data"]}


def _print_json(value: Any) -> None:
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _said(event: Mapping[str, Any]) -> str:
    data = event["data"]
    if event["kind"] == "progress":
        parts = " / ".join(f"{part['title']} {part['done']} of {part['total']}" for part in data["parts"])
        left = "" if data["eta_s"] is None else f", {_seconds(data['eta_s'])} left"
        return f"{parts or '–'}{left}"
    if event["kind"] == "state":
        return str(event["state"])
    return str(data.get("text") or "; ".join(f"{name} {value}" for name, value in data.items() if value not in (None, "")))[:300]


def _share(job: Mapping[str, Any]) -> str:
    share = (job["progress"] or {}).get("share")
    return "–" if share is None else f"{share:.0%}"


def _eta(job: Mapping[str, Any]) -> str:
    return "–" if job["eta_s"] is None else _seconds(job["eta_s"])


def _seconds(seconds: float) -> str:
    return f"{number(seconds, 0)} s" if seconds < 120 else f"{number(seconds / 60, 0)} min"
