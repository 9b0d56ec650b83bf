"""`pp data`: a task's data, from the files that people have to rows that are clean, labelled and apart. One module per command family."""

from collections.abc import Callable

import typer

from pp_gateway.cli import data_files, data_inputs, data_leaks, data_look
from pp_gateway.cli.output import JsonFlag, Output, interval, line, table
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, settle

app = typer.Typer(help="Collect, clean, check, describe and build a task's data.", no_args_is_help=True)


def add_commands(group: typer.Typer) -> None:
    """Put the commands of this group into it."""
    group.command("build")(build)
    commands: list[Callable[..., None]] = [data_files.collect, data_files.clean, data_files.balance, data_files.validate]
    commands += [data_look.stats, data_inputs.inputs, data_look.labels, data_leaks.leaks, data_look.versions, data_look.diff]
    for command in commands:
        group.command(command.__name__)(command)


def build(task: TaskArgument, as_json: JsonFlag = False) -> None:
    """Read, check, split and enrich a task's data, and answer its test items with every baseline.

    Example:

        pp data build support-triage
    """
    from pp_assets.results import baseline_ranks

    out = Output(as_json)
    settings, name = settle(task)
    with running(settings) as (runner, log):
        steps = {step.asset: step.artifact for step in runner.task_data(name)}
        found = {asset: dict(artifact.metadata) for asset, artifact in steps.items()}
        found["baselines"] |= baseline_ranks(runner.pipeline, name, steps["baselines"])
    if not out.result({"task": name, "data": found, **log.as_dict()}):
        seeds, base = found["seeds"], found["baselines"]
        line(f"{name}: {seeds['kept']} rows kept of {seeds['read']}, {seeds['quarantined']} in quarantine; ", end="")
        line(f"train {seeds['train']}, val {seeds['val']}, test {seeds['test']} in {seeds['groups']} groups")
        for warning in seeds["warnings"]:
            line(f"warning: {warning}")
        rows = [(row["baseline"], interval(row["value"], row["low"], row["high"]), row["what"]) for row in base["table"]]
        table(("baseline", base["metric"], "what it is"), rows)
        line(log.said())


add_commands(app)
