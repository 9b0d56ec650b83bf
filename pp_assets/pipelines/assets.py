"""A Dagster job for each pipeline of the catalogue, in one generated list.

Each has one op that calls the very function that `pp pipeline run` calls. Ops of their own for the steps would gain nothing: what a step
made is an artifact or a cell, so a run that is started again goes on where the last one stopped. Steps are seen in the log of the run.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from pp_assets import names
from pp_assets.metadata import metadata_value, pipeline_of
from pp_assets.partitions import key_of
from pp_assets.pipeline import ASSET_OF
from pp_assets.pipelines.catalogue import ENTRIES
from pp_assets.pipelines.entry import Entry
from pp_assets.pipelines.report import Step
from pp_assets.pipelines.runs import PAGE, perform
from pp_resources.dagster_resources import Installation
from pp_resources.progress import watched_by


class Asked(dg.Config):
    """The task, and options by name as `pp pipeline show` lists them; the others have their defaults."""

    task: str
    options: dict[str, Any] = Field(default_factory=dict)


def job_of(entry: Entry) -> Any:
    """The job of one pipeline. What its run found is on the op; what it made of a task's assets is a materialisation of these."""

    @dg.op(name=f"run_{entry.job}", out=dg.Out(dg.Nothing), pool=names.POOL_TRAINING if entry.trains else None)
    def run(context: dg.OpExecutionContext, config: Asked, installation: Installation) -> None:
        def heard(title: str, done: int, total: int, detail: str) -> None:
            context.log.info(f"{title}: {done} of {total} {detail}".rstrip())

        with watched_by(heard):
            made, found = perform(pipeline_of(installation), entry, config.task, entry.read(config.options))
        for step in found.steps:
            _tell(context, step)
        values = {name: metadata_value(value) for name, value in made.metadata.items()}
        page = dg.MetadataValue.path(str(made.file(PAGE)))
        context.add_output_metadata({**values, "report": page})
        if entry.alarms and found.kind == "stop":
            raise dg.Failure(f"{config.task}: {entry.id}: {found.outcome}", metadata={"report": page}, allow_retries=False)

    @dg.job(name=entry.job, description=f"{entry.id}: {entry.purpose}", tags={names.TAG_PIPELINE: entry.id}, executor_def=_IN_PROCESS)
    def job() -> None:
        run()

    return job


def _tell(context: dg.OpExecutionContext, step: Step) -> None:
    context.log.info(f"{step.name}: {step.said}")
    for made in step.made:
        asset = ASSET_OF.get(made.kind)
        if asset and not made.reused:
            task, _, variant = made.key.partition("/")
            values: dict[str, Any] = {"path": dg.MetadataValue.path(str(made.path)), "digest": made.digest, "reused": False}
            values |= {"stale_because": ", ".join(made.stale_because) or "first version"}
            partition = key_of(task, variant) if variant else task
            tags = {"dagster/data_version": made.digest}
            context.log_event(dg.AssetMaterialization(asset, partition=partition, metadata=values, tags=tags))


_IN_PROCESS = dg.in_process_executor
JOBS: list[Any] = [job_of(entry) for entry in ENTRIES]
