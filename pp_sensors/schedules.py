"""What happens by the clock: every night whatever has an adapter is evaluated again.

An evaluation whose data, adapter, code and libraries are unchanged is reused, so a quiet night opens no test split.
"""

import dagster as dg

from pp_assets import names
from pp_assets.jobs import evaluate_variant
from pp_assets.partitions import TaskVariant, key_of, parse_key
from pp_resources.dagster_resources import Installation
from pp_sensors.live import live_tasks


def due(materialized: set[str], live: set[str]) -> list[TaskVariant]:
    """(task, variant) of the materialised adapters of live tasks, in order."""
    return sorted(parse_key(key) for key in materialized if parse_key(key).task in live)


@dg.schedule(
    name=names.SCHEDULE_EVALUATE,
    cron_schedule="0 2 * * *",
    job=evaluate_variant,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Evaluates every trained variant again, so that a change of data, code or libraries shows by the morning.",
)
def evaluate_nightly(context: dg.ScheduleEvaluationContext, installation: Installation) -> list[dg.RunRequest] | dg.SkipReason:
    materialized = context.instance.get_materialized_partitions(dg.AssetKey("adapter"))
    found = due(materialized, {task.name for task in live_tasks(installation.settings())})
    if not found:
        return dg.SkipReason("nothing was trained yet")
    at = f"{context.scheduled_execution_time:%Y-%m-%dT%H:%M}"
    return [dg.RunRequest(run_key=f"nightly:{at}:{t}:{v}", partition_key=key_of(t, v)) for t, v in found]


SCHEDULES = [evaluate_nightly]
