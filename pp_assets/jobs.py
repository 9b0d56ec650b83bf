"""Jobs: one per partition shape, since assets with different partitions cannot share one.

Belongs here: job definitions and the one op that is no asset. Does not belong here: what starts a job (`pp_sensors`, commands).
"""

from typing import Any

import dagster as dg

from pp_assets import names
from pp_assets.champion import TREND
from pp_assets.metadata import metadata_value, picture, pipeline_of
from pp_resources.dagster_resources import Installation

# One run is one process anyway; steps in it share its imports, and what a training holds is gone when the run ends.
_IN_PROCESS = dg.in_process_executor

task_data = dg.define_asset_job(
    names.JOB_TASK_DATA,
    selection=["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "generation_choice", "baselines"],
    executor_def=_IN_PROCESS,
    description="Read a task's data and make everything that does not depend on a variant.",
)
train_variant = dg.define_asset_job(
    names.JOB_TRAIN,
    selection=["adapter", "eval_report", "package"],
    executor_def=_IN_PROCESS,
    description="Train, evaluate and package one variant of one task.",
)
evaluate_variant = dg.define_asset_job(
    names.JOB_EVALUATE,
    selection=["eval_report", "package"],
    executor_def=_IN_PROCESS,
    description="Evaluate and package the adapter that is there.",
)
leaderboard_job = dg.define_asset_job(
    names.JOB_LEADERBOARD, selection=["leaderboard"], executor_def=_IN_PROCESS, description="Rank a task's systems."
)

monitor = dg.define_asset_job(
    names.JOB_MONITOR,
    selection=["drift", "feedback_clusters", "next_step"],
    executor_def=_IN_PROCESS,
    description="Test what a task meets in use for drift, group what people say about its answers, and decide what it needs next.",
)

grow_examples = dg.define_asset_job(
    names.JOB_EXAMPLES,
    selection=["worked_examples"],
    executor_def=_IN_PROCESS,
    description="Let a task's worked examples grow from what people said.",
)

flywheel_turn = dg.define_asset_job(
    names.JOB_FLYWHEEL,
    selection=["flywheel"],
    executor_def=_IN_PROCESS,
    description="Take the steps of a task's flywheel that are due: start a training, try a candidate, promote it, roll back.",
)


class Challenger(dg.Config):
    """The variant to test against the champion."""

    task: str
    variant: str


@dg.op(out=dg.Out(dg.Nothing))
def test_against_champion(context: dg.OpExecutionContext, config: Challenger, installation: Installation) -> None:
    made = pipeline_of(installation).regression(config.task, config.variant)
    said = made.metadata
    context.log.info(f"{config.task}/{config.variant}: {said['outcome']}: {said['reason']}")
    values = {name: value for name, value in said.items() if value is not None} | {"task": config.task, "variant": config.variant}
    if made.file(TREND).exists():
        values["trend"] = picture(made.file(TREND))
    context.log_event(dg.AssetObservation("adapter", partition=f"{config.task}|{config.variant}", metadata=values))
    if said["outcome"] == "FAIL":
        raise dg.Failure(
            f"{config.task}/{config.variant} is worse than the champion: {said['reason']}", metadata=values, allow_retries=False
        )


@dg.job(
    name=names.JOB_REGRESSION,
    executor_def=_IN_PROCESS,
    description="Test a new adapter against the champion. With the verdict SHIP it takes the place, or goes on trial (flywheel).",
)
def regression_test() -> None:
    test_against_champion()


class Tuning(dg.Config):
    """What to search and how long. The task's data stages must be up to date."""

    task: str
    variant: str
    trials: int = 20
    minutes: float | None = None


@dg.op(out=dg.Out(dg.Nothing), pool=names.POOL_TRAINING)
def search(context: dg.OpExecutionContext, config: Tuning, installation: Installation) -> None:
    from pp_assets.training.search import Budget

    budget = Budget(config.trials, config.minutes)
    made = pipeline_of(installation).tuning(config.task, config.variant, budget, lambda trial: context.log.info(str(trial)))
    values = {name: value for name, value in made.metadata.items() if value is not None} | {"path": str(made.path)}
    context.log_event(dg.AssetObservation("adapter", partition=f"{config.task}|{config.variant}", metadata=values))


@dg.job(
    name=names.JOB_TUNE,
    executor_def=_IN_PROCESS,
    description="Search a variant's hyper-parameters on training and validation rows. What it finds is put into the task by a person.",
)
def tune() -> None:
    search()


class PromptSearch(dg.Config):
    """What to search a prompt for, how long, and what a released one may take (`pp_assets.prompts.optimising.Wanted`). The task's data
    stages must be up to date."""

    task: str
    target: str = "base"
    writer: str | None = None
    strategy: str = "halving"
    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None
    seed: int | None = None
    until: str | None = None
    max_tokens: float | None = None
    max_latency_ms: float | None = None
    max_invalid: float | None = None


@dg.op(out=dg.Out(dg.Nothing))
def search_prompt(context: dg.OpExecutionContext, config: PromptSearch, installation: Installation) -> None:
    from pp_assets.prompts.optimising import Wanted, check_wanted

    pipeline, wanted = pipeline_of(installation), Wanted.of(config.model_dump(exclude={"task"}))
    check_wanted(pipeline, config.task, wanted)
    made = pipeline.prompt(config.task, wanted, lambda event: context.log.info(str(event)))
    values = {name: metadata_value(value) for name, value in made.metadata.items() if value is not None} | {"path": str(made.path)}
    context.log_event(dg.AssetObservation("prompt", partition=config.task, metadata=values))


@dg.job(
    name=names.JOB_TUNE_PROMPT,
    executor_def=_IN_PROCESS,
    description="Search a prompt, and test the one that was chosen on test rows. What it finds is put into the task by a person.",
)
def tune_prompt() -> None:
    search_prompt()


class Asked(dg.Config):
    """A job of the gateway, by its id in the store."""

    job: str
    kind: str


@dg.op(out=dg.Out(dg.Nothing))
def do(context: dg.OpExecutionContext, config: Asked) -> None:
    from pp_assets.flows.work import perform

    context.log.info(f"{config.kind}: job {config.job}")
    perform(config.job)


@dg.job(
    name=names.JOB_ASKED,
    executor_def=_IN_PROCESS,
    description="What somebody asked the gateway for; the id of the run is that of the job. Started by the gateway alone.",
)
def asked_for() -> None:
    do()


JOBS: list[Any] = [
    task_data,
    train_variant,
    evaluate_variant,
    leaderboard_job,
    monitor,
    grow_examples,
    flywheel_turn,
    regression_test,
    tune,
    tune_prompt,
    asked_for,
]
