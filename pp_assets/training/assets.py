"""The asset of a trained variant. Belongs here: its shell. Does not belong here: recipes and training loops."""

import dagster as dg

from pp_assets import names
from pp_assets.conditions import retrain_existing
from pp_assets.data.assets import evaluated_inputs, generation_choice
from pp_assets.metadata import materialized, pipeline_of
from pp_assets.partitions import task_variant, task_variants
from pp_assets.pipeline import read_json
from pp_resources.dagster_resources import Installation


@dg.asset(
    group_name=names.GROUP_TRAINING,
    partitions_def=task_variants,
    deps=[evaluated_inputs, generation_choice],
    kinds={"pytorch", "huggingface"},
    owners=[names.OWNER],
    pool=names.POOL_TRAINING,
    automation_condition=retrain_existing,
    description="One variant trained on one task: a LoRA adapter with everything that it was trained with. New data retrains it.",
)
def adapter(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.adapter(*task_variant(context))
    history = read_json(made.file("training.json")).get("history", [])
    return materialized(pipeline, made, leave_out=["history"], tables={"epochs": history})


ASSETS = [adapter]
