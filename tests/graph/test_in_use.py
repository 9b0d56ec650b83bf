"""What a task meets in use: the sensor that starts the tests, the assets on a real instance, the alert."""

import json
import random

import dagster as dg
import pytest
from small_task import SAID
from test_sensors_live import asked, tick

from pp_assets import names
from pp_assets.partitions import register
from pp_sensors.drift import plan, tell_of_drift, watch_inputs
from pp_sensors.examples import watch_examples

ELSEWHERE = ("play some jazz", "what is the weather in Lima", "wake me at seven", "book a table for two", "how tall is that mountain")


def test_a_full_window_starts_a_test_once_and_only_where_topics_are_known() -> None:
    made = plan({"a": 250, "b": 99, "c": 400}, {"a": 1}, {"a", "b"}, window=100)
    assert made.test == ["a"] and made.cursor == {"a": 2}
    assert plan({"a": 299, "b": 99}, made.cursor, {"a", "b"}, window=100).test == []


def test_inputs_from_elsewhere_are_found_by_the_sensor_and_told(place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PP_ALERT_WEBHOOK", raising=False)
    place.add("alpha", rows=160)
    register(place.instance, ["alpha"], ["encoder-frozen"])
    job = place.defs.resolve_job_def(names.JOB_TASK_DATA)
    wanted = [dg.AssetKey(name) for name in ("seeds", "contract", "generated_data", "clusters")]
    assert job.execute_in_process(partition_key="alpha", instance=place.instance, asset_selection=wanted).success
    assert asked(tick(place, watch_inputs)) == []

    task, rng = place.pipeline.task("alpha"), random.Random(0)
    for i in range(100):
        said = rng.choice(ELSEWHERE) if i % 2 else rng.choice([text for texts in SAID.values() for text in texts])
        answer = {"kind": "billing", "order": "none"}
        place.pipeline.inbox.add(
            task, f"{said} {i}", rating=False, comment=f"wrong team {i % 7}", answer=answer, source=("app", "desk")[i % 2]
        )
    data = tick(place, watch_inputs)
    assert asked(data) == [("alpha", "drift:alpha:1")] and asked(tick(place, watch_inputs, data.cursor)) == []

    run = place.defs.resolve_job_def(names.JOB_MONITOR).execute_in_process(partition_key="alpha", instance=place.instance)
    (check,) = run.get_asset_check_evaluations()
    assert not check.passed and check.severity == dg.AssetCheckSeverity.WARN
    found = json.loads(place.pipeline.current("drifts", "alpha").file("drift.json").read_text())
    (window,) = found["windows"]
    assert window["drift"] and window["novel"]["rows"] > 2 * window["n"] * window["novel"]["expected"]
    assert {driver["input_text"].rsplit(" ", 1)[0] for driver in window["drivers"][:5]} <= set(ELSEWHERE)

    tell_of_drift(place.ended(run, names.SENSOR_DRIFT_ALERTS))
    (alert,) = [json.loads(line) for line in (place.settings.home / "alerts.jsonl").read_text().splitlines()]
    assert alert["partition"] == "alpha" and alert["drift"].startswith("1 of 1 windows drift")

    topics = json.loads(place.pipeline.current("complaints", "alpha").file("topics.json").read_text())
    assert sum(topic["size"] for topic in topics) == 100
    assert sum(topic["dimensions"].get("grounding/order", 0) for topic in topics) == 100, "the order stands in no input"
    sources = [topic["per_source"] for topic in topics]
    assert sum(source.get("app", 0) for source in sources) == sum(source.get("desk", 0) for source in sources) == 50


def test_feedback_lets_examples_grow_where_a_variant_shows_them(place) -> None:
    more = "serving: {variants: {near: {kind: dicl}}}"
    for name, section in (("alpha", more), ("beta", "")):
        place.add(name, more=section)
        register(place.instance, [name], ["encoder-frozen"])
    assert asked(tick(place, watch_examples)) == []
    job = place.defs.resolve_job_def(names.JOB_TASK_DATA)
    for name in ("alpha", "beta"):
        place.pipeline.inbox.add(place.pipeline.task(name), "it was thrown over the wall", output={"kind": "delivery", "order": None})
    assert asked(tick(place, watch_examples)) == [], "no rows to stand on yet"
    wanted = [dg.AssetKey(name) for name in ("seeds", "contract", "generated_data", "clusters", "evaluated_inputs")]
    assert job.execute_in_process(partition_key="alpha", instance=place.instance, asset_selection=wanted).success
    data = tick(place, watch_examples)
    assert asked(data) == [("alpha", "examples:alpha:1")] and asked(tick(place, watch_examples, data.cursor)) == []

    run = place.defs.resolve_job_def(names.JOB_EXAMPLES).execute_in_process(partition_key="alpha", instance=place.instance)
    (made,) = run.get_asset_materialization_events()
    assert made.materialization.metadata["active"].value > 0 and "demonstration" in made.materialization.metadata["by_origin"].value
    place.pipeline.inbox.add(place.pipeline.task("alpha"), "a text", rating=False)
    assert asked(tick(place, watch_examples, data.cursor)) == [("alpha", "examples:alpha:3")], "a rating counts as well"


def test_a_failed_read_lets_nothing_grow_and_forgets_nothing(place) -> None:
    file = place.pipeline.settings.home / "store" / "store.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database" * 500)
    data = tick(place, watch_examples, '{"alpha": 4}')
    assert "cannot be read" in (data.skip_message or "") and data.cursor in (None, '{"alpha": 4}')
