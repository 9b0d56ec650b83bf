"""`pp run`, `pp demo`, `pp train`, `pp eval`: the jobs of Dagster in this process, so that both doors lead to equal results."""

import time
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line
from pp_gateway.cli.results import result_of, show_results
from pp_gateway.cli.side_by_side import side_by_side
from pp_gateway.cli.stages import StageLog, running, summary
from pp_gateway.cli.suite import SuiteOption, check_parts, check_suite, show_generalisation, show_suite
from pp_gateway.cli.tasks import TaskArgument, VariantOption, check_variants, settle
from pp_resources.settings import Settings

EXAMPLES = ("support-triage", "expense-notes")
Variants = Annotated[list[str] | None, typer.Option("--variant", "-v", help="A variant; may be repeated. Default: those of the task.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Another seed than the task's, kept apart from it.")]


def add_commands(app: typer.Typer) -> None:
    """Put these commands at the top level."""
    for command in (run, demo, train):
        app.command(command.__name__)(command)
    app.command("eval")(evaluate)


def run(task: TaskArgument, variant: Variants = None, seed: Seed = None, as_json: JsonFlag = False) -> None:
    """Do everything for a task: read its data, train its variants, evaluate, package, rank.

    What has not changed is not computed again. The verdict of a variant, whatever it is, is a result and not an error.

    Examples:

        pp run support-triage

        pp run support-triage --variant encoder-lora --seed 7

        pp run tasks/support-triage --json > results.json
    """
    check_variants(variant or [])
    settings, name = settle(task, seed=seed)
    _everything(settings, [name], variant or [], Output(as_json))


def demo(as_json: JsonFlag = False) -> None:
    """Run both example tasks with all their variants, side by side.

    Takes minutes the first time and seconds after that. Then look around with: pp ui

    Example: pp demo --json
    """
    began, out = time.monotonic(), Output(as_json)
    settings = Settings.from_env()
    for name in EXAMPLES:
        settle(name)
    # Small models gain little from a second thread; two tasks at once use two cores fully.
    threads = max(1, settings.threads // len(EXAMPLES))
    found = side_by_side([["run", name, "--json"] for name in EXAMPLES], threads, out)
    results = [result for one in found for result in one["results"]]
    stages = [stage for one in found for stage in one["stages"]]
    counts = {"recomputed": sum(one["recomputed"] for one in found), "unchanged": sum(one["unchanged"] for one in found)}
    if not out.result({"results": results, **counts, "stages": stages}):
        show_results(results)
        line(summary(counts["recomputed"], counts["unchanged"], time.monotonic() - began))


def train(task: TaskArgument, variant: VariantOption, seed: Seed = None, as_json: JsonFlag = False) -> None:
    """Train one variant of a task, evaluate and package it. Data stages are brought up to date first.

    Example:

        pp train support-triage --variant encoder-lora
    """
    check_variants([variant])
    out = Output(as_json)
    settings, name = settle(task, seed=seed)
    with running(settings) as (runner, log):
        runner.task_data(name)
        runner.train(name, variant)
        results = [result_of(runner.pipeline, name, variant)]
    _show(out, log, results)


def evaluate(
    task: TaskArgument,
    variant: VariantOption,
    suite: SuiteOption = None,
    curve: Annotated[bool, typer.Option("--curve", help="With --suite generalisation: train on parts of the rows too.")] = False,
    control: Annotated[bool, typer.Option("--control", help="With --suite generalisation: train on outputs of other rows too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Evaluate the adapter that is there, and package it. Fails when the data has changed since its training.

    --suite comprehensive goes on to damaged, hostile and reworded inputs, other names and nationalities, and more metrics.
    --suite generalisation compares answers to training rows with those to others; --curve adds a learning curve,
    --control a model that is taught the outputs of other rows: where it knows more than the commonest answer, there is a leak.

    Examples:

        pp eval support-triage --variant encoder-lora

        pp eval support-triage --variant encoder-lora --suite comprehensive

        pp eval support-triage --variant encoder-lora --suite generalisation --curve --control
    """
    check_variants([variant])
    check_suite(suite)
    check_parts(suite, curve=curve, control=control)
    out = Output(as_json)
    settings, name = settle(task)
    with running(settings) as (runner, log):
        runner.evaluate(name, variant)
        if suite:
            began = time.monotonic()
            log.terminal.now(suite)
            pipeline = runner.pipeline
            made = pipeline.suite(name, variant) if suite == "comprehensive" else pipeline.overfitting(name, variant, curve, control)
            log.add("suite", made, time.monotonic() - began)
            if suite == "comprehensive" and pipeline.task(name).spec.validation_rules:
                runner.evaluate(name, variant)  # the report follows what the suite says of bias
        results = [result_of(runner.pipeline, name, variant)]
    if suite:
        (show_suite if suite == "comprehensive" else show_generalisation)(out, log, made)
    else:
        _show(out, log, results)


def _everything(settings: Settings, names: list[str], variants: list[str], out: Output) -> None:
    results: list[dict[str, Any]] = []
    with running(settings) as (runner, log):
        for name in names:
            runner.everything(name, variants)
            wanted = variants or runner.pipeline.task(name).spec.variants
            results += [result_of(runner.pipeline, name, variant) for variant in wanted]
    _show(out, log, results)


def _show(out: Output, log: StageLog, results: list[dict[str, Any]]) -> None:
    if not out.result({"results": results, **log.as_dict()}):
        show_results(results)
        line(log.said())
