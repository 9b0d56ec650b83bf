"""From a file and its variables to a run: checked whole, then done as a Dagster job."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from pp_assets.workflows.asking import Models
from pp_assets.workflows.loading import Loaded, load
from pp_assets.workflows.plan import make_plan
from pp_assets.workflows.planned import Planned
from pp_assets.workflows.report import summary, write_report
from pp_assets.workflows.run import Place, Run
from pp_assets.workflows.runs import Record, last_unfinished
from pp_assets.workflows.table import step_types
from pp_assets.workflows.variables import given, with_defaults
from pp_resources.artifacts import Artifact
from pp_resources.settings import Settings


def checked(
    settings: Settings, file: Path, sets: Sequence[str], vars: Path | None, kept: dict[str, Any] | None = None
) -> tuple[Loaded, Place, list[Planned], dict[str, Any]]:
    """A workflow that can be run, and its variables; `kept` are those of a run before. Raises BadWorkflow, UserError."""
    loaded = load(file)
    variables = with_defaults(
        {**(kept or {}), **given(sets, vars, file)} if kept is None or sets or vars else kept, loaded.defaults.variables
    )
    place = Place.of(settings, loaded)
    types = step_types(place.folder, settings.home)
    return loaded, place, make_plan(loaded, types, variables, place.workspace), variables


def start(
    settings: Settings,
    file: Path,
    sets: Sequence[str] = (),
    vars: Path | None = None,
    *,
    resume: bool = False,
    on_begin: Callable[[str], None] = lambda _step: None,
    on_done: Callable[[str, Artifact, float], None] = lambda *_: None,
) -> dict[str, Any]:
    """Run a workflow to its end and write its report, also where it fails. What comes back is the run with its totals."""
    before = last_unfinished(settings, file) if resume else None
    loaded, place, plan, variables = checked(settings, file, sets, vars, before.document["variables"] if before else None)
    record = before or Record.new(settings, loaded.name, file, variables)
    done = lambda one, made, seconds: on_done(one.step.type, made, seconds)  # noqa: E731
    run = Run(place, loaded, plan, variables, record, Models().named, done)

    def perform(name: str) -> Artifact:
        on_begin(name)
        return run.perform(name)

    from pp_assets.workflows.graph import TAG_RUN, TAG_WORKFLOW, execute, job_of

    job, dagster_run = job_of(loaded.name, loaded.description, plan, loaded.defaults.retries, perform), str(uuid4())
    try:
        with record.held(dagster_run):
            execute(settings, job, dagster_run, {TAG_WORKFLOW: loaded.name, TAG_RUN: record.id})
    finally:
        write_report(record.told(), record.folder)
    return summary(record.told())
