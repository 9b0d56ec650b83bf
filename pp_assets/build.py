"""Assembly of the definitions. Tests and other deployments override parts here instead of patching modules.

Belongs here: which parts there are. Does not belong here: anything that computes or reads the environment.
"""

import dagster as dg

from pp_assets import jobs
from pp_assets.data import assets as data
from pp_assets.evaluation import assets as evaluation
from pp_assets.feedback import assets as in_use
from pp_assets.flywheel import assets as renewal
from pp_assets.packaging import assets as packaging
from pp_assets.pipelines import assets as catalogue
from pp_assets.prompts import assets as prompts
from pp_assets.training import assets as training
from pp_resources.dagster_resources import Installation
from pp_sensors import alerts, automation, drift, examples, feedback, flywheel, regression, schedules, task_folders, weights

ROOMS = (data, training, evaluation, packaging, in_use, prompts, renewal)
ASSETS = [asset for room in ROOMS for asset in room.ASSETS]


def build_defs(*, installation: Installation | None = None, sensors: bool = True) -> dg.Definitions:
    """All definitions; `installation` says where state lives (default: the environment, read when a run starts)."""
    place = installation or Installation()
    rooms = (task_folders, feedback, regression, flywheel, drift, weights, examples, alerts, automation)
    watchers = [sensor for room in rooms for sensor in room.SENSORS]
    return dg.Definitions(
        assets=ASSETS,
        jobs=[*jobs.JOBS, *catalogue.JOBS],
        sensors=watchers if sensors else [],
        schedules=schedules.SCHEDULES if sensors else [],
        resources={"installation": place},
    )
