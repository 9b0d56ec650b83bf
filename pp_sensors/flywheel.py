"""Turns the flywheel of a task when something has changed that it decides by, and starts the trainings and searches that it asks for.

Belongs here: the decision (`plan`), what a tick looks at (`look`), the sensor. Does not: what a turn does (`pp_assets.flywheel`).
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from pp_assets import names
from pp_assets.champion import champion_file
from pp_assets.flywheel.policy import Flywheel
from pp_assets.flywheel.stage import last
from pp_assets.flywheel.state import HOUR, State
from pp_assets.jobs import flywheel_turn, task_data, tune_prompt
from pp_assets.pipeline import ADAPTERS, CHOICES, DATASETS, DRIFTS, INPUTS, PACKAGES, PROMPTS, Pipeline
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
    """What a tick sees of a task: `mark` differs where a turn may decide otherwise, `key` is that of the data run that it wants (which a
    training follows by itself), `search` that of the search of a prompt, with what is `asked` for."""

    mark: str
    key: str = ""
    search: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Tasks whose flywheel is to be turned, trainings and searches to start, each with its run key; and the next cursor."""

    turns: dict[str, str]
    trainings: dict[str, str]
    searches: dict[str, str]
    cursor: dict[str, list[str]]


def plan(seen: Mapping[str, Seen], cursor: Mapping[str, list[str]], registered: Collection[str]) -> Plan:
    """A task that is not registered waits; one that is gone is forgotten by nobody."""
    turns, trainings, searches, after = {}, {}, {}, {name: list(entry) for name, entry in cursor.items()}
    for name, one in sorted(seen.items()):
        if name not in registered:
            continue
        mark, key, search = (*after.get(name, ()), "", "", "")[:3]
        if one.mark != mark:
            turns[name] = f"turn:{name}:{one.mark}"
        if one.key and one.key != key:
            trainings[name] = one.key
        if one.search and one.search != search:
            searches[name] = one.search
        after[name] = [one.mark, one.key or key, one.search or search]
    return Plan(turns, trainings, searches, after)


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
        busy = (state.stage, state.search.stage) != ("idle", "idle")
        clock = now() // (EVERY if busy else SELDOM)
        pending = bool(before and before.pending)
        made_of = [
            state.model_dump(mode="json"),
            pending,
            -(-(heads.get(name, 0) - state.trained_to) // step),
            clock,
            _files(pipeline, name, policy),
        ]
        if policy.prompts:
            made_of.append(-(-(heads.get(name, 0) - state.search.to) // min(policy.prompts.least_new, policy.prompts.after_alarm)))
        found[name] = _seen(digest(made_of, ordered=True)[:24], name, state, policy)
    return found


def _seen(mark: str, name: str, state: State, policy: Flywheel) -> Seen:
    """Data that a training and a search want alike has one key."""
    search, prompts = state.search, policy.prompts
    data = f"flywheel:{name}:{search.to}" if prompts and search.stage == "data" else ""
    key = state.key if state.stage == "training" else data
    if prompts is None or search.stage != "search":
        return Seen(mark, key)
    return Seen(mark, key, f"prompt:{name}:{search.to}", prompts.asked)


def _files(pipeline: Pipeline, name: str, policy: Flywheel) -> list[str]:
    """The versions in force that a turn decides by."""
    kinds, single = [PACKAGES, ADAPTERS], [DATASETS, DRIFTS]
    if policy.prompts:
        kinds, single = [*kinds, PROMPTS], [*single, INPUTS, CHOICES]
    keys = [(kind, key) for kind in kinds for key in pipeline.store.keys(kind) if key.partition("/")[0] == name]
    made = [pipeline.store.current(kind, key) for kind, key in [*keys, *((kind, name) for kind in single)]]
    champion = champion_file(pipeline.settings.home, name)
    return [*(f"{one.kind}/{one.key}/{one.digest}" for one in made if one), champion.read_text("utf-8") if champion.exists() else ""]


@dg.sensor(
    name=names.SENSOR_FLYWHEEL,
    jobs=[flywheel_turn, task_data, tune_prompt],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Turns the flywheel of tasks that have one enabled, and starts the trainings and searches of prompts that it asks for.",
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
        dg.RunRequest(run_key=key, job_name=job, partition_key=task, tags=_tags(task)) for job, keys in jobs for task, key in keys.items()
    ]
    for task, key in made.searches.items():
        config = {"ops": {"search_prompt": {"config": {"task": task, **seen[task].asked}}}}
        requests.append(dg.RunRequest(run_key=key, job_name=names.JOB_TUNE_PROMPT, run_config=config, tags=_tags(task)))
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(made.cursor, sort_keys=True))


def _tags(task: str) -> dict[str, str]:
    return {"pp/cause": "flywheel", "pp/task": task}


SENSORS = [watch_flywheels]
