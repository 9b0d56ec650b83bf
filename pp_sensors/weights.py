"""The weights of variants follow their feedback: each tick accounts for what has become complete, a roll-back and a winner are told.

Belongs here: which tasks, what is told, the sensor. Does not belong here: evidence and decisions (`pp_assets/routing`).
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pp_assets import names
from pp_assets.jobs import monitor
from pp_assets.pipeline import Pipeline
from pp_assets.routing.stage import Moved, move
from pp_assets.task.spec import Task
from pp_resources.dagster_resources import Installation
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.tracker import NullTracker
from pp_sensors.alerts import WEBHOOK, raise_alert
from pp_sensors.live import live_tasks

ENOUGH = 30.0  # seconds of a tick, which has sixty; the rest of a long time is for the next one


@dataclass(frozen=True)
class Plan:
    """What to tell people, and the tasks for which the next step is to be decided again, by task the number of the decision."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)


def several(tasks: Iterable[Task]) -> list[Task]:
    """The tasks whose traffic more than one variant shares, or gets copies of, in order."""
    policies = [(task, task.spec.serving.routing) for task in tasks if task.spec.serving]
    return sorted((task for task, policy in policies if policy and len(policy.variants) > 1), key=lambda task: task.name)


def plan(moved: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], int]]) -> Plan:
    """From (data before, data after, number) of the decisions that were written, by task: each roll-back and each winner once."""
    made = Plan()
    for task, (before, after, seq) in sorted(moved.items()):
        state, old = after["state"], before.get("state") or {}
        same = old.get("experiment") == state["experiment"]
        known = old.get("rolled_back") or {}
        fresh = [latched["reason"] for name, latched in sorted(state["rolled_back"].items()) if name not in known]
        won = state["won"]
        if won and not (same and old.get("won")):
            fresh.append(won["reason"])
        made.alerts.extend({"task": task, "decision": seq, "weights": after["weights"], "what": reason} for reason in fresh)
        if fresh:
            made.steps[task] = seq
    return made


@dg.sensor(
    name=names.SENSOR_WEIGHTS,
    job=monitor,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Moves the weights of variants by the feedback that has become complete, and tells of roll-backs and winners.",
)
def move_weights(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult | dg.SkipReason:
    settings = installation.settings()
    p = Pipeline(settings, NullTracker())
    ends, moved, said = time.monotonic() + ENOUGH, {}, []
    for task in several(live_tasks(settings)):
        try:
            first, last = _moved(p, task, ends)
        except StoreUnavailable as error:
            return dg.SkipReason(f"the store cannot be read ({error}); the gateway keeps the weights that it has")
        except (UserError, ValueError) as error:  # one task must not hold up the others
            context.log.warning(f"{task.name}: {error}")
            continue
        said.append(f"{task.name}: {last.data['reason']}")
        if last.seq is not None:
            moved[task.name] = (first.last.data, last.data, last.seq)
    made = plan(moved)
    for alert in made.alerts:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        problem = raise_alert(settings.home, {"at": at, **alert}, os.environ.get(WEBHOOK))
        if problem:
            context.log.warning(problem)
    registered = set(context.instance.get_dynamic_partitions(names.TASK)) & made.steps.keys()
    if not registered:
        return dg.SkipReason("; ".join(said) or "no task has variants that share its traffic")
    keys = {task: f"next:{task}:{made.steps[task]}" for task in sorted(registered)}
    wanted = [dg.AssetKey("next_step")]
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=key, partition_key=task, asset_selection=wanted) for task, key in keys.items()]
    )


def _moved(p: Pipeline, task: Task, ends: float) -> tuple[Moved, Moved]:
    """The first step and the last one that wrote, of as many as there is evidence and time for."""
    first = last = move(p.inbox.store, task, p.store)
    while last.more and last.seq is not None and time.monotonic() < ends:
        found = move(p.inbox.store, task, p.store)
        if found.seq is None:
            break
        last = found
    return first, last


SENSORS = [move_weights]
