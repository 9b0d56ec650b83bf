"""`pp dicl`: the worked examples of a task, how they grow, and how people have the last word on them."""

import getpass
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.prompts.dicl.shelf import Shelf
    from pp_resources.store.examples import Stored

app = typer.Typer(help="Worked examples that are chosen for each input: grow, browse, take out, put back.", no_args_is_help=True)
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of examples, or how they begin.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the change.")]
STATES = ("active", "removed", "all")


@app.command()
def grow(
    task: TaskArgument,
    per_label: Annotated[int | None, typer.Option(min=1, help="At most so many examples of one label; the most redundant go.")] = None,
    total: Annotated[int | None, typer.Option(min=1, help="At most so many examples in all.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Feedback that judges an answer, more being better, 0 to 1; default: rating.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make examples of the training rows, of demonstrations and of answers with good feedback, and take out what no longer holds.

    Held-out rows never become examples. What a person took out or put back stays so. Doing it again changes nothing.

    Example: pp dicl grow support-triage --per-label 50
    """
    from pp_assets.pipeline import Pipeline
    from pp_assets.prompts.dicl.candidates import RATING
    from pp_assets.prompts.dicl.stage import grow as grow_task
    from pp_gateway.cli.stages import watching

    out = Output(as_json)
    settings, name = settle(task)
    with watching("grow"):
        told = grow_task(Pipeline(settings), name, per_label=per_label, total=total, metrics=tuple(metric or [RATING]))
    if out.result(told):
        return
    origins = ", ".join(f"{count} of {origin}s" for origin, count in told["by_origin"].items()) or "none"
    line(f"{name}: {told['active']} examples ({origins}) of {told['candidates']} candidates")
    line(f"{told['added']} new, {told['back']} back, {told['taken_out']} taken out, {told['refused']} refused")
    for reason, count in told["reasons"].items():
        line(f"  {count:>6}  {reason}")


@app.command("list")
def list_(
    task: TaskArgument,
    state: Annotated[str, typer.Option(help="active, removed or all.")] = "active",
    label: Annotated[str | None, typer.Option(help="Only those of this label.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List examples, the newest first: where each came from, and for those that are none why not.

    Example: pp dicl list support-triage --state removed
    """
    out = Output(as_json)
    if state not in STATES:
        from pp_resources.errors import nearest

        raise UserError(f"unknown state {state!r}", where="--state", how=nearest(state, STATES))
    name, shelf = _shelf(task)
    every = shelf.all(None if state == "all" else state)
    found = sorted((one for one in every if label is None or one.label == label), key=lambda one: (-one.at, one.id))
    if out.result({"task": name, "examples": len(found), "shown": [_plain(one) for one in found[:limit]]}):
        return
    if not found:
        line(f"no {'' if state == 'all' else f'{state} '}examples of {name}")
        return
    rows = [(one.id[:8], one.state, one.origin, one.label, one.input[:60], one.reason) for one in found[:limit]]
    table(("id", "state", "from", "label", "input", "because"), rows, whole=("id",))
    if len(found) > limit:
        line(f"{len(found) - limit} more; see --limit")


@app.command()
def show(task: TaskArgument, id: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonFlag = False) -> None:
    """Show one example: input, output, where it came from, its score, and every change with who made it and why.

    Example: pp dicl show support-triage 3fa91c02
    """
    from pp_resources.store.ids import iso

    out = Output(as_json)
    _, shelf = _shelf(task)
    one = shelf.find(id)
    history = [{key: change[key] for key in ("at", "state", "reason", "who")} for change in shelf.history(one.id)]
    history = [change | {"at": iso(change["at"])} for change in history]
    told = _plain(one) | {"parents": list(one.parents), "encoder": one.encoder, "history": history}
    if out.result(told):
        return
    for name in ("id", "state", "label", "origin", "parents", "score", "at", "input"):
        line(f"{name:<8} {', '.join(told[name]) if name == 'parents' else told[name]}")
    line(f"output   {one.output}")
    table(("at", "state", "who", "because"), [(c["at"][:19], c["state"], c["who"], c["reason"]) for c in history])


@app.command()
def remove(task: TaskArgument, ids: Ids, reason: Reason = "", as_json: JsonFlag = False) -> None:
    """Take examples out: at once for whoever chooses from them, and for good, until somebody puts them back.

    Example: pp dicl remove support-triage 3fa91c02 --reason "the policy has changed"
    """
    _change(task, ids, "removed", reason, as_json)


@app.command()
def restore(task: TaskArgument, ids: Ids, reason: Reason = "", as_json: JsonFlag = False) -> None:
    """Put examples back that were taken out or refused; held-out rows are not.

    Example: pp dicl restore support-triage 3fa91c02
    """
    _change(task, ids, "active", reason, as_json)


@app.command()
def rollback(
    task: TaskArgument,
    to: Annotated[str, typer.Option(metavar="TIME", help="ISO 8601, UTC without a zone.")],
    reason: Reason = "",
    as_json: JsonFlag = False,
) -> None:
    """Bring the examples back to how they were at a time. What came later is kept, taken out, and stays out.

    Example: pp dicl rollback support-triage --to 2026-11-01T09:30
    """
    from pp_assets.feedback.inputs import moment
    from pp_resources.store.ids import iso, micros

    out = Output(as_json)
    name, shelf = _shelf(task)
    at = micros(moment(to, "--to"))
    changes = shelf.roll_back(at, reason=reason or f"rolled back to {iso(at)}", who=_who())
    back = sum(change.state == "active" for change in changes)
    if not out.result({"task": name, "to": iso(at), "back": back, "taken_out": len(changes) - back}):
        line(f"{name}: {back} examples back, {len(changes) - back} taken out; as they were at {iso(at)}")


def _change(task: str, ids: list[str], state: str, reason: str, as_json: bool) -> None:
    out = Output(as_json)
    name, shelf = _shelf(task)
    changed = shelf.change(ids, state, reason=reason, who=_who())
    if not out.result({"task": name, "state": state, "changed": changed}):
        line(f"{name}: {len(changed)} of {len(set(ids))} examples {'put back' if state == 'active' else 'taken out'}")


def _shelf(task: str) -> "tuple[str, Shelf]":
    from pp_assets.prompts.dicl.shelf import Shelf
    from pp_resources.store.opened import open_store

    settings, name = settle(task)
    return name, Shelf(open_store(settings.home, settings.store_url), name)


def _plain(one: "Stored") -> dict[str, Any]:
    from pp_resources.store.ids import iso

    kept = {key: getattr(one, key) for key in ("id", "state", "origin", "label", "score", "input", "reason", "who")}
    return kept | {"at": iso(one.at), "output": _value(one.output)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _who() -> str:
    """Who types; never the name that growth has."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
