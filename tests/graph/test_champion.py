"""The champion and its challengers on stored predictions, with the alias in a real MLflow store."""

import json

import pytest

from pp_assets.champion import read_champion
from pp_assets.evaluation.predictions import PredictionRow, System, write_systems
from pp_assets.pipeline import EVALUATIONS, PACKAGES, Pipeline
from pp_resources.tracking import CHAMPION, MlflowTracker

RIGHT, WRONG = '{"kind":"billing","order":null}', '{"kind":"returns","order":null}'


@pytest.fixture
def pipeline(place) -> Pipeline:
    place.add("alpha")
    home = place.settings.home
    return Pipeline(place.settings, MlflowTracker(f"sqlite:///{home}/mlflow/mlflow.db", (home / "a").as_uri(), home))


def evaluated(p: Pipeline, variant: str, right: int, *, verdict: str = "SHIP", items: int = 200, prefix: str = "i") -> None:
    """A report and a package of a variant that has this many of its items right."""
    rows = [PredictionRow(f"{prefix}{i:03}", f"g{i}", f"text {i}", RIGHT, RIGHT if i < right else WRONG) for i in range(items)]
    inputs = {"made": json.dumps([variant, right, verdict, items, prefix])}

    def report(out) -> dict:
        write_systems(out / "predictions", [System(name=variant, kind="candidate", description="", rows=rows)])
        return {"verdict": verdict}

    p.store.produce(EVALUATIONS, f"alpha/{variant}", inputs, report)
    p.store.produce(PACKAGES, f"alpha/{variant}", inputs, lambda out: (out / "x").write_text(inputs["made"]) and {"verdict": verdict})


def alias_of(p: Pipeline) -> str:
    tracker = p.tracker
    assert isinstance(tracker, MlflowTracker)
    return tracker.client.get_model_version_by_alias("alpha", CHAMPION).tags["variant"]


def test_the_first_adapter_that_may_ship_becomes_champion(pipeline: Pipeline) -> None:
    evaluated(pipeline, "v0", 150, verdict="NOT ENOUGH DATA")
    assert not pipeline.regression("alpha", "v0").metadata["promoted"] and read_champion(pipeline.settings.home, "alpha") is None

    evaluated(pipeline, "v1", 150)
    first = pipeline.regression("alpha", "v1")
    assert first.metadata["outcome"] == "FIRST" and first.metadata["promoted"]
    champion = read_champion(pipeline.settings.home, "alpha")
    assert champion is not None and champion.variant == "v1" and alias_of(pipeline) == "v1"
    assert pipeline.regression("alpha", "v1").reused, "asking again tests nothing again"


def test_a_better_challenger_takes_the_place_and_a_worse_one_is_a_regression(pipeline: Pipeline) -> None:
    evaluated(pipeline, "v1", 150)
    pipeline.regression("alpha", "v1")
    evaluated(pipeline, "v2", 180)
    assert pipeline.regression("alpha", "v2").metadata["outcome"] == "PASS" and alias_of(pipeline) == "v2"
    evaluated(pipeline, "v3", 120)
    worse = pipeline.regression("alpha", "v3").metadata
    assert worse["outcome"] == "FAIL" and not worse["promoted"] and alias_of(pipeline) == "v2"


def test_a_challenger_that_may_not_ship_never_takes_the_place(pipeline: Pipeline) -> None:
    evaluated(pipeline, "v1", 150)
    pipeline.regression("alpha", "v1")
    evaluated(pipeline, "v2", 190, verdict="DO NOT SHIP")
    assert not pipeline.regression("alpha", "v2").metadata["promoted"] and alias_of(pipeline) == "v1"


def test_a_champion_of_other_test_items_gives_way_to_what_ships_today(pipeline: Pipeline) -> None:
    evaluated(pipeline, "v1", 190, prefix="old")
    pipeline.regression("alpha", "v1")
    evaluated(pipeline, "v1", 150, prefix="new")
    again = pipeline.regression("alpha", "v1").metadata
    assert again["outcome"] == "OTHER DATA" and again["promoted"] and "answered other test items" in again["reason"]
