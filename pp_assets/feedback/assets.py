"""Assets of what a task meets in use: drift of its inputs, what people complain of, and what it needs next.

Belongs here: shells of about ten lines. Does not belong here: the tests, the clusters, what starts a run (`pp_sensors`).
"""

from typing import Any

import dagster as dg

from pp_assets import names
from pp_assets.checks import partitioned_check
from pp_assets.metadata import materialized, pipeline_of
from pp_assets.partitions import tasks
from pp_resources.dagster_resources import Installation

_GROUP: dict[str, Any] = {"group_name": names.GROUP_FEEDBACK, "partitions_def": tasks, "owners": [names.OWNER]}


@dg.asset(
    **_GROUP,
    deps=["clusters"],
    kinds={"numpy", "sqlite"},
    description="Do new inputs look like those that the task was made from? Windows of the inbox, the rows and topics that moved.",
    check_specs=[partitioned_check(names.CHECK_DRIFT, "drift", tasks, description="The newest window of inputs is like the training rows")],
)
def drift(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.drift(context.partition_key)
    m = made.metadata
    check = dg.AssetCheckResult(
        passed=not m["newest_drifts"],
        check_name=names.CHECK_DRIFT,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{m['drifting']} of {m['windows']} windows drift, false alarms at most {m['alpha']:g} of them",
        metadata={"windows": m["windows"], "drifting": m["drifting"]},
    )
    return materialized(pipeline, made, plots={"windows_plot": made.file("drift.png")}, checks=[check])


@dg.asset(
    **_GROUP,
    deps=["contract"],
    kinds={"numpy", "sqlite"},
    description="What do people complain of? Topics of the feedback with rating, ids and counts per source, and what the answers break.",
)
def feedback_clusters(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    return materialized(pipeline, pipeline.feedback_clusters(context.partition_key))


@dg.asset(
    **_GROUP,
    deps=["drift"],
    kinds={"numpy", "sqlite"},
    description="Keep, tune, change or escalate? By the task's standards and what is shown of quality in use, cost, escalations, drift.",
)
def next_step(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    return materialized(pipeline, pipeline.next_step(context.partition_key))


ASSETS = [drift, feedback_clusters, next_step]
