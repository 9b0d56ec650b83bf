"""A task folder appears or changes: its partitions are registered and its data stages start. Nothing is ever deleted.

Belongs here: the decision (`plan`) and the sensor around it. Training is not started here: conditions carry new data to variants
that exist, and the first training is asked for by a person.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg

from pp_assets import names
from pp_assets.contracts import contract_state
from pp_assets.jobs import task_data
from pp_assets.partitions import additions
from pp_assets.pipeline import DATASETS, Pipeline
from pp_assets.task.dataset import dataset_inputs
from pp_assets.task.spec import list_tasks
from pp_resources.dagster_resources import Installation
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.tracker import NullTracker


@dataclass(frozen=True)
class Folder:
    """What a tick sees of a task: its variants, a digest of spec, data and contract file, and whether the data stages have that already."""

    variants: tuple[str, ...]
    digest: str
    archived: bool = False
    up_to_date: bool = False


@dataclass(frozen=True)
class Refresh:
    task: str
    run_key: str


@dataclass(frozen=True)
class Plan:
    """What to register and start, and the next cursor: by task the digest seen last and how often it has changed."""

    tasks: list[str]
    variants: list[str]
    refresh: list[Refresh]
    cursor: dict[str, list]


def plan(folders: Mapping[str, Folder], cursor: Mapping[str, list], known_tasks: Collection[str]) -> Plan:
    """Decide from what is there and what was seen. Archived tasks are left alone; a task that is gone keeps its partitions.

    Run keys count the changes, since Dagster never starts the same key twice and a task may well go back to an earlier state.
    """
    live = {name: folder for name, folder in folders.items() if not folder.archived}
    seen = {name: list(entry) for name, entry in cursor.items()}
    refresh = []
    for name, folder in sorted(live.items()):
        before, changes = seen.get(name, ["", 0])
        if before == folder.digest:
            continue
        seen[name] = [folder.digest, changes + 1]
        if not (folder.up_to_date and name in known_tasks):
            refresh.append(Refresh(name, f"task:{name}:{folder.digest[:16]}:{changes + 1}"))
    return Plan(sorted(live), sorted({v for folder in live.values() for v in folder.variants}), refresh, seen)


def look(pipeline: Pipeline) -> tuple[dict[str, Folder], dict[str, str]]:
    """The task folders, and the problems of those that cannot be read (they do not hold up the others)."""
    folders, problems = {}, {}
    for name in list_tasks(pipeline.settings.tasks):
        try:
            task = pipeline.task(name)
            inputs = dataset_inputs(task)
            current = pipeline.store.current(DATASETS, name)
            same = current is not None and {k: v for k, v in current.inputs.items() if k != "feedback"} == inputs
            contract, kept = contract_state(pipeline, task)
            state = digest([task.digest, inputs, contract] if contract else [task.digest, inputs])
            folders[name] = Folder(tuple(task.spec.variants), state, task.spec.archived, same and kept)
        except (UserError, OSError) as error:
            problems[name] = str(error)
    return folders, problems


@dg.sensor(
    name=names.SENSOR_TASKS,
    job=task_data,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers task folders as partitions and starts their data stages when spec, data or contract change.",
)
def watch_tasks(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult | dg.SkipReason:
    settings = installation.settings()
    if not settings.tasks.is_dir():
        return dg.SkipReason(f"{settings.tasks} is not a folder that can be read; nothing is concluded from that")
    folders, problems = look(Pipeline(settings, NullTracker()))
    for name, problem in problems.items():
        context.log.warning(f"task {name} is left out: {problem}")
    known = context.instance.get_dynamic_partitions(names.TASK)
    made = plan(folders, json.loads(context.cursor or "{}"), known)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=r.run_key, partition_key=r.task) for r in made.refresh],
        dynamic_partitions_requests=additions(known, context.instance.get_dynamic_partitions(names.VARIANT), made.tasks, made.variants),
        cursor=json.dumps(made.cursor, sort_keys=True),
    )


SENSORS = [watch_tasks]
