"""Run the jobs from a command, in this process, on the installation's own Dagster instance: what a command did is seen in the UI.

Belongs here: registration of partitions and execution of jobs. Does not belong here: what a job computes, or what a command prints.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from dagster import AssetKey, DagsterRunStatus, RunsFilter

from pp_assets import names
from pp_assets.build import build_defs
from pp_assets.ensembles import members_first
from pp_assets.partitions import key_of, register
from pp_assets.pipeline import KINDS, Pipeline
from pp_resources.artifacts import Artifact
from pp_resources.dagster_resources import Installation
from pp_resources.device import device_kind
from pp_resources.instance import open_instance
from pp_resources.settings import Settings

_OPEN = tuple(DagsterRunStatus(name) for name in ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING"))
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Step:
    """One asset that a job has materialised: its artifact and whether it was found ready."""

    asset: str
    key: str
    reused: bool
    artifact: Artifact


def end_runs(settings: Settings, job: str, *, canceled: bool) -> None:
    """Say of the runs of a job whose process has ended that they have ended too; those that know it stay as they are."""
    instance = open_instance(settings)
    try:
        for run in instance.get_runs(RunsFilter(tags={names.TAG_JOB: job})):
            if canceled and run.status in (DagsterRunStatus.FAILURE, *_OPEN):
                instance.report_run_canceled(run, "cancelled by whoever asked for it")
            elif run.status in _OPEN:
                instance.report_run_failed(run, "its process ended")
    finally:
        instance.dispose()


def stopped_in_dagster(instance: Any, run_id: str) -> bool:
    """Whether somebody has ended a run in Dagster's pages."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


class Runner:
    """Runs jobs one after the other. `on_event` hears each entry of Dagster's event log as it is stored; `tags` are on each run."""

    def __init__(
        self,
        settings: Settings,
        *,
        tracking: bool = True,
        on_event: Callable[[Any], None] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        device_kind(settings.device)  # one that is not there is refused before anything is made
        self.settings = settings
        self.instance = open_instance(settings)
        place = Installation(
            home=str(settings.home), tasks=str(settings.tasks), threads=settings.threads, device=settings.device, tracking=tracking
        )
        self.defs = build_defs(installation=place, sensors=False)
        self.pipeline = Pipeline(settings, place.tracker())
        self.on_event, self.tags = on_event, dict(tags or {})

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self.instance.dispose()

    def task_data(self, task: str) -> list[Step]:
        """Everything of a task that depends on no variant."""
        register(self.instance, [task], self.pipeline.task(task).spec.variants)
        return self._run(names.JOB_TASK_DATA, task, task)

    def seeds(self, task: str, *, contract: bool = False, clusters: bool = False) -> list[Step]:
        """The data, read, checked and split; also what a good answer is; also rows made from the data and the topics of all."""
        register(self.instance, [task], self.pipeline.task(task).spec.variants)
        only = ["seeds", *(["contract"] if contract or clusters else []), *(["generated_data", "clusters"] if clusters else [])]
        return self._run(names.JOB_TASK_DATA, task, task, only=only)

    def generated_data(self, task: str) -> list[Step]:
        """The data, and rows made from it."""
        register(self.instance, [task], self.pipeline.task(task).spec.variants)
        return self._run(names.JOB_TASK_DATA, task, task, only=("seeds", "contract", "generated_data"))

    def training_data(self, task: str, *, choose: bool = True) -> list[Step]:
        """Everything that a training reads, with `choose` also whether generated rows are. Leaves the test items alone, which the
        baselines answer."""
        register(self.instance, [task], self.pipeline.task(task).spec.variants)
        only = ["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", *(["generation_choice"] if choose else [])]
        return self._run(names.JOB_TASK_DATA, task, task, only=only)

    def train(self, task: str, variant: str) -> list[Step]:
        """Train, evaluate, package, then test against the champion."""
        return self._variant(names.JOB_TRAIN, task, variant)

    def evaluate(self, task: str, variant: str) -> list[Step]:
        """Evaluate and package the adapter that is there, then test it against the champion."""
        return self._variant(names.JOB_EVALUATE, task, variant)

    def leaderboard(self, task: str) -> list[Step]:
        """Rank what was evaluated."""
        return self._run(names.JOB_LEADERBOARD, task, task)

    def drift(self, task: str) -> Artifact:
        """Test the full windows of what the task met in use."""
        return self._in_use(task, "drift")

    def feedback_clusters(self, task: str) -> Artifact:
        """Group what people say about the task's answers."""
        return self._in_use(task, "feedback_clusters")

    def asked_for(self, job: str, kind: str) -> None:
        """Do what somebody asked the gateway for (see `pp_assets.flows.work.doing`), as a run whose id is the job's."""
        config = {**QUIET, "ops": {"do": {"config": {"job": job, "kind": kind}}}}
        made = self.defs.resolve_job_def(names.JOB_ASKED)
        made.execute_in_process(run_config=config, instance=self.instance, run_id=job, tags=self.tags | {names.TAG_JOB: job})

    def catalogued(self, pipeline: str, task: str, options: Mapping[str, Any]) -> Artifact:
        """Run a pipeline of the catalogue; `options` by name as JSON values."""
        from pp_assets.pipelines.catalogue import entry
        from pp_assets.pipelines.runs import PIPELINES

        register(self.instance, [task], self.pipeline.task(task).spec.variants)
        job = entry(pipeline).job
        given = {name: value for name, value in options.items() if value is not None}  # Dagster's configuration knows no null in a mapping
        config = {**QUIET, "ops": {f"run_{job}": {"config": {"task": task, "options": given}}}}
        self._execute(job, run_config=config)
        return self.pipeline.current(PIPELINES, f"{task}/{pipeline}")

    def next_step(self, task: str) -> Artifact:
        """Decide what the task needs next."""
        return self._in_use(task, "next_step")

    def everything(self, task: str, variants: Sequence[str] = ()) -> list[Step]:
        """The whole pipeline of one task, for these variants or those of its spec."""
        steps = self.task_data(task)
        for variant in members_first(variants or self.pipeline.task(task).spec.variants):
            steps += self.train(task, variant)
        return steps + self.leaderboard(task)

    def _variant(self, job: str, task: str, variant: str) -> list[Step]:
        register(self.instance, [task], [variant])
        steps = self._run(job, key_of(task, variant), f"{task}/{variant}")
        self.pipeline.regression(task, variant)
        return steps

    def _in_use(self, task: str, asset: str) -> Artifact:
        register(self.instance, [task], self.pipeline.task(task).spec.variants)
        (step,) = self._run(names.JOB_MONITOR, task, task, only=[asset])
        return step.artifact

    def _run(self, job: str, partition: str, key: str, only: Sequence[str] = ()) -> list[Step]:
        """`only`: these assets of the job."""
        selection = [AssetKey(name) for name in only] or None
        result = self._execute(job, run_config=QUIET, partition_key=partition, asset_selection=selection)
        steps = []
        for event in result.get_asset_materialization_events():
            name = event.materialization.asset_key.to_user_string()
            reused = bool(event.materialization.metadata["reused"].value)
            steps.append(Step(name, key, reused, self.pipeline.current(KINDS[name], key)))
        return steps

    def _execute(self, job: str, **options: Any) -> Any:
        """Errors of a step come out as they were raised."""
        run_id = str(uuid4())
        if self.on_event:
            self.instance.add_event_listener(run_id, self.on_event)
        return self.defs.resolve_job_def(job).execute_in_process(instance=self.instance, run_id=run_id, tags=self.tags, **options)
