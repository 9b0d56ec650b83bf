"""The asset of a task's worked examples.

Belongs here: the shell. Does not belong here: which example is let in (`dicl/gate.py`), what starts a growth (`pp_sensors`).
"""

import dagster as dg

from pp_assets import names
from pp_assets.metadata import metadata_value, pipeline_of
from pp_assets.partitions import tasks
from pp_resources.dagster_resources import Installation
from pp_resources.fingerprint import digest


@dg.asset(
    group_name=names.GROUP_FEEDBACK,
    partitions_def=tasks,
    owners=[names.OWNER],
    deps=["evaluated_inputs", "contract"],
    kinds={"numpy", "sqlite"},
    description="Examples for prompts and neighbours, in the store: from training rows, demonstrations and answers with good feedback, "
    "through the quality gate. Held-out rows never become examples.",
)
def worked_examples(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    from pp_assets.prompts.dicl.stage import grow

    told = grow(pipeline_of(installation), context.partition_key)
    values = {name: metadata_value(value) for name, value in told.items()}
    return dg.MaterializeResult(metadata=values, data_version=dg.DataVersion(digest(told)))


ASSETS = [worked_examples]
