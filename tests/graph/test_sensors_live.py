"""The sensors, the schedule and the status sensors on a real instance: effects, cursors, keys."""

import json
from datetime import UTC, datetime

import dagster as dg
import pytest

from pp_assets import names
from pp_assets.names import TASK, VARIANT
from pp_assets.partitions import register, task_variants
from pp_sensors.alerts import alert_on_failure
from pp_sensors.feedback import watch_feedback
from pp_sensors.regression import challengers, test_new_adapters
from pp_sensors.schedules import evaluate_nightly
from pp_sensors.task_folders import watch_tasks


def tick(place, sensor: dg.SensorDefinition, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    """One evaluation the way the daemon does it; partitions that it asks for are added."""
    context = dg.build_sensor_context(
        instance=place.instance,
        instance_ref=place.instance.get_ref(),
        definitions=place.defs,
        cursor=cursor,
        resources=place.defs.resources,
    )
    data = sensor.evaluate_tick(context)
    for request in data.dynamic_partitions_requests or []:
        place.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return data


def asked(data) -> list[tuple[str, str | None]]:
    return [(str(r.partition_key), r.run_key) for r in data.run_requests]


def demonstration(place, text: str, name: str = "alpha"):
    return place.pipeline.inbox.add(place.pipeline.task(name), text, output={"kind": "billing", "order": None})


def test_a_task_folder_becomes_a_partition_and_a_run_by_itself(place) -> None:
    place.add("alpha")
    first = tick(place, watch_tasks)
    assert place.instance.get_dynamic_partitions(TASK) == ["alpha"] and place.instance.get_dynamic_partitions(VARIANT) == ["encoder-frozen"]
    assert [key for key, _ in asked(first)] == ["alpha"]
    assert asked(tick(place, watch_tasks, first.cursor)) == []

    place.add("beta")
    second = tick(place, watch_tasks, first.cursor)
    assert [key for key, _ in asked(second)] == ["beta"], "only what is new"


def test_changed_data_starts_the_task_again(place) -> None:
    folder = place.add("alpha")
    first = tick(place, watch_tasks)
    with (folder / "data.jsonl").open("a") as out:
        out.write('{"input_text": "one more", "output_json": {"kind": "billing", "order": null}}\n')
    again = tick(place, watch_tasks, first.cursor)
    assert [key for key, _ in asked(again)] == ["alpha"] and asked(again) != asked(first)


def test_archived_and_broken_folders_do_not_hold_up_the_others(place) -> None:
    place.add("alpha")
    place.add("old", more="archived: true")
    (place.add("broken") / "task.yaml").write_text("name: [")
    tick(place, watch_tasks)
    assert place.instance.get_dynamic_partitions(TASK) == ["alpha"]


def test_a_task_that_disappears_keeps_its_partition(place) -> None:
    folder = place.add("alpha")
    first = tick(place, watch_tasks)
    (folder / "task.yaml").unlink()
    second = tick(place, watch_tasks, first.cursor)
    assert place.instance.get_dynamic_partitions(TASK) == ["alpha"] and asked(second) == []


def test_a_tasks_folder_that_cannot_be_read_is_not_an_empty_one(place) -> None:
    place.settings.tasks.rmdir()
    data = tick(place, watch_tasks, "{}")
    assert "nothing is concluded" in (data.skip_message or "") and not data.dynamic_partitions_requests


def test_new_feedback_starts_the_refresh_once(place) -> None:
    place.add("alpha")
    register(place.instance, ["alpha"], ["encoder-frozen"])
    assert asked(tick(place, watch_feedback)) == []
    demonstration(place, "my bill is wrong twice")
    first = tick(place, watch_feedback)
    assert [key for key, _ in asked(first)] == ["alpha"] and json.loads(first.cursor) == {"alpha": 1}
    assert asked(tick(place, watch_feedback, first.cursor)) == []
    # A daemon that dies before it saves the cursor asks again with the same key, which Dagster knows.
    assert asked(tick(place, watch_feedback, None)) == asked(first)
    demonstration(place, "another bill is wrong")
    second = tick(place, watch_feedback, first.cursor)
    assert [key for key, _ in asked(second)] == ["alpha"] and asked(second) != asked(first)


def test_ratings_and_comments_start_nothing(place) -> None:
    place.add("alpha")
    register(place.instance, ["alpha"], [])
    place.pipeline.inbox.add(place.pipeline.task("alpha"), "a text", rating=False)
    assert asked(tick(place, watch_feedback)) == []


def test_a_failed_read_is_not_an_empty_inbox(place) -> None:
    file = place.pipeline.settings.home / "store" / "store.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database" * 500)
    data = tick(place, watch_feedback, '{"alpha": 4}')
    assert "cannot be read" in (data.skip_message or "") and data.cursor in (None, '{"alpha": 4}')


def test_the_nightly_schedule_asks_for_what_was_trained(place) -> None:
    place.add("alpha")
    register(place.instance, ["alpha", "gone"], ["v1", "v2"])

    def evaluate():
        context = dg.build_schedule_context(
            instance=place.instance,
            scheduled_execution_time=datetime(2026, 1, 2, 2, tzinfo=UTC),
            repository_def=place.defs.get_repository_def(),
            resources=place.defs.resources,
        )
        return evaluate_nightly.evaluate_tick(context)

    assert evaluate().skip_message == "nothing was trained yet"
    for key in ("alpha|v1", "gone|v1"):
        place.instance.report_runless_asset_event(dg.AssetMaterialization("adapter", partition=key))
    assert asked(evaluate()) == [("alpha|v1", "nightly:2026-01-02T02:00:alpha:v1")]


def packaged(place, *, fail: bool = False) -> dg.ExecuteInProcessResult:
    """A run that has materialised (or failed to) the package of alpha|v1."""

    @dg.asset(name="package", partitions_def=task_variants)
    def shell() -> None:
        if fail:
            raise ValueError("no space left")

    register(place.instance, ["alpha"], ["v1"])
    return dg.materialize([shell], partition_key="alpha|v1", instance=place.instance, raise_on_error=False)


def test_every_new_package_is_tested_against_the_champion(place) -> None:
    run = packaged(place)
    assert challengers(place.instance, run.run_id) == [("alpha", "v1")]
    (request,) = list(test_new_adapters(place.ended(run, names.SENSOR_REGRESSION)))
    assert request.run_key == f"{run.run_id}:alpha:v1"
    assert request.run_config["ops"]["test_against_champion"]["config"] == {"task": "alpha", "variant": "v1"}


def test_a_failed_run_is_told(place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PP_ALERT_WEBHOOK", raising=False)
    run = packaged(place, fail=True)
    alert_on_failure(place.ended(run, names.SENSOR_ALERTS).for_run_failure())
    (alert,) = [json.loads(line) for line in (place.settings.home / "alerts.jsonl").read_text().splitlines()]
    assert alert["partition"] == "alpha|v1" and alert["steps"] == ["package"] and "no space left" in alert["error"]
