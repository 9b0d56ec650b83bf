"""What follows a change by itself: real automation ticks on events without runs."""

from collections.abc import Iterable

import dagster as dg
import pytest

from pp_assets.checks import partitioned_check
from pp_assets.definitions import defs
from pp_assets.names import CHECK_LEAKAGE
from pp_assets.partitions import register, tasks

LAYERS = ["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "generation_choice", "baselines"]
CHECKED = "evaluated_inputs"


def stand_in(passed: bool) -> dg.AssetsDefinition:
    """An asset with the key, partitions and check of the real one that computes nothing: conditions see events, not content."""
    specs = [partitioned_check(CHECK_LEAKAGE, CHECKED, tasks, blocking=True)]

    @dg.asset(name=CHECKED, partitions_def=tasks, check_specs=specs)
    def shell() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=passed, check_name=CHECK_LEAKAGE)])

    return shell


class Ticks:
    """Say that assets were made, tick, look at what is requested: asset -> partitions."""

    def __init__(self, tasks: Iterable[str], variants: Iterable[str]) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        register(self.instance, tasks, variants)
        self.cursor = None

    def made(self, asset: str, *partitions: str, passed: bool = True) -> None:
        for partition in partitions:
            if asset == CHECKED:
                dg.materialize([stand_in(passed)], partition_key=partition, instance=self.instance, raise_on_error=False)
            else:
                self.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))

    def tick(self) -> dict[str, set[str]]:
        found = dg.evaluate_automation_conditions(defs, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        wanted: dict[str, set[str]] = {}
        for result in found.results:
            keys = found.get_requested_partitions(result.key)
            if keys:
                wanted[result.key.to_user_string()] = set(map(str, keys))
        return wanted

    def data_of(self, task: str) -> None:
        for layer in LAYERS:
            self.made(layer, task)


@pytest.fixture(scope="module")
def ticks() -> Ticks:
    """Tasks, of which each test takes its own, and two variants; v1 of each task is trained, evaluated and packaged; the first ticks are
    over."""
    ticks = Ticks(["t1", "t2", "t3", "t4"], ["v1", "v2"])
    for task in ("t1", "t2", "t3", "t4"):
        ticks.data_of(task)
        for asset in ("adapter", "eval_report", "package"):
            ticks.made(asset, f"{task}|v1")
        ticks.made("leaderboard", task)
    ticks.tick()
    ticks.tick()
    return ticks


def test_nothing_is_trained_because_a_task_or_a_variant_appears(ticks: Ticks) -> None:
    register(ticks.instance, ["t5"], ["v3"])
    ticks.data_of("t5")
    for _ in range(3):
        wanted = ticks.tick()
        assert not wanted.keys() & {"adapter", "eval_report", "package"}, wanted


def test_new_data_retrains_what_was_trained_and_nothing_else(ticks: Ticks) -> None:
    ticks.made("evaluated_inputs", "t1")
    wanted = ticks.tick()
    assert wanted["adapter"] == {"t1|v1"}
    assert wanted.get("eval_report", set()) <= {"t1|v1"} and wanted.get("package", set()) <= {"t1|v1"}


def test_new_seeds_refresh_every_layer_of_their_task(ticks: Ticks) -> None:
    ticks.made("seeds", "t2")
    wanted = ticks.tick()
    assert wanted["generated_data"] == wanted["clusters"] == wanted["evaluated_inputs"] == {"t2"}


def test_starting_on_existing_data_trains_nothing() -> None:
    ticks = Ticks(["t1"], ["v1", "v2"])
    ticks.data_of("t1")
    ticks.made("adapter", "t1|v1")
    assert "adapter" not in ticks.tick() and "adapter" not in ticks.tick()


def test_a_failed_leakage_check_stops_retraining(ticks: Ticks) -> None:
    ticks.made("evaluated_inputs", "t3", passed=False)
    assert "adapter" not in ticks.tick()


def test_the_leaderboard_does_not_wait_for_variants_that_are_never_trained(ticks: Ticks) -> None:
    ticks.made("eval_report", "t4|v1")
    assert ticks.tick()["leaderboard"] == {"t4"}
