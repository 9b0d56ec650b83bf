"""New corrected answers start the refresh of their task's data; conditions carry it on to the variants that were trained before.

Belongs here: the decision and the sensor. Only demonstrations change training data, so ratings and comments start nothing. Tasks whose
flywheel is enabled are left to that one, which waits until there are enough.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg

from pp_assets import names
from pp_assets.feedback.inbox import as_rows
from pp_assets.jobs import task_data
from pp_assets.pipeline import Pipeline
from pp_resources.dagster_resources import Installation
from pp_resources.fingerprint import digest
from pp_resources.store.engine import StoreUnavailable
from pp_resources.tracker import NullTracker
from pp_sensors.flywheel import renewed


@dataclass(frozen=True)
class Plan:
    """Tasks to refresh, and the next cursor (last sequence number by task)."""

    refresh: list[str]
    cursor: dict[str, int]


def plan(heads: Mapping[str, int], seen: Mapping[str, int], registered: Collection[str]) -> Plan:
    """Tasks with feedback that was not seen yet. A task that is not registered keeps its place: its feedback waits."""
    fresh = sorted(task for task, seq in heads.items() if task in registered and seq > seen.get(task, 0))
    return Plan(fresh, {**seen, **{task: heads[task] for task in fresh}})


@dg.sensor(
    name=names.SENSOR_FEEDBACK,
    job=task_data,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the data stages of a task when new corrected answers have come in.",
)
def watch_feedback(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult | dg.SkipReason:
    inbox = Pipeline(installation.settings(), NullTracker()).inbox
    try:
        known = set(context.instance.get_dynamic_partitions(names.TASK)) - set(renewed(installation.settings()))
        made = plan(inbox.heads(), json.loads(context.cursor or "{}"), known)
        keys = {task: f"feedback:{task}:{digest(as_rows(inbox.demonstrations(task)))[:32]}" for task in made.refresh}
    except StoreUnavailable as error:
        return dg.SkipReason(f"the inbox cannot be read ({error}); an inbox that cannot be read is not an empty one")
    if not made.refresh:
        return dg.SkipReason("no new corrected answers")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=keys[task], partition_key=task, tags={"pp/cause": "feedback"}) for task in made.refresh],
        cursor=json.dumps(made.cursor, sort_keys=True),
    )


SENSORS = [watch_feedback]
