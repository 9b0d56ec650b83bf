"""Keys: one rule for what gets in, one codec for what comes out, mappings as designed."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp_assets.definitions import defs
from pp_assets.names import TASK, VARIANT
from pp_assets.partitions import additions, checked_keys, key_of, parse_key, register, task_variant, task_variants
from pp_resources.errors import UserError

SLUGS = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,62}\Z")
GRAPH = defs.resolve_asset_graph()


def mapping(child: str, parent: str) -> type:
    return type(GRAPH.get_partition_mapping(dg.AssetKey(child), dg.AssetKey(parent)))


@given(SLUGS, SLUGS)
def test_a_key_comes_back_as_it_went_in(task: str, variant: str) -> None:
    key = key_of(task, variant)
    assert parse_key(key) == parse_key(str(key)) == (task, variant)


@pytest.mark.parametrize("name", ["a|b", "a,b", "a/b", "[x]", "A", "a b", "a\nb", "", "-a", "x" * 64, "a...b|", "ä"])
def test_what_breaks_partitions_is_refused_at_the_door(name: str) -> None:
    with pytest.raises(UserError, match="cannot be a task name"):
        checked_keys(TASK, [name])
    with pytest.raises(UserError):
        key_of("fine", name)


def test_only_what_is_missing_is_added_and_nothing_is_deleted() -> None:
    requests = additions(["a"], ["v"], ["a", "b"], ["v"])
    assert [(r.partitions_def_name, list(r.partition_keys)) for r in requests] == [(TASK, ["b"])]


def test_registering_twice_changes_nothing() -> None:
    instance = dg.DagsterInstance.ephemeral()
    for _ in range(2):
        register(instance, ["t1", "t2"], ["v1"])
    assert sorted(instance.get_dynamic_partitions(TASK)) == ["t1", "t2"] and instance.get_dynamic_partitions(VARIANT) == ["v1"]
    assert len(task_variants.get_partition_keys(dynamic_partitions_store=instance)) == 2


def test_a_run_started_with_a_plain_text_key_is_read_all_the_same() -> None:
    assert task_variant(dg.build_asset_context(partition_key="t1|v1")) == ("t1", "v1")


@pytest.mark.parametrize(
    ("child", "parent", "kind"),
    [
        ("generated_data", "seeds", dg.IdentityPartitionMapping),
        ("clusters", "generated_data", dg.IdentityPartitionMapping),
        ("evaluated_inputs", "clusters", dg.IdentityPartitionMapping),
        ("baselines", "evaluated_inputs", dg.IdentityPartitionMapping),
        ("adapter", "evaluated_inputs", dg.MultiToSingleDimensionPartitionMapping),
        ("generation_choice", "evaluated_inputs", dg.IdentityPartitionMapping),
        ("adapter", "generation_choice", dg.MultiToSingleDimensionPartitionMapping),
        ("eval_report", "baselines", dg.MultiToSingleDimensionPartitionMapping),
        ("eval_report", "adapter", dg.IdentityPartitionMapping),
        ("package", "eval_report", dg.IdentityPartitionMapping),
        ("leaderboard", "eval_report", dg.MultiToSingleDimensionPartitionMapping),
    ],
)
def test_partitions_of_neighbours_belong_together_as_designed(child: str, parent: str, kind: type) -> None:
    """Unrelated definitions would silently get the identity mapping."""
    assert mapping(child, parent) is kind
