"""The asset of a package. Belongs here: its shell. Does not belong here: what is in a package."""

import dagster as dg

from pp_assets import names
from pp_assets.conditions import follow_adapter
from pp_assets.evaluation.assets import eval_report
from pp_assets.metadata import materialized, pipeline_of
from pp_assets.partitions import task_variant, task_variants
from pp_assets.training.assets import adapter
from pp_resources.dagster_resources import Installation


@dg.asset(
    group_name=names.GROUP_RESULTS,
    partitions_def=task_variants,
    deps=[adapter, eval_report],
    kinds={"huggingface"},
    owners=[names.OWNER],
    automation_condition=follow_adapter,
    description="The folder that a user takes away: adapter, reports, predictions, lock file, model card, checksums, ways to serve it.",
)
def package(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    return materialized(pipeline, pipeline.package(*task_variant(context)))


ASSETS = [package]
