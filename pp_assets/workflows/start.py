"""From a file and its variables to a run: checked whole, then done as a Dagster job."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from pp_assets.workflows.asking import Models
from pp_assets.workflows.grammar import Instance
from pp_assets.workflows.loading import Loaded, load
from pp_assets.workflows.plan import make_plan
from pp_assets.workflows.planned import Planned
from pp_assets.workflows.problems import BadWorkflow, Problem
from pp_assets.workflows.report import summary, write_report
from pp_assets.workflows.run import Place, Run
from pp_assets.workflows.runs import Record, last_unfinished
from pp_assets.workflows.table import step_types
from pp_assets.workflows.variables import given, with_defaults
from pp_assets.workflows.work import Work
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
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
    """Run a workflow to its end and write its report, also where it fails. What comes back is the run with its totals. A model that cannot
    be asked, such as one whose key is not set, is told before anything is written; one that a step's output names, at its step."""
    before = last_unfinished(settings, file) if resume else None
    loaded, place, plan, variables = checked(settings, file, sets, vars, before.document["variables"] if before else None)
    models = Models()
    _open(models, place, loaded, plan, variables)
    record = before or Record.new(settings, loaded.name, file, variables)
    done = lambda one, made, seconds: on_done(one.step.type, made, seconds)  # noqa: E731
    run = Run(place, loaded, plan, variables, record, models.named, done)

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


def _open(models: Models, place: Place, loaded: Loaded, plan: Sequence[Planned], variables: dict[str, Any]) -> None:
    """Open every model whose name is known before the first step. Raises BadWorkflow, each model once, where it stands first."""
    missing: dict[str, Problem] = {}
    for one in plan:
        if one.mode == "calculate":
            continue
        work = Work(one, loaded.defaults, variables, {}, place.folder, place.workspace, place.kept, models.named)
        for i, instance in enumerate(one.step.instances or [Instance()]):
            try:
                name, _ = work.named(instance)
            except UserError:
                continue
            try:
                models.named(name)
            except UserError as error:
                where = ("type",) if one.step.options.model is None else ("options", "model")
                line = loaded.line(one.index, *(where if instance.llm is None else ("instances", i, "model_config")))
                missing.setdefault(name, Problem(loaded.file, line, f"step {one.name!r}: {error.where}: {error.what}", error.how))
    if missing:
        raise BadWorkflow(list(missing.values()))
