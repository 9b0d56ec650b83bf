"""New feedback lets the examples of a task grow, where variants are served that show them.

Belongs here: the decision and the sensor. Does not belong here: which example passes the gate (`pp_assets/prompts/dicl`).
"""

import json

import dagster as dg

from pp_assets import names
from pp_assets.jobs import grow_examples
from pp_assets.pipeline import Pipeline
from pp_assets.serving.spec import shows_examples
from pp_resources.dagster_resources import Installation
from pp_resources.store.engine import StoreUnavailable
from pp_resources.tracker import NullTracker
from pp_sensors.feedback import plan
from pp_sensors.live import live_tasks


@dg.sensor(
    name=names.SENSOR_EXAMPLES,
    job=grow_examples,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Lets the examples of a task grow when feedback has come in and a variant shows them.",
)
def watch_examples(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult | dg.SkipReason:
    settings = installation.settings()
    try:
        heads = Pipeline(settings, NullTracker()).inbox.heads(demonstrations=False)
    except StoreUnavailable as error:
        return dg.SkipReason(f"the inbox cannot be read ({error}); an inbox that cannot be read is not an empty one")
    live = ((task.name, task.spec.serving) for task in live_tasks(settings))
    showing = {name for name, serving in live if serving is not None and shows_examples(serving)}
    ready = showing & set(context.instance.get_materialized_partitions(dg.AssetKey("evaluated_inputs")))
    made = plan(heads, json.loads(context.cursor or "{}"), ready)
    if not made.refresh:
        return dg.SkipReason("no new feedback on a task that shows examples")
    tags = {"pp/cause": "feedback"}
    requests = [dg.RunRequest(run_key=f"examples:{task}:{made.cursor[task]}", partition_key=task, tags=tags) for task in made.refresh]
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(made.cursor, sort_keys=True))


SENSORS = [watch_examples]
