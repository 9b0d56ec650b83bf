"""Every new package is tested against the champion, whatever started the run that made it: a person, a condition, a schedule."""

import dagster as dg

from pp_assets import names
from pp_assets.jobs import regression_test
from pp_assets.partitions import TaskVariant, parse_key


def challengers(instance: dg.DagsterInstance, run_id: str) -> list[TaskVariant]:
    """(task, variant) of the packages that a run has materialised, sorted."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    events = [r.event_log_entry.dagster_event for r in records if r.event_log_entry.dagster_event]
    keys = {str(e.partition) for e in events if e.asset_key == dg.AssetKey("package") and e.partition}
    return sorted(parse_key(key) for key in keys)


@dg.run_status_sensor(
    name=names.SENSOR_REGRESSION,
    run_status=dg.DagsterRunStatus.SUCCESS,
    request_job=regression_test,
    monitor_all_code_locations=False,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tests each new adapter against the task's champion.",
)
def test_new_adapters(context: dg.RunStatusSensorContext):
    run = context.dagster_run
    if run.job_name == names.JOB_REGRESSION:
        return
    for task, variant in challengers(context.instance, run.run_id):
        config = {"ops": {"test_against_champion": {"config": {"task": task, "variant": variant}}}}
        yield dg.RunRequest(run_key=f"{run.run_id}:{task}:{variant}", run_config=config, tags={"pp/task": task, "pp/variant": variant})


SENSORS = [test_new_adapters]
