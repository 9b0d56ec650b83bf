"""The two partition dimensions, the one place that registers keys and the one codec that reads them.

Belongs here: partition definitions, registration with the slug rule, parsing of a run's key. Does not belong here: what a task or a
variant is (`pp_assets.task`, `pp_assets.training.recipes`).

Dagster itself accepts ``a|b``, ``a,b``, ``a/b`` and newlines as dynamic keys; the first vanishes from the cross product, the second breaks
backfills in the UI and the third becomes a sub-folder. So no key gets in except through `checked_keys`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import dagster as dg

from pp_assets.names import TASK, VARIANT
from pp_resources.artifacts import SLUG
from pp_resources.errors import UserError

tasks = dg.DynamicPartitionsDefinition(name=TASK)
variants = dg.DynamicPartitionsDefinition(name=VARIANT)
task_variants = dg.MultiPartitionsDefinition({TASK: tasks, VARIANT: variants})


class TaskVariant(NamedTuple):
    task: str
    variant: str


def checked_keys(dimension: str, keys: Iterable[str]) -> list[str]:
    """The keys, sorted and unique. Raises UserError for one that is not a slug."""
    found = sorted(set(keys))
    for key in found:
        if not SLUG.match(key):
            raise UserError(
                f"{key!r} cannot be a {dimension} name",
                where=f"{dimension} partition",
                how="use a-z, 0-9, '.', '_', '-', at most 63 of them",
            )
    return found


def additions(
    known_tasks: Iterable[str], known_variants: Iterable[str], new_tasks: Iterable[str], new_variants: Iterable[str]
) -> list[dg.AddDynamicPartitionsRequest]:
    """Requests that add what is not known yet, for a sensor's result.

    Nothing is ever deleted: a deleted key breaks backfills and hides history.
    """
    requests = []
    for definition, dimension, known, new in ((tasks, TASK, known_tasks, new_tasks), (variants, VARIANT, known_variants, new_variants)):
        missing = sorted(set(checked_keys(dimension, new)) - set(known))
        if missing:
            requests.append(definition.build_add_request(missing))
    return requests


def register(instance: dg.DagsterInstance, task_names: Iterable[str], variant_names: Iterable[str]) -> None:
    """Add tasks and variants to an instance at once (the command line's way; a sensor returns `additions`)."""
    for request in additions(instance.get_dynamic_partitions(TASK), instance.get_dynamic_partitions(VARIANT), task_names, variant_names):
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))


def key_of(task: str, variant: str) -> dg.MultiPartitionKey:
    """The partition key of one task and variant."""
    checked_keys(TASK, [task])
    checked_keys(VARIANT, [variant])
    return dg.MultiPartitionKey({TASK: task, VARIANT: variant})


def parse_key(key: str) -> TaskVariant:
    """Task and variant of a key text ``task|variant``.

    A run started over GraphQL carries plain text where others carry a MultiPartitionKey, so everything goes through the text.
    """
    found = task_variants.get_partition_key_from_str(str(key)).keys_by_dimension
    return TaskVariant(found[TASK], found[VARIANT])


def task_variant(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> TaskVariant:
    """Task and variant of the running partition. Nothing else reads the key."""
    return parse_key(str(context.partition_key))
