"""The definitions as a whole: they load, jobs and partitions fit, everything that should run by itself is switched on."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import dagster as dg

from pp_assets import names
from pp_assets.definitions import defs
from pp_resources.instance import dagster_environment
from pp_resources.settings import PROJECT_ROOT, Settings

REPOSITORY = defs.get_repository_def()
GRAPH = defs.resolve_asset_graph()
FLOW = ["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "adapter", "eval_report", "package"]


def test_the_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_chain_runs_from_seeds_to_package() -> None:
    for parent, child in pairwise(FLOW):
        assert dg.AssetKey(parent) in GRAPH.get(dg.AssetKey(child)).parent_keys, f"{child} does not follow {parent}"
    assert len(GRAPH.get_all_asset_keys()) == 16


def test_every_asset_says_what_it_is_and_belongs_to_a_group() -> None:
    for key in GRAPH.get_all_asset_keys():
        node = GRAPH.get(key)
        assert node.description and len(node.description) > 30, key
        assert (
            node.group_name in (names.GROUP_DATA, names.GROUP_TRAINING, names.GROUP_RESULTS, names.GROUP_FEEDBACK)
            and node.owners
            and node.kinds
        ), key


def test_each_job_has_the_partitions_of_its_assets() -> None:
    shapes = {name: type(REPOSITORY.get_job(name).partitions_def).__name__ for name in (names.JOB_TASK_DATA, names.JOB_TRAIN)}
    assert shapes == {names.JOB_TASK_DATA: "DynamicPartitionsDefinition", names.JOB_TRAIN: "MultiPartitionsDefinition"}


def test_what_starts_work_by_itself_is_on_from_the_start() -> None:
    sensors = {s.name: s.default_status for s in REPOSITORY.sensor_defs}
    wanted = {names.SENSOR_TASKS, names.SENSOR_FEEDBACK, names.SENSOR_REGRESSION, names.SENSOR_ALERTS, names.SENSOR_AUTOMATION}
    wanted |= {names.SENSOR_DRIFT, names.SENSOR_DRIFT_ALERTS, names.SENSOR_EXAMPLES, names.SENSOR_WEIGHTS, names.SENSOR_FLYWHEEL}
    assert set(sensors) == wanted and set(sensors.values()) == {dg.DefaultSensorStatus.RUNNING}
    assert [s.default_status for s in REPOSITORY.schedule_defs] == [dg.DefaultScheduleStatus.RUNNING]


def test_checks_have_a_result_per_partition() -> None:
    checks = {key.name: GRAPH.get(key).partitions_def for key in GRAPH.asset_check_keys}
    wanted = {names.CHECK_CONTRACT, names.CHECK_DRIFT, names.CHECK_LEAKAGE, names.CHECK_QUALITY, names.CHECK_VERDICT, names.CHECK_YIELD}
    assert set(checks) == wanted
    assert all(checks.values())


def test_the_instance_keeps_its_state_in_the_home_folder_and_sends_nothing(tmp_path: Path) -> None:
    """In a process of its own, since opening the instance sets the environment."""
    settings = Settings(tmp_path / "home", tmp_path / "tasks", 1)
    before = sorted(p.name for p in PROJECT_ROOT.iterdir())
    code = f"""
from pathlib import Path
from pp_resources.instance import open_instance
from pp_resources.settings import Settings
instance = open_instance(Settings(Path({str(settings.home)!r}), Path({str(settings.tasks)!r}), 1))
instance.add_dynamic_partitions("task", ["a"])
print(instance.telemetry_enabled, instance.nux_enabled, instance.run_monitoring_enabled, instance.run_retries_enabled)
print(instance.root_directory, instance.run_retries_max_retries)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    first, second = done.stdout.split("\n")[:2]
    assert first == "False False True True"
    assert second == f"{settings.dagster_state} 1"
    assert settings.dagster_state.is_dir() and sorted(p.name for p in PROJECT_ROOT.iterdir()) == before


def test_the_environment_names_every_place(tmp_path: Path) -> None:
    found = dagster_environment(Settings(tmp_path, tmp_path / "t", 3))
    assert found["PP_STATE"] == str(tmp_path / "dagster") and found["PP_THREADS"] == "3"
    assert found["DAGSTER_DISABLE_TELEMETRY"] == "yes" and found["MLFLOW_DISABLE_TELEMETRY"] == "true"
