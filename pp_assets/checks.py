"""Specs of checks that have a result per partition.

Belongs here: the one place that says so to Dagster. Does not belong here: what passes (the assets decide as they materialise).
"""

import warnings
from typing import Any

import dagster as dg


def partitioned_check(name: str, asset: str, partitions: dg.PartitionsDefinition, **options: Any) -> dg.AssetCheckSpec:
    """A check spec with partitions. Dagster marks this as a preview and warns at each import; the version is pinned and a test uses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=asset, partitions_def=partitions, **options)
