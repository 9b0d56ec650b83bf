"""`pp workflow`: steps in a YAML file that ask models, run statistics and hand their outputs on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.workflows.problems import BadWorkflow

BAD_INPUT = 2
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A workflow, such as examples/workflows/ab_test.yaml.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A variable; may be repeated. @FILE: its text.")]
VarsOption = Annotated[
    Path | None, typer.Option("--vars", help="YAML or JSON with variables. Default: NAME.vars.yaml beside the workflow.")
]
app = typer.Typer(help="Workflows: steps in a file that ask models and hand their outputs on.", no_args_is_help=True)


@app.command()
def run(
    file: FileArgument,
    sets: SetOption = None,
    vars: VarsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run of this file, with its variables.")] = False,
    as_json: JsonFlag = False,
) -> int:
    """Run a workflow. A step whose inputs have not changed since it was done is not asked for again.

    --resume takes the variables of the last run of this file that did not end well, and keeps its steps also where checkpoints are off.

    Examples:

        pp workflow run examples/workflows/prompt_optimization.yaml --set task_type=triage

        pp workflow run examples/workflows/ab_test.yaml --vars my.yaml
    """
    from pp_assets.workflows.problems import BadWorkflow
    from pp_assets.workflows.start import start
    from pp_gateway.cli.stages import logged

    out, settings = Output(as_json), Settings.from_env()
    try:
        with logged(settings) as log:
            told = start(settings, file, sets or [], vars, resume=resume, on_begin=log.terminal.now, on_done=log.add)
    except BadWorkflow as error:
        return _bad(out, error)
    if not out.result(told):
        _show(told)
        line(log.said())
    return 0


@app.command()
def check(file: FileArgument, sets: SetOption = None, vars: VarsOption = None, as_json: JsonFlag = False) -> int:
    """Tell everything that is wrong with a workflow, each with its line, and what it would do. Nothing is asked.

    Example: pp workflow check examples/workflows/ab_test.yaml
    """
    from pp_assets.workflows.problems import BadWorkflow
    from pp_assets.workflows.start import checked

    out = Output(as_json)
    try:
        _, _, plan, _ = checked(Settings.from_env(), file, sets or [], vars)
    except BadWorkflow as error:
        return _bad(out, error)
    rows = [(one.name, one.step.type, one.mode, one.model or "none", ", ".join(one.reads) or "–") for one in plan]
    if not out.result({"problems": [], "steps": [dict(zip(("name", "type", "mode", "model", "reads"), row)) for row in rows]}):
        table(("step", "type", "mode", "model", "reads"), rows)
        line(f"{file}: nothing is wrong")
    return 0


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or how it begins or ends.")], as_json: JsonFlag = False
) -> None:
    """Show a run: its steps, models, tokens, cost, and where outputs and report are.

    Example: pp workflow show 988cdf6c
    """
    from pp_assets.workflows.report import summary
    from pp_assets.workflows.runs import find_run

    told = summary(find_run(Settings.from_env(), run).told())
    if not Output(as_json).result(told):
        _show(told)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List the runs of workflows, the newest first.

    Example: pp workflow list --json
    """
    from pp_assets.workflows.runs import all_runs

    found = [run.told() for run in all_runs(Settings.from_env())]
    if Output(as_json).result([{key: one[key] for key in ("id", "workflow", "file", "state", "began")} for one in found]):
        return
    if not found:
        line("no runs")
        return
    rows = [(one["id"], one["workflow"], one["state"], str(len(one["steps"])), one["began"][:16]) for one in found]
    table(("run", "workflow", "state", "steps", "begun"), rows, right=("steps",), whole=("run",))


def _bad(out: Output, error: "BadWorkflow") -> int:
    """All problems, each on a line of standard error."""
    found = [{"file": str(one.file), "line": one.line, "what": one.what, "how": one.how} for one in error.problems]
    out.result({"problems": found})
    for one in error.problems:
        out.say(f"pp: {' '.join(str(one).split())}")
    return BAD_INPUT


def _show(told: Mapping[str, Any]) -> None:
    from pp_assets.workflows.report import HEAD, cost, step_cells

    line(f"{told['workflow']}: {told['state']}  run {told['id']}")
    table(HEAD, [step_cells(name, one) for name, one in told["steps"].items()], right=HEAD[3:9])
    totals = told["totals"]
    line(f"asked    {totals['asked']} answers, {totals['tokens_in']} tokens in, {totals['tokens_out']} out, cost {cost(totals['cost'])}")
    for name, one in told["steps"].items():
        if one.get("output_file"):
            line(f"file     {one['output_file']}  ({name})")
    line(f"report   {told['folder']}/report.md")
