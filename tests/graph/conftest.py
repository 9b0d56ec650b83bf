"""An installation with its own Dagster instance: what the graph tests share."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from small_task import write_task

from pp_assets.build import build_defs
from pp_assets.pipeline import Pipeline
from pp_resources.dagster_resources import Installation
from pp_resources.settings import Settings
from pp_resources.tracker import NullTracker


@dataclass
class Place:
    """One installation under a temporary folder, with its definitions and its own Dagster instance."""

    settings: Settings
    instance: dg.DagsterInstance
    defs: dg.Definitions

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.settings, NullTracker())

    def add(self, name: str, **options) -> Path:
        return write_task(self.settings.tasks, name, **options)

    def ended(self, run: dg.ExecuteInProcessResult, sensor: str) -> dg.RunStatusSensorContext:
        """What a sensor is told when a run has ended."""
        return dg.build_run_status_sensor_context(
            sensor_name=sensor,
            dagster_instance=self.instance,
            dagster_run=run.dagster_run,
            dagster_event=run.get_run_success_event() if run.success else run.get_run_failure_event(),
            resources=self.defs.resources,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    os.environ["PP_STATE"] = str(tmp_path / "state")
    settings = Settings(home=tmp_path / "home", tasks=tmp_path / "tasks", threads=1)
    settings.tasks.mkdir()
    installation = Installation(home=str(settings.home), tasks=str(settings.tasks), threads=1, tracking=False)
    with dg.instance_for_test() as instance:
        yield Place(settings, instance, build_defs(installation=installation))
