"""Assets of one task's data: seeds, generated data, clusters, evaluated inputs, with their checks.

Belongs here: shells of about ten lines. Does not belong here: how rows are read, made, grouped or judged.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pp_assets import names
from pp_assets.checks import partitioned_check
from pp_assets.conditions import refresh
from pp_assets.metadata import materialized, pipeline_of
from pp_assets.partitions import tasks
from pp_assets.pipeline import read_json
from pp_resources.dagster_resources import Installation

MAX_LOW = 0.02  # share of the rows with a contract score below one half; above it the check warns
MAX_QUARANTINE = 0.05  # share of the lines; above it the check warns

LEAST_YIELD = 0.2  # share of the rows made that pass all filters; below it the check warns

_GROUP: dict[str, Any] = {"group_name": names.GROUP_DATA, "partitions_def": tasks, "owners": [names.OWNER]}


@dg.asset(
    **_GROUP,
    kinds={"parquet", "jsonl"},
    description="The task's data: read strictly, checked against the schema, de-duplicated, split. Bad lines are in quarantine.",
    check_specs=[partitioned_check(names.CHECK_QUALITY, "seeds", tasks, description="Enough sound rows in every split")],
)
def seeds(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.seeds(context.partition_key)
    m = made.metadata
    share = m["quarantined"] / max(1, m["read"] - m["blank"])
    sound = share <= MAX_QUARANTINE and not m["warnings"]
    numbers = {"quarantined_share": share, "contradictions": m["contradictions"], **{s: m[s] for s in ("train", "val", "test")}}
    check = dg.AssetCheckResult(
        passed=sound,
        check_name=names.CHECK_QUALITY,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(m["warnings"]) or "nothing to complain about",
        metadata=numbers,
    )
    return materialized(pipeline, made, leave_out=["splits_sha256"], checks=[check])


@dg.asset(
    **_GROUP,
    deps=[seeds],
    kinds={"json", "parquet"},
    automation_condition=refresh,
    description="What a good answer is: nodes with weights, from the task's contract file or derived; the training rows scored by it.",
    check_specs=[
        partitioned_check(names.CHECK_CONTRACT, "contract", tasks, description="Written rows score well by the task's own contract")
    ],
)
def contract(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.contract(context.partition_key)
    m = made.metadata
    broken = [f"{path} ({count})" for path, count in sorted(m["broken"].items(), key=lambda pair: -pair[1])]
    check = dg.AssetCheckResult(
        passed=m["low_rows"] <= MAX_LOW * max(1, m["rows"]),
        check_name=names.CHECK_CONTRACT,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"broken by written rows: {', '.join(broken)}" if broken else "no written row breaks a node",
        metadata={"low_rows": m["low_rows"], "rows": m["rows"], "broken": m["broken"]},
    )
    return materialized(pipeline, made, plots={"scores_by_node": made.file("scores.png")}, checks=[check])


@dg.asset(
    **_GROUP,
    deps=[seeds, contract],
    kinds={"parquet"},
    automation_condition=refresh,
    description="New rows from training rows, the emptiest cells of the coverage grid first. Each names parents, method, parameters "
    "and seed; each filter says what it left.",
    check_specs=[
        partitioned_check(names.CHECK_YIELD, "generated_data", tasks, description="A fair share of the rows made passes the filters")
    ],
)
def generated_data(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.generated_data(context.partition_key)
    cells = read_json(made.file("generation.json"))["cells"]
    return materialized(pipeline, made, tables={"cells": cells}, checks=[_yield_check(made.metadata)])


@dg.asset(
    **_GROUP,
    deps=[seeds, generated_data],
    kinds={"numpy", "scikitlearn"},
    automation_condition=refresh,
    description="What the inputs are about: topics with ids that last, names, outliers apart, what changed since; and a map to open.",
)
def clusters(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.clusters(context.partition_key)
    page = {"map_page": dg.MetadataValue.path(str(made.file("map.html")))}
    return materialized(pipeline, made, plots={"map": made.file("map.png")}, more=page)


@dg.asset(
    **_GROUP,
    deps=[seeds, contract, generated_data, clusters],
    kinds={"parquet"},
    automation_condition=refresh,
    description="A score, a decision and a reason for every training row, and the proof that none of the kept rows is in held-out data.",
    check_specs=[
        partitioned_check(
            names.CHECK_LEAKAGE,
            "evaluated_inputs",
            tasks,
            blocking=True,
            description="No kept row shares an item, a group or a near-identical input with validation or test rows",
        )
    ],
)
def evaluated_inputs(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    made = pipeline.evaluated_inputs(context.partition_key)
    leaks, given = made.metadata["leaks"], made.metadata["splits_given"]
    check = dg.AssetCheckResult(
        passed=not any(leaks.values()),
        check_name=names.CHECK_LEAKAGE,
        # Given official splits are kept as they are: what they share is told, and stops nothing.
        severity=dg.AssetCheckSeverity.WARN if given else dg.AssetCheckSeverity.ERROR,
        description="given splits are kept as they are" if given else "splits are made of whole groups",
        metadata=leaks,
    )
    return materialized(pipeline, made, plots={"stats": made.file("stats.png"), "verdicts": made.file("inputs.png")}, checks=[check])


@dg.asset(
    **_GROUP,
    deps=[generated_data, evaluated_inputs],
    kinds={"pytorch"},
    pool=names.POOL_TRAINING,
    automation_condition=refresh,
    description="Whether generated rows are trained on. With `generation.enabled: auto` an encoder is trained with and without them, "
    "several seeds each, and the validation rows decide.",
)
def generation_choice(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    pipeline = pipeline_of(installation)
    return materialized(pipeline, pipeline.generation_choice(context.partition_key), leave_out=["lines"])


def _yield_check(metadata: Mapping[str, Any]) -> dg.AssetCheckResult:
    """Warns where the filters throw away most of what was made: then the methods do not fit the data."""
    made, kept = metadata["yields"][0]["left"], metadata["yields"][-1]["left"]
    leaking = {kind: n for kind, n in metadata["leaks"].items() if n}
    return dg.AssetCheckResult(
        passed=kept >= LEAST_YIELD * made and not leaking,
        check_name=names.CHECK_YIELD,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{kept} of {made} rows passed all filters" + (f"; close to held-out rows: {leaking}" if leaking else ""),
        metadata={"made": made, "kept": kept},
    )


ASSETS = [seeds, contract, generated_data, clusters, evaluated_inputs, generation_choice]
