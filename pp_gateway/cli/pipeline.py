"""`pp pipeline`: the pipelines of the catalogue, what each is for, what a run would cost, and running them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.pipelines.entry import Entry, Estimate
    from pp_resources.artifacts import Artifact

app = typer.Typer(help="Run the pipelines of the catalogue, each by its id, and see what they found.", no_args_is_help=True)
UNKNOWN = "not known yet"
STOPPED = 1
SHOWN = ("quality", "speed", "cost", "features", "rank", "effects", "failures", "order")  # steps whose table is the result

Id = Annotated[str, typer.Argument(metavar="ID", help="Of a pipeline, as 'pp pipeline list' tells them.")]
Task = Annotated[str, typer.Option("--task", "-t", help="Name of a task, or the path of its folder.")]
Settings_ = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option; of one with several values, once for each.")
]


@app.command("list")
def listing(
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="Also tell what runs on this task would cost, and the last ones.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the pipelines: purpose, complexity, inputs; with --task a cost estimate and when each last ran.

    Nothing is asked or computed for an estimate: it comes from kept answers, earlier trainings and earlier runs.

    Examples:

        pp pipeline list

        pp pipeline list --task support-triage --json
    """
    from pp_assets.pipelines.catalogue import ENTRIES

    out = Output(as_json)
    p, name = _place(task) if task is not None else (None, None)
    found = [_told(one) | (_on_task(p, one, name) if p and name else {}) for one in ENTRIES]
    if out.result({"task": name, "pipelines": found}):
        return
    if not name:
        table(("pipeline", "complexity", "purpose"), [(one["id"], one["complexity"], one["purpose"]) for one in found], whole=("pipeline",))
        line("what a run would cost: pp pipeline list --task TASK; options: pp pipeline show ID")
        return
    head = ("pipeline", "new model calls", "tokens", "seconds", "last run", "outcome")
    table(head, [_task_row(one) for one in found], right=head[1:4], whole=("pipeline", "last run"))
    for one in found:
        if one["missing"]:
            line(f"{one['id']}: {one['missing']}")


@app.command()
def show(
    pipeline: Id,
    task: Annotated[str | None, typer.Option("--task", "-t", help="Also tell what a run on this task would cost.")] = None,
    options: Settings_ = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one pipeline: purpose, inputs, steps, options with their defaults; with --task the estimate of a run with these options.

    Example:

        pp pipeline show fine-tuning-orchestration --task support-triage --set trials=10
    """
    from pp_assets.pipelines.catalogue import entry

    one, out = entry(pipeline), Output(as_json)
    read = one.read_words(options or [])
    p, name = _place(task) if task is not None else (None, None)
    told = _told(one) | (_on_task(p, one, name, read) if p and name else {})
    if out.result(told):
        return
    line(f"{one.id} ({one.complexity}): {one.purpose}")
    line(f"needs    {'; '.join(one.inputs)}")
    line(f"steps    {', '.join(one.steps)}")
    line(f"job      {one.job}")
    table(("option", "default", "what it is"), [(o["name"], _plain(o["default"]), o["description"]) for o in told["options"]])
    if name:
        line(f"a run on {name}: {_estimate(told)}")
        for said in told["estimate"]["basis"]:
            line(f"  {said}")


@app.command()
def run(pipeline: Id, task: Task, options: Settings_ = None, as_json: JsonFlag = False) -> None:
    """Run a pipeline on a task, as a Dagster run. It ends in a report, whatever it found; what was made before is not made again.

    The exit code is 1 where a pipeline that watches for something bad has found it (model-evaluation-regression).

    Examples:

        pp pipeline run fine-tuning-evaluation --task support-triage --set variant=encoder-lora

        pp pipeline run model-comparison-cross-provider -t support-triage --set models=encoder-lora --set models=provider --json
    """
    from pp_assets.pipelines.catalogue import entry

    one, out = entry(pipeline), Output(as_json)
    given = one.read_words(options or []).model_dump(mode="json", exclude_unset=True)
    perform(one, task, given, out)


def perform(one: "Entry", task: str, given: Mapping[str, Any], out: Output) -> None:
    """Run a pipeline and show how it ended; options are JSON values."""
    from pp_assets.pipeline import read_json
    from pp_assets.pipelines.runs import DOCUMENT

    settings, name = settle(task)
    with running(settings) as (runner, log):
        log.terminal.now(one.id)
        made = runner.catalogued(one.id, name, given)
    told = read_json(made.file(DOCUMENT))
    if not out.result({**told, "path": str(made.path)}):
        show_run(told, made)
    if one.alarms and told["kind"] == "stop":
        raise typer.Exit(STOPPED)


def show_run(told: Mapping[str, Any], made: "Artifact") -> None:
    """How a run ended, its steps, the tables that are its result, and where its report is."""
    from pp_assets.pipelines.pages import STEP_HEAD, facts, step_rows
    from pp_assets.pipelines.runs import PAGE

    line(f"{told['task']}: {told['pipeline']}: {told['outcome']}")
    for reason in told["reasons"]:
        line(f"  {reason}")
    table(STEP_HEAD, step_rows(told), right=STEP_HEAD[1:3], whole=STEP_HEAD[:1])
    for step in told["steps"]:
        for one in step["tables"][:1]:
            if step["name"] in SHOWN:
                table(one["head"], one["rows"], whole=one["head"][:2])
    line(facts(told))
    line(f"report   {made.file(PAGE)}")


def _place(task: str) -> "tuple[Pipeline, str]":
    from pp_assets.pipeline import Pipeline

    settings, name = settle(task)
    return Pipeline(settings), name


def _told(one: "Entry") -> dict[str, Any]:
    """A pipeline as plain values."""
    fields = one.options.model_json_schema().get("properties", {})
    defaults = one.options().model_dump(mode="json")
    options = [{"name": name, "default": defaults[name], "description": about.get("description", "")} for name, about in fields.items()]
    told = {"id": one.id, "purpose": one.purpose, "category": one.category, "complexity": one.complexity, "job": one.job}
    return told | {"inputs": list(one.inputs), "steps": list(one.steps), "options": options}


def _on_task(p: "Pipeline", one: "Entry", name: str, options: Any = None) -> dict[str, Any]:
    """The estimate of a run on a task, what it lacks, and the last run."""
    from pp_assets.pipelines.entry import Estimate
    from pp_assets.pipelines.runs import PAGE, last_run

    missing = ""
    try:
        estimate = one.estimate(p, name, options or one.options())
    except UserError as error:
        estimate, missing = Estimate(basis=(str(error),)), str(error)
    before = last_run(p, name, one.id)
    last = {key: before.metadata[key] for key in ("at", "kind", "outcome")} | {"report": str(before.file(PAGE))} if before else None
    return {"estimate": _values(estimate), "missing": missing, "last": last}


def _values(estimate: "Estimate") -> dict[str, Any]:
    return {"calls": estimate.calls, "tokens": estimate.tokens, "seconds": estimate.seconds, "basis": list(estimate.basis)}


def _task_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    last = one["last"]
    numbers = (_number(one["estimate"][key]) for key in ("calls", "tokens", "seconds"))
    return (one["id"], *numbers, *((last["at"], last["outcome"]) if last else ("never", "")))


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _estimate(told: Mapping[str, Any]) -> str:
    found = told["estimate"]
    return f"{_number(found['calls'])} new model calls, {_number(found['tokens'])} tokens, {_number(found['seconds'])} seconds"


def _plain(value: Any) -> str:
    if value is None or value == []:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value).lower()
