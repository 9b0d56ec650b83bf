"""The facts behind the next step: counted from the store and the stages, each with its interval, and a step that is logged once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats as sps
from served_rows import Served, remote
from statsmodels.stats.proportion import proportion_confint

from pp_assets.next_steps import decided, log, next_step_of
from pp_assets.pipeline import Pipeline
from pp_assets.routing.facts import facts_of, mean_of, quality, share
from pp_assets.routing.next_step import Standards
from pp_assets.serving.spec import Serving
from pp_resources.settings import Settings
from pp_resources.store import ids
from pp_resources.store.read_work import decisions_on
from pp_resources.store.rows import Feedback
from pp_resources.store.statistics import Score
from pp_resources.store.work import QueueItem

ROUTING: dict[str, Any] = {"metric": "right", "champion": "a", "weights": {"a": 1.0, "b": 1.0}, "horizon": 60.0, "cohort": 20}
STANDARDS = {"good": 0.8, "poor": 0.3, "most_escalated": 0.1, "enough_examples": 2}


@pytest.fixture
def served(tmp_path: Path):
    made = Served(tmp_path, **ROUTING)
    made.declare(ROUTING, STANDARDS)
    made.weights = {"a": 1.0, "b": 0.0}
    with ids.clock(lambda: round((made.clock + 100) * 1e9)):
        yield made


def pipeline(served: Served) -> Pipeline:
    return Pipeline(Settings(served.root / "pp", served.root / "tasks", 1))


def test_facts_are_those_of_the_variant_that_answers(served: Served) -> None:
    rows = served.serve(60, {"a": 0.6})
    for row in rows[:30]:
        served.store.write(QueueItem(inference=row.id, task="toy", reason="unsure"))
        served.store.write(QueueItem(inference=row.id, task="toy", reason="invalid"))
    for cost in (0.1, 0.3):
        served.say(served.answer(variant="b", cost=cost), 0.0)
        served.answer(variant="a", cost=cost)
        served.answer(variant="a", cost=9.0, shadow=True)
    p = pipeline(served)
    found = facts_of(p, p.task("toy"), Standards(**STANDARDS))
    assert (found.variant, found.metric) == ("a", "right")
    facts = found.facts
    right = sum(1 for row in rows if served.said[row.id])
    assert facts.quality.n == 60 and facts.quality.value == pytest.approx(right / 60)
    low, high = proportion_confint(right, 60, method="beta")
    assert low < facts.quality.low < facts.quality.value < facts.quality.high < high  # type: ignore[operator]
    assert facts.escalated is not None and (facts.escalated.n, facts.escalated.value) == (62, pytest.approx(30 / 62))
    assert facts.cost is not None and facts.cost.value == pytest.approx(0.2) and facts.cost.n == 2
    assert not facts.drift and facts.better is None and facts.new_examples == 0


def test_a_step_is_an_artifact_and_a_row_and_the_same_facts_are_logged_once(served: Served) -> None:
    p = pipeline(served)
    assert decided(p, "toy")["rule"] == "unknown"
    served.serve(80, {"a": 0.5})
    for i in range(2):
        served.store.write(Feedback(kind="demonstration", task="toy", input=f"text {i}", output="{}"))
    made = next_step_of(p, "toy")
    assert made.metadata["action"] == "tune" and made.metadata["rule"] == "below good" and made.metadata["new_examples"] == 2
    assert next_step_of(p, "toy").reused
    (row,) = decisions_on(served.store, "toy", kind="next_step")
    assert row["data"]["facts"]["quality"]["n"] == 80 and "train with the 2 new examples" in row["data"]["reason"]
    served.serve(80, {"a": 1.0})
    log(p, "toy", decided(p, "toy"))
    assert len(decisions_on(served.store, "toy", kind="next_step")) == 2


def test_a_winner_that_is_not_the_champion_is_a_change(served: Served) -> None:
    served.weights = {"a": 1.0, "b": 1.0}
    for _ in range(12):
        served.serve(20, {"a": 0.4, "b": 1.0})
        served.move()
    found = decided(pipeline(served), "toy")
    assert found["action"] == "change" and found["facts"]["better"] == "b"


def test_without_standards_nothing_is_decided_and_nothing_logged(served: Served) -> None:
    served.declare(ROUTING)
    made = next_step_of(pipeline(served), "toy")
    assert made.metadata["action"] is None and "declares no serving.standards" in made.metadata["reason"]
    assert not served.store.exists or decisions_on(served.store, "toy") == []


def test_intervals_are_those_of_reference_libraries() -> None:
    values = np.array([1.0, 4.0, 2.5, 3.0])
    mean = quality(Score("t", "v", False, "stars", 4, float(values.mean()), float(values.std(ddof=1))))
    low, high = sps.t.interval(0.95, 3, values.mean(), sps.sem(values))
    assert (mean.low, mean.high) == (pytest.approx(low), pytest.approx(high)) == (mean_of(values).low, mean_of(values).high)  # type: ignore[comparison-overlap]
    less = quality(Score("t", "v", False, "stars", 4, float(values.mean()), float(values.std(ddof=1))), mirror=5.0)
    assert (less.value, less.low, less.high) == (pytest.approx(5 - values.mean()), pytest.approx(5 - high), pytest.approx(5 - low))
    ones = quality(Score("t", "v", False, "right", 50, 0.9, float(np.sqrt(50 / 49 * 0.09))))
    assert (ones.low, ones.high) == (share(45, 50).low, share(45, 50).high)
    alone = quality(Score("t", "v", False, "right", 1, 1.0, None))
    assert alone.low is None and share(0, 0).value is None and mean_of([]).value is None and mean_of([2.0]).low is None


def test_standards_need_a_metric() -> None:
    with pytest.raises(ValidationError, match="without routing there is no metric"):
        Serving.model_validate({"variants": {"a": remote("m")}, "standards": {"good": 0.8, "poor": 0.3}})
    Serving.model_validate({"variants": {"a": remote("m")}, "standards": {"good": 0.8, "poor": 0.3, "metric": "right"}})
    with pytest.raises(ValidationError, match="has prices of its own"):
        Serving.model_validate({"variants": {"a": remote("m"), "b": {"kind": "few_shot", "of": "a", "cost": 0.1}}})
