"""`pp queue`: answers that the gateway handed to people, worked in a terminal. The page /queue of the gateway does the same."""

import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line, number, table
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_gateway.cli.queue_work import Worker

app = typer.Typer(help="Answers that people should look at: take one, answer it, and the model learns from it.", no_args_is_help=True)
ItemArgument = Annotated[str, typer.Argument(metavar="ITEM", help="Id of an item.")]
By = Annotated[str | None, typer.Option(help="Who works. Default: the name that you are logged in under.")]
KEYS = "[a]nswer is right  [e]dit it  [s]kip, it needs none  [g]ive it back  [u]ndo the last one  [q]uit"


def _worker(task: str, by: str | None) -> "Worker":
    from pp_gateway.cli.queue_work import Worker

    settings, name = settle(task)
    return Worker.of(settings, name, by or getpass.getuser())


@app.command("list")
def list_(
    task: TaskArgument,
    state: Annotated[str, typer.Option(help="open, claimed, answered or dismissed.")] = "open",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List items: what waits in the order in which it is taken, what has ended the latest first.

    Example: pp queue list support-triage --state answered
    """
    from pp_assets.serving.desk import as_plain
    from pp_assets.serving.desk_measures import measures
    from pp_resources.errors import nearest
    from pp_resources.store.read_queue import STATES, list_work

    out = Output(as_json)
    if state not in STATES:
        raise UserError(f"unknown state {state!r}", where="--state", how=nearest(state, STATES))
    worker = _worker(task, None)
    store = worker.desk.store
    items = [as_plain(item) for item in list_work(store, [worker.name], state=state, limit=limit)] if store.exists else []
    told = measures(store, worker.name)
    if out.result({"task": worker.name, "items": items, "measures": told}):
        return
    said = [(one["id"], one["at"][:16], one["reason"], number(one["confidence"]), one["by"] or "", one["input"][:70]) for one in items]
    table(("item", "at", "reason", "confidence", "by", "input"), said, whole=("item",))
    agreement = told["agreement"]
    agree = f", agreement with the model {interval(agreement['rate'], agreement['low'], agreement['high'])} of {agreement['n']}"
    line(f"{worker.name}: {told['open']} wait, {told['claimed']} in work, {told['answered_today']} answered today{agree}")


@app.command()
def show(task: TaskArgument, item: ItemArgument, as_json: JsonFlag = False) -> None:
    """Show one item: what was asked, what the model said, why a person should look.

    Example: pp queue show support-triage 019e…
    """
    from pp_assets.serving.desk import as_plain

    found = _worker(task, None).look(item)
    if not Output(as_json).result(as_plain(found)):
        _show(as_plain(found))


@app.command("next")
def next_(task: TaskArgument, by: By = None, as_json: JsonFlag = False) -> None:
    """Work the queue with one key for each item. Without a terminal, or with --json: take one item and print it.

    Example: pp queue next support-triage
    """
    from pp_assets.serving.desk import as_plain

    out, worker = Output(as_json), _worker(task, by)
    if sys.stdin.isatty() and not as_json:
        _by_keys(worker)
        return
    found = worker.next()
    if not out.result({"item": found and as_plain(found)}):
        line(f"{worker.name}: nothing waits") if found is None else _show(as_plain(found))


@app.command()
def claim(task: TaskArgument, item: ItemArgument, by: By = None, as_json: JsonFlag = False) -> None:
    """Take one item, or keep it longer. Nobody else can answer it until your time is over.

    Example: pp queue claim support-triage 019e… --by ada
    """
    _changed(_worker(task, by), "claim", item, as_json)


@app.command()
def release(task: TaskArgument, item: ItemArgument, by: By = None, as_json: JsonFlag = False) -> None:
    """Give an item back.

    Example: pp queue release support-triage 019e…
    """
    _changed(_worker(task, by), "release", item, as_json)


@app.command()
def skip(task: TaskArgument, item: ItemArgument, by: By = None, as_json: JsonFlag = False) -> None:
    """Say that an item needs no answer.

    Example: pp queue skip support-triage 019e…
    """
    _changed(_worker(task, by), "skip", item, as_json)


@app.command()
def undo(task: TaskArgument, item: ItemArgument, by: By = None, as_json: JsonFlag = False) -> None:
    """Take back what you answered or skipped a short while ago: the demonstration is gone, and the item is yours again.

    Example: pp queue undo support-triage 019e…
    """
    _changed(_worker(task, by), "undo", item, as_json)


@app.command()
def answer(
    task: TaskArgument,
    item: ItemArgument,
    output: Annotated[str | None, typer.Option(help="The right output as JSON.")] = None,
    right: Annotated[bool, typer.Option("--right", help="What the model said is right.")] = False,
    by: By = None,
    as_json: JsonFlag = False,
) -> None:
    """Answer an item: a demonstration, from which the model learns.

    Example: pp queue answer support-triage 019e… --right
    """
    from pp_gateway.cli.feedback import parsed_json

    if (output is None) != right:
        raise UserError("give --output or --right", where="command line", how="one of them, not both")
    worker = _worker(task, by)
    value = worker.said(item) if right else parsed_json(str(output), "--output")
    _changed(worker, "answer", item, as_json, value)


@app.command()
def fit(
    task: TaskArgument,
    target: Annotated[float, typer.Option(min=0.5, max=0.999, help="How many of the answers that go out must be right.")] = 0.95,
    delta: Annotated[float, typer.Option(min=0.001, max=0.5, help="Chance of being wrong about that.")] = 0.05,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="A served variant. Default: the champion.")] = None,
    to: Annotated[Path | None, typer.Option(help="Write all that was tried to this file, as JSON.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find the confidence below which answers should go to people, on the validation rows. Where none is proven it says so.

    Example: pp queue fit support-triage --target 0.95
    """
    from pp_assets.serving.thresholds import fit_handoff
    from pp_gateway.cli.stages import watching
    from pp_gateway.serve.asking import hear
    from pp_resources.artifacts import write_atomic

    settings, name = settle(task)
    with watching("fit"):
        heard = hear(settings, name, [variant or ""])
    (wanted,), (said,) = heard.names, heard.said
    found = fit_handoff(heard.task, heard.rows, said, target=target, delta=delta)
    told = {"task": name, "variant": wanted, **found.plain()}
    if to is not None:
        write_atomic(to, json.dumps(told, indent=1) + "\n")
    if Output(as_json).result(told):
        return
    line(f"{name}/{wanted}: {found.reason}")
    line(f"  all answers right  {interval(found.alone.value, found.alone.low, found.alone.high)} of {found.alone.n}")
    if found.precision is not None:
        line(f"  those that go out  {interval(found.precision.value, found.precision.low, found.precision.high)} of {found.precision.n}")
        line(f"in task.yaml:  serving: {{handoff: {{confidence: {found.threshold:.6g}}}}}")


def _changed(worker: "Worker", what: str, item: str, as_json: bool, *given: Any) -> None:
    from pp_assets.serving.desk import as_plain

    ended = as_plain(worker.change(what, item, *given))
    if not Output(as_json).result(ended):
        until = f" until {ended['until'][:16]} UTC" if ended["state"] == "claimed" and ended["until"] else ""
        line(f"{worker.name}: {item} is {ended['state']}{until}")


def _show(item: dict[str, Any]) -> None:
    line(f"{item['id']}  {item['reason']}, confidence {number(item['confidence'])}  ({item['variant']}, {item['at'][:16]})")
    line(f"  input   {item['input']}")
    line(f"  answer  {item['raw'] if item['output'] is None else json.dumps(item['output'], ensure_ascii=False)}")
    unsure = {path: sure for path, sure in item["detail"].get("fields", {}).items() if sure < item["detail"].get("threshold", 0.5)}
    if unsure:
        line("  unsure  " + ", ".join(f"{path} {number(sure)}" for path, sure in unsure.items()))


def _by_keys(worker: "Worker") -> None:
    """One key an item, until nothing is left or the person stops; what is held then is given back."""
    from pp_assets.serving.desk import as_plain

    last, passed = None, list[str]()
    while (item := worker.next(passed)) is not None:
        line()
        _show(as_plain(item))
        line(KEYS)
        done = False
        while not done:
            key = typer.getchar().lower()
            try:
                if key in ("q", "\x04"):
                    worker.change("release", item.id)
                    return
                if key == "u" and last is not None:
                    worker.change("undo", last)
                    worker.change("release", item.id)
                    last, done = None, True
                elif key in ("a", "e", "s", "g"):
                    worker.by_key(key, item)
                    passed += [item.id] if key == "g" else []
                    last, done = (last if key == "g" else item.id), True
            except UserError as error:
                line(f"{error}\n{KEYS}")
    line(f"{worker.name}: nothing waits")
