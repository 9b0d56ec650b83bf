"""`pp tune`: search the hyper-parameters of a variant, say honestly what that gained, and put them into the task where asked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line, number, p_value, signed, table
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, VariantOption, check_variants, settle

if TYPE_CHECKING:
    from pp_assets.training.search import Trial

TRIALS = 20  # where neither trials nor minutes are given
MANY = 1000  # trials where minutes alone are given

Trials = Annotated[int | None, typer.Option("--trials", min=1, max=MANY, help=f"How many trainings. Default: {TRIALS}.")]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.01, help="No new training after so many minutes of them.")]
Write = Annotated[bool, typer.Option("--write", help="Put the settings that were found into the task file.")]


def tune(
    task: TaskArgument,
    variant: VariantOption,
    trials: Trials = None,
    minutes: Minutes = None,
    write: Write = False,
    as_json: JsonFlag = False,
) -> None:
    """Search the hyper-parameters of a variant on a task's training and validation rows. Test rows are not looked at.

    The first trial is the recipe as it is. A search that was stopped goes on; the same seed and number of trials give the same trials.

    Examples:

        pp tune support-triage --variant encoder-lora --trials 30

        pp tune support-triage --variant lora-r8 --minutes 60 --write
    """
    check_variants([variant])
    out = Output(as_json)
    settings, name = settle(task)
    from pp_assets.pipeline import read_json
    from pp_assets.training.search import Budget

    budget = Budget(trials or (TRIALS if minutes is None else MANY), minutes)
    with running(settings) as (runner, log):
        runner.training_data(name)
        log.terminal.now(f"tune {name}/{variant}")
        found = runner.pipeline.tuning(name, variant, budget, lambda trial: log.terminal.say(_trial_line(trial)))
        loaded = runner.pipeline.task(name)
    said, made = dict(found.metadata), read_json(found.file("trials.json"))
    written = write and bool(said["params"])
    if written:
        from pp_assets.task.spec_edit import write_params

        write_params(loaded, variant, _params(loaded, said))
    if not out.result({"task": name, **said, "all": made, "path": str(found.path), "written": written}):
        _show(name, said, made)
        _advise(loaded, said, written)
        line(f"search   {found.path}")


def _show(name: str, said: Mapping[str, Any], trials: list[Mapping[str, Any]]) -> None:
    head = ("trial", said["metric"], "loss", "epochs", "seconds", "outcome", "parameters")
    rows = [
        (
            f"{t['number']}{' *' if t['number'] == said['best_trial'] else ''}",
            number(t["value"]),
            number(t["loss"]),
            str(t["epochs"]),
            number(t["seconds"], 1),
            "the recipe" if not t["number"] else t["outcome"],
            " ".join(f"{k}={v}" for k, v in t["params"].items()),
        )
        for t in trials
    ]
    table(head, rows, right=head[:5], whole=head[:5])
    if said["importances"]:
        line("what mattered: " + ", ".join(f"{k} {v:.2f}" for k, v in said["importances"].items()))
    line(f"{name}/{said['variant']}: best of {said['trials']} trials ({said['stopped']} stopped early, {said['seconds']:.0f} s)")


def _advise(task: Any, said: Mapping[str, Any], written: bool) -> None:
    from pp_assets.task.spec_edit import params_line

    if not said["params"]:
        line("No trial did better than the recipe as it is: there is nothing to change.")
        return
    gain = interval(said["effect"], said["low"], said["high"])
    line(
        f"Better than the recipe by {gain} {said['metric']} on {said['val_rows']} validation rows in {said['val_groups']} groups "
        f"({number(said['default_value'])} → {number(said['best_value'])}, p {p_value(said['p_value'])})."
    )
    line(
        f"The best was chosen on these rows, which flatters it; corrected for the choice: {signed(said['corrected'])} "
        f"[{number(said['corrected_low'])}, {number(said['corrected_high'])}]. No trial has seen a test row; 'pp run' tells there."
    )
    line(f"written into {task.file}:" if written else f"to use it, put into {task.file} (or add --write):")
    line(f"params:\n  {params_line(said['variant'], _params(task, said))}")


def _params(task: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, beside what the task sets outside of the search."""
    from pp_assets.tuning import outside

    return {**outside(task, said["variant"]), **said["params"]}


def _trial_line(trial: "Trial") -> str:
    params = " ".join(f"{k}={v}" for k, v in trial.params.items())
    return f"  trial {trial.number:<4} {number(trial.value)}  loss {number(trial.loss)}  {trial.seconds:7.1f} s  {trial.outcome}  {params}"
