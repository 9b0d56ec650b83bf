"""What the Dagster daemon does, at moments that the simulation chooses: sensors and conditions are asked, what they want is run at once.

The daemon goes by the clock of the wall, and the same story would come out otherwise every time. Sensors, conditions, jobs, run keys and
the instance are the real ones.
"""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from pp_assets import names
from pp_assets.build import build_defs
from pp_assets.execute import QUIET
from pp_resources.dagster_resources import Installation
from pp_resources.instance import open_instance
from pp_resources.settings import Settings

ROUNDS = 12  # of sensors and conditions until nothing is wanted any more: data, training, report, package, test, shadow, promotion
RUN_KEY = "dagster/run_key"


class Ticks:
    """The daemon of one installation. `told` hears (job, partition, "ok" or the error) of each run."""

    def __init__(self, settings: Settings, told: Callable[[str, str, str], None]) -> None:
        place = Installation(home=str(settings.home), tasks=str(settings.tasks), threads=settings.threads)
        self.instance, self.defs, self._told = open_instance(settings), build_defs(installation=place), told
        sensors = sorted(self.defs.sensors or [], key=lambda one: one.name)
        self._status = [one for one in sensors if isinstance(one, dg.RunStatusSensorDefinition)]
        self._automation = [one for one in sensors if isinstance(one, dg.AutomationConditionSensorDefinition)]
        self._plain = [one for one in sensors if one not in self._status and one not in self._automation]
        self._cursors: dict[str, str | None] = {}
        self._conditions: Any = None
        self._heard: set[str] = set()

    def settle(self) -> int:
        """Tick until nobody wants anything; how many runs there were. RuntimeError where that does not end."""
        runs = 0
        for _ in range(ROUNDS):
            made = sum(self._sensor(sensor) for sensor in self._plain) + self._follow() + self._after_runs()
            if not made:
                return runs
            runs += made
        raise RuntimeError(f"the platform did not come to rest in {ROUNDS} rounds of sensors")

    def close(self) -> None:
        self.instance.dispose()

    def _sensor(self, sensor: dg.SensorDefinition) -> int:
        context = dg.build_sensor_context(
            instance=self.instance,
            instance_ref=self.instance.get_ref(),
            definitions=self.defs,
            cursor=self._cursors.get(sensor.name),
            resources=self.defs.resources,
        )
        data = sensor.evaluate_tick(context)
        for request in data.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))  # type: ignore[union-attr]
        made = sum(self._request(one, sensor) for one in data.run_requests or [])
        if data.cursor is not None:
            self._cursors[sensor.name] = data.cursor
        return made

    def _follow(self) -> int:
        """What the conditions of assets want, by partition."""
        if not self._automation:
            return 0
        found = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self._conditions)
        self._conditions = found.cursor
        wanted: dict[str | None, list[dg.AssetKey]] = {}
        for result in found.results:
            if isinstance(result.key, dg.AssetKey):
                for partition in sorted(map(str, found.get_requested_partitions(result.key))):
                    wanted.setdefault(partition, []).append(result.key)
        for partition, keys in sorted(wanted.items(), key=lambda item: str(item[0])):
            self._run("follow_changes", self.defs.resolve_implicit_global_asset_job_def(), partition, keys=keys)
        return len(wanted)

    def _after_runs(self) -> int:
        made = 0
        for run, event in self._finished():
            for sensor in self._status:
                if run.is_failure != (sensor.name == names.SENSOR_ALERTS):
                    continue
                context = dg.build_run_status_sensor_context(
                    sensor_name=sensor.name,
                    dagster_instance=self.instance,
                    dagster_run=run,
                    dagster_event=event,
                    resources=self.defs.resources,
                )
                asked = sensor(context.for_run_failure() if run.is_failure else context)
                made += sum(self._request(one, sensor) for one in asked or ())
        return made

    def _finished(self) -> Iterator[tuple[dg.DagsterRun, Any]]:
        for run in reversed(self.instance.get_runs()):
            if run.run_id not in self._heard and run.is_finished:
                self._heard.add(run.run_id)
                kind = dg.DagsterEventType.RUN_FAILURE if run.is_failure else dg.DagsterEventType.RUN_SUCCESS
                (record,) = self.instance.get_records_for_run(run.run_id, of_type=kind).records[:1]
                yield run, record.event_log_entry.dagster_event

    def _request(self, request: Any, sensor: dg.SensorDefinition) -> int:
        """Run what was asked for, unless its key was run before, as the daemon does."""
        tags = dict(request.tags or {}) | ({RUN_KEY: request.run_key} if request.run_key else {})
        if request.run_key and self.instance.get_runs(dg.RunsFilter(tags={RUN_KEY: request.run_key}), limit=1):
            return 0
        name = request.job_name or sensor.job_name
        self._run(
            name, self.defs.resolve_job_def(name), request.partition_key, config=request.run_config, tags=tags, keys=request.asset_selection
        )
        return 1

    def _run(self, name: str, job: Any, partition: Any, *, config: Any = None, tags: Any = None, keys: Any = None) -> None:
        result = job.execute_in_process(
            run_config={**QUIET, **(config or {})},
            partition_key=partition,
            instance=self.instance,
            tags=tags,
            asset_selection=list(keys) if keys else None,
            raise_on_error=False,
        )
        failed = [event.event_specific_data for event in result.all_events if event.is_failure]
        self._told(
            name, str(partition or ""), "ok" if result.success else str(getattr(failed[0], "error", "failed"))[:300] if failed else "failed"
        )
