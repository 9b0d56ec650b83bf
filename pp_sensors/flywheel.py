"""Turns the flywheel of a task when something has changed that it decides by, and starts the training that it asks for.

Belongs here: the decision (`plan`), what a tick looks at (`look`), the sensor. Does not: what a turn does (`pp_assets.flywheel`).
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg

from pp_assets import names
from pp_assets.champion import champion_file
from pp_assets.flywheel.policy import Flywheel
from pp_assets.flywheel.stage import last
from pp_assets.flywheel.state import HOUR, State
from pp_assets.jobs import flywheel_turn, task_data
from pp_assets.pipeline import ADAPTERS, DATASETS, DRIFTS, PACKAGES, Pipeline
from pp_resources.dagster_resources import Installation
from pp_resources.fingerprint import digest
from pp_resources.settings import Settings
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import now
from pp_resources.tracker import NullTracker
from pp_sensors.live import live_tasks

EVERY, SELDOM = HOUR // 12, HOUR  # between two turns with a trial or a training under way, and without


@dataclass(frozen=True)
class Seen:
    """What a tick sees of a task: `mark` differs where a turn may decide otherwise, `key` is that of the training that it wants."""

    mark: str
    key: str = ""


@dataclass(frozen=True)
class Plan:
    """Tasks whose flywheel is to be turned, trainings to start, each with its run key; and the next cursor."""

    turns: dict[str, str]
    trainings: dict[str, str]
    cursor: dict[str, list[str]]


def plan(seen: Mapping[str, Seen], cursor: Mapping[str, list[str]], registered: Collection[str]) -> Plan:
    """A task that is not registered waits; one that is gone is forgotten by nobody."""
    turns, trainings, after = {}, {}, {name: list(entry) for name, entry in cursor.items()}
    for name, one in sorted(seen.items()):
        if name not in registered:
            continue
        mark, key = after.get(name, ["", ""])
        if one.mark != mark:
            turns[name] = f"turn:{name}:{one.mark}"
        if one.key and one.key != key:
            trainings[name] = one.key
        after[name] = [one.mark, one.key or key]
    return Plan(turns, trainings, after)


def renewed(settings: Settings) -> dict[str, Flywheel]:
    """Tasks that can be read, are not archived and have their flywheel enabled."""
    policies = {task.name: task.spec.flywheel for task in live_tasks(settings)}
    return {name: policy for name, policy in policies.items() if policy and policy.enabled}


def look(pipeline: Pipeline) -> dict[str, Seen]:
    """All tasks with a flywheel. Raises StoreUnavailable: what cannot be read is not nothing."""
    heads, found = pipeline.inbox.heads(), {}
    for name, policy in renewed(pipeline.settings).items():
        before = last(pipeline.inbox.store, name)
        state = before.state if before else State()
        # So few demonstrations apart a turn would find the same, and each turn is a process of its own.
        step = max(1, min(policy.least_new, policy.after_alarm))
        clock = now() // (SELDOM if state.stage == "idle" else EVERY)
        pending = bool(before and before.pending)
        made_of = [
            state.model_dump(mode="json"),
            pending,
            -(-(heads.get(name, 0) - state.trained_to) // step),
            clock,
            _files(pipeline, name),
        ]
        found[name] = Seen(digest(made_of, ordered=True)[:24], state.key if state.stage == "training" else "")
    return found


def _files(pipeline: Pipeline, name: str) -> list[str]:
    """The versions in force that a turn decides by."""
    keys = [(kind, key) for kind in (PACKAGES, ADAPTERS) for key in pipeline.store.keys(kind) if key.partition("/")[0] == name]
    made = [pipeline.store.current(kind, key) for kind, key in [*keys, (DATASETS, name), (DRIFTS, name)]]
    champion = champion_file(pipeline.settings.home, name)
    return [*(f"{one.kind}/{one.key}/{one.digest}" for one in made if one), champion.read_text("utf-8") if champion.exists() else ""]


@dg.sensor(
    name=names.SENSOR_FLYWHEEL,
    jobs=[flywheel_turn, task_data],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Turns the flywheel of tasks that have one enabled, and starts the trainings that it asks for.",
)
def watch_flywheels(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult | dg.SkipReason:
    pipeline = Pipeline(installation.settings(), NullTracker())
    try:
        seen = look(pipeline)
    except StoreUnavailable as error:
        return dg.SkipReason(f"the store cannot be read ({error}); nothing is concluded from that")
    made = plan(seen, json.loads(context.cursor or "{}"), context.instance.get_dynamic_partitions(names.TASK))
    jobs = [(names.JOB_FLYWHEEL, made.turns), (names.JOB_TASK_DATA, made.trainings)]
    requests = [
        dg.RunRequest(run_key=key, job_name=job, partition_key=task, tags={"pp/cause": "flywheel", "pp/task": task})
        for job, keys in jobs
        for task, key in keys.items()
    ]
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(made.cursor, sort_keys=True))


SENSORS = [watch_flywheels]
