"""Every hundred new inputs are tested for drift, and a drift that was found is told.

Belongs here: the decision and the sensors. Does not belong here: the tests (`pp_assets/feedback/drift.py`).
"""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pp_assets import names
from pp_assets.drifts import WINDOW
from pp_assets.jobs import monitor
from pp_assets.pipeline import Pipeline
from pp_resources.dagster_resources import Installation
from pp_resources.store.engine import StoreUnavailable
from pp_resources.tracker import NullTracker
from pp_sensors.alerts import WEBHOOK, raise_alert


@dataclass(frozen=True)
class Plan:
    """Tasks with a full window that was not tested yet, and the next cursor (windows by task)."""

    test: list[str]
    cursor: dict[str, int]


def plan(counts: Mapping[str, int], seen: Mapping[str, int], ready: Collection[str], window: int = WINDOW) -> Plan:
    """`counts` are the inputs of each task so far. A task whose topics are not there yet keeps its place."""
    full = {task: count // window for task, count in counts.items() if task in ready}
    fresh = sorted(task for task, number in full.items() if number > seen.get(task, 0))
    return Plan(fresh, {**seen, **{task: full[task] for task in fresh}})


@dg.sensor(
    name=names.SENSOR_DRIFT,
    job=monitor,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tests the inputs of a task for drift when another hundred have come in.",
)
def watch_inputs(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult | dg.SkipReason:
    pipeline = Pipeline(installation.settings(), NullTracker())
    try:
        counts = pipeline.inbox.counts()
    except StoreUnavailable as error:
        return dg.SkipReason(f"the inbox cannot be read: {error}")
    ready = context.instance.get_materialized_partitions(dg.AssetKey("clusters"))
    made = plan(counts, json.loads(context.cursor or "{}"), ready)
    if not made.test:
        return dg.SkipReason("no further hundred inputs")
    requests = [
        dg.RunRequest(run_key=f"drift:{task}:{made.cursor[task]}", partition_key=task, tags={"pp/task": task}) for task in made.test
    ]
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(made.cursor))


def alerts_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dict[str, Any]]:
    """What is worth telling about the drift checks of a run."""
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    found = [r.event_log_entry.dagster_event.asset_check_evaluation_data for r in records if r.event_log_entry.dagster_event]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {"at": at, "run_id": run.run_id, "job": run.job_name, "partition": run.tags.get("dagster/partition"), "drift": one.description}
        for one in found
        if one.check_name == names.CHECK_DRIFT and not one.passed
    ]


@dg.run_status_sensor(
    name=names.SENSOR_DRIFT_ALERTS,
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[monitor],
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells when the newest inputs of a task drift.",
)
def tell_of_drift(context: dg.RunStatusSensorContext, installation: Installation) -> None:
    for alert in alerts_of(context.instance, context.dagster_run):
        problem = raise_alert(installation.settings().home, alert, os.environ.get(WEBHOOK))
        if problem:
            context.log.warning(problem)


SENSORS = [watch_inputs, tell_of_drift]
