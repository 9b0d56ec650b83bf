"""What follows a change by itself: real automation ticks on events without runs."""

from collections.abc import Iterable

import dagster as dg

from pp_assets.checks import partitioned_check
from pp_assets.definitions import defs
from pp_assets.names import CHECK_LEAKAGE
from pp_assets.partitions import register, task_variants, tasks

LAYERS = ["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "generation_choice", "baselines"]


def stand_in(name: str, passed: bool) -> dg.AssetsDefinition:
    """An asset with the key, partitions and check of the real one that computes nothing: conditions see events, not content."""
    per_task = name in (*LAYERS, "leaderboard")
    partitions = tasks if per_task else task_variants
    specs = [partitioned_check(CHECK_LEAKAGE, name, partitions, blocking=True)] if name == "evaluated_inputs" else []

    @dg.asset(name=name, partitions_def=partitions, check_specs=specs)
    def shell() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=passed, check_name=CHECK_LEAKAGE)] if specs else [])

    return shell


class Ticks:
    """Materialise stand-ins, tick, look at what is requested: asset -> partitions."""

    def __init__(self, tasks: Iterable[str], variants: Iterable[str]) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        register(self.instance, tasks, variants)
        self.cursor = None

    def made(self, asset: str, *partitions: str, passed: bool = True) -> None:
        for partition in partitions:
            dg.materialize([stand_in(asset, passed)], partition_key=partition, instance=self.instance, raise_on_error=False)

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


def trained() -> Ticks:
    """Two tasks and two variants; t1|v1 and t2|v2 are trained, evaluated and packaged; the first ticks are over."""
    ticks = Ticks(["t1", "t2"], ["v1", "v2"])
    for task in ("t1", "t2"):
        ticks.data_of(task)
    for asset in ("adapter", "eval_report", "package"):
        ticks.made(asset, "t1|v1", "t2|v2")
    ticks.made("leaderboard", "t1", "t2")
    ticks.tick()
    ticks.tick()
    return ticks


def test_nothing_is_trained_because_a_task_or_a_variant_appears() -> None:
    ticks = trained()
    register(ticks.instance, ["t3"], ["v3"])
    ticks.data_of("t3")
    for _ in range(3):
        wanted = ticks.tick()
        assert not wanted.keys() & {"adapter", "eval_report", "package"}, wanted


def test_new_data_retrains_what_was_trained_and_nothing_else() -> None:
    ticks = trained()
    ticks.made("evaluated_inputs", "t1")
    wanted = ticks.tick()
    assert wanted["adapter"] == {"t1|v1"}
    assert wanted.get("eval_report", set()) <= {"t1|v1"} and wanted.get("package", set()) <= {"t1|v1"}


def test_new_seeds_refresh_every_layer_of_their_task() -> None:
    ticks = trained()
    ticks.made("seeds", "t2")
    wanted = ticks.tick()
    assert wanted["generated_data"] == wanted["clusters"] == wanted["evaluated_inputs"] == {"t2"}


def test_starting_on_existing_data_trains_nothing() -> None:
    ticks = Ticks(["t1"], ["v1", "v2"])
    ticks.data_of("t1")
    ticks.made("adapter", "t1|v1")
    assert "adapter" not in ticks.tick() and "adapter" not in ticks.tick()


def test_a_failed_leakage_check_stops_retraining() -> None:
    ticks = trained()
    ticks.made("evaluated_inputs", "t1", passed=False)
    assert "adapter" not in ticks.tick()


def test_the_leaderboard_does_not_wait_for_variants_that_are_never_trained() -> None:
    ticks = trained()
    ticks.made("eval_report", "t1|v1")
    assert ticks.tick()["leaderboard"] == {"t1"}
