"""The flywheel on a real Dagster instance: what a tick asks for, once; the asset and what it shows; the alias that follows."""

import json

import dagster as dg
import pytest
from test_champion import alias_of, evaluated, pipeline  # noqa: F401  (a fixture)
from test_sensors_live import demonstration, tick

from pp_assets import names
from pp_assets.champion import promote, read_champion, roll_back
from pp_assets.partitions import register
from pp_assets.pipeline import EVALUATIONS, PACKAGES
from pp_resources.errors import UserError
from pp_sensors.feedback import watch_feedback
from pp_sensors.flywheel import Seen, plan, watch_flywheels

ON = "flywheel: {enabled: true, least_new: 2, after_alarm: 2}"


def requested(data) -> list[tuple[str, str, str]]:
    return [(r.job_name, str(r.partition_key), r.run_key) for r in data.run_requests or []]


def test_a_tick_asks_for_a_turn_when_something_changed_and_for_each_training_once() -> None:
    first = plan({"a": Seen("m1"), "b": Seen("m1", "flywheel:b:7")}, {}, ["a", "b"])
    assert first.turns == {"a": "turn:a:m1", "b": "turn:b:m1"} and first.trainings == {"b": "flywheel:b:7"}
    again = plan({"a": Seen("m1"), "b": Seen("m2", "flywheel:b:7")}, first.cursor, ["a", "b"])
    assert again.turns == {"b": "turn:b:m2"} and again.trainings == {}
    assert plan({"b": Seen("m3")}, again.cursor, ["b"]).cursor["b"] == ["m3", "flywheel:b:7", ""]
    assert plan({"c": Seen("m1", "k")}, {}, ["a"]).turns == {}
    search = plan({"b": Seen("m3", "", "prompt:b:7")}, {"b": ["m3", "flywheel:b:7"]}, ["b"])
    assert (search.turns, search.trainings, search.searches) == ({}, {}, {"b": "prompt:b:7"}), "a cursor of an earlier release"
    assert plan({"b": Seen("m3", "", "prompt:b:7")}, search.cursor, ["b"]).searches == {}


def test_feedback_becomes_one_training_by_way_of_the_store(place) -> None:
    place.add("alpha", more=ON)
    place.add("beta")
    register(place.instance, ["alpha", "beta"], ["encoder-frozen"])
    p = place.pipeline
    evaluated(p, "v1", 150)
    assert p.regression("alpha", "v1").metadata["promoted"]
    first = tick(place, watch_flywheels)
    assert [(job, task) for job, task, _ in requested(first)] == [(names.JOB_FLYWHEEL, "alpha")]
    assert requested(tick(place, watch_flywheels, first.cursor)) == [], "nothing has changed"

    for i in range(2):
        demonstration(place, f"my bill is wrong {i}")
    assert not tick(place, watch_feedback).run_requests, "the flywheel waits until there are enough, this one would not"
    second = tick(place, watch_flywheels, first.cursor)
    assert [(job, task) for job, task, _ in requested(second)] == [(names.JOB_FLYWHEEL, "alpha")]

    job = place.defs.resolve_job_def(names.JOB_FLYWHEEL)
    run = job.execute_in_process(partition_key="alpha", instance=place.instance)
    shown = run.get_asset_materialization_events()[0].materialization.metadata
    assert shown["stage"].value == "training" and "2 new demonstrations" in shown["reason"].value + str(shown["decided"].value)
    third = tick(place, watch_flywheels, second.cursor)
    assert (names.JOB_TASK_DATA, "alpha", "flywheel:alpha:2") in requested(third)
    fourth = tick(place, watch_flywheels, third.cursor)
    assert names.JOB_TASK_DATA not in {job for job, *_ in requested(fourth)}
    # A daemon that dies before it saves the cursor asks again with the same key, which Dagster knows.
    assert (names.JOB_TASK_DATA, "alpha", "flywheel:alpha:2") in requested(tick(place, watch_flywheels, second.cursor))


def test_a_store_that_cannot_be_read_is_not_an_empty_one(place) -> None:
    place.add("alpha", more=ON)
    file = place.settings.home / "store" / "store.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database" * 500)
    data = tick(place, watch_flywheels, '{"alpha": ["m", "k"]}')
    assert "cannot be read" in (data.skip_message or "") and not data.run_requests


def test_a_turn_for_a_task_without_a_flywheel_fails_with_what_to_write(place) -> None:
    place.add("alpha")
    register(place.instance, ["alpha"], [])
    with pytest.raises(UserError, match="enabled: true"):
        place.defs.resolve_job_def(names.JOB_FLYWHEEL).execute_in_process(partition_key="alpha", instance=place.instance)


def test_promotion_and_roll_back_move_record_and_alias_and_may_be_done_twice(pipeline) -> None:  # noqa: F811
    for variant, right in (("v1", 150), ("v2", 180)):
        evaluated(pipeline, variant, right)
    pipeline.regression("alpha", "v1")
    packed, report = (pipeline.store.current(kind, "alpha/v2") for kind in (PACKAGES, EVALUATIONS))
    made = promote(pipeline, "alpha", "v2", packed, report)
    assert promote(pipeline, "alpha", "v2", packed, report) == made and alias_of(pipeline) == "v2"
    assert made.previous["variant"] == "v1" and made.previous["previous"] is None

    back = roll_back(pipeline, "alpha", taken_back=packed.digest)
    assert (back.variant, list(back.refused), alias_of(pipeline)) == ("v1", [packed.digest], "v1")
    assert roll_back(pipeline, "alpha", taken_back=packed.digest) == back == read_champion(pipeline.settings.home, "alpha")
    with pytest.raises(UserError, match="no earlier champion"):
        roll_back(pipeline, "alpha")
    # Another test of what was taken back does not bring it back; a person may.
    assert "taken back" in pipeline.regression("alpha", "v2").metadata["reason"]
    assert list(promote(pipeline, "alpha", "v2", packed, report).refused) == []
    assert json.loads((pipeline.settings.home / "champions" / "alpha.json").read_text())["variant"] == "v2"


def test_the_asset_stands_behind_packages_and_drift() -> None:
    from pp_assets.definitions import defs

    node = defs.resolve_asset_graph().get(dg.AssetKey("flywheel"))
    assert {key.to_user_string() for key in node.parent_keys} == {"package", "drift"}
