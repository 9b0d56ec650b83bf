"""The sensor that evaluates the assets' conditions. Dagster's implicit one is off until somebody switches it on; this one is on."""

import dagster as dg

from pp_assets import names

follow_changes = dg.AutomationConditionSensorDefinition(
    names.SENSOR_AUTOMATION,
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Carries changes downstream by the conditions in pp_assets/conditions.py.",
)

SENSORS = [follow_changes]
