"""Assets of the results: baselines, report, leaderboard, and the verdict as a check.

Belongs here: shells. Does not belong here: metrics, tests, decisions.
"""

from dataclasses import replace

import dagster as dg

from pp_assets import names
from pp_assets.checks import partitioned_check
from pp_assets.conditions import follow_adapter, refresh, summarise
from pp_assets.data.assets import evaluated_inputs, seeds
from pp_assets.metadata import materialized, pipeline_of
from pp_assets.partitions import task_variant, task_variants, tasks
from pp_assets.pipeline import read_json
from pp_assets.result_facts import field_row, slice_row
from pp_assets.results import baseline_ranks
from pp_assets.training.assets import adapter
from pp_resources.dagster_resources import Installation

PLOTS = ("metrics", "scatter", "effects", "fields", "slices", "reliability")  # of a report that the UI shows, 15 to 30 kB each


@dg.asset(
    group_name=names.GROUP_RESULTS,
    partitions_def=tasks,
    deps=[seeds, evaluated_inputs],
    kinds={"scikitlearn"},
    owners=[names.OWNER],
    automation_condition=refresh,
    description="What a candidate must beat: majority, TF-IDF, nearest neighbours, and for causal variants the bare base model.",
)
def baselines(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.baselines(context.partition_key)
    ranks = baseline_ranks(pipeline, context.partition_key, made)
    return materialized(pipeline, replace(made, metadata={**made.metadata, **ranks}))


@dg.asset(
    group_name=names.GROUP_RESULTS,
    partitions_def=task_variants,
    deps=[adapter, baselines],
    kinds={"scipy"},
    owners=[names.OWNER],
    automation_condition=follow_adapter,
    description="Every metric with n and interval, the paired comparison with the best baseline, and the verdict.",
    check_specs=[
        partitioned_check(names.CHECK_VERDICT, "eval_report", task_variants, description="The verdict is SHIP"),
    ],
)
def eval_report(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.eval_report(*task_variant(context))
    m = made.metadata
    kept = ("value", "best_baseline_value", "effect", "low", "high", "p_value", "detectable", "n")
    check = dg.AssetCheckResult(
        passed=m["verdict"] == "SHIP",
        check_name=names.CHECK_VERDICT,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{m['verdict']}: {' '.join(m['reasons'])}",
        metadata={"verdict": m["verdict"], **{name: m[name] for name in kept if m[name] is not None}},
    )
    report = read_json(made.file("eval_report.json"))
    tables = {"fields": [field_row(f) for f in report["fields"]], "slices": [slice_row(s) for s in report["slices"]["rows"]]}
    plots = {name: made.path / "plots" / f"{name}.png" for name in PLOTS}
    result = materialized(pipeline, made, leave_out=["metrics"], plots=plots, tables=tables, checks=[check])
    # Flat, stable names: each is one series that the UI plots.
    return result._replace(metadata={**(result.metadata or {}), **m["metrics"]})


@dg.asset(
    group_name=names.GROUP_RESULTS,
    partitions_def=tasks,
    deps=[eval_report, baselines],
    kinds={"scipy"},
    owners=[names.OWNER],
    automation_condition=summarise,
    description="All systems of a task from best to worst, with what the data cannot tell apart.",
)
def leaderboard(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    return materialized(pipeline, pipeline.leaderboard(context.partition_key))


ASSETS = [baselines, eval_report, leaderboard]
