"""What a task may declare about routing, and what is refused with the place named."""

from typing import Any

import pytest
from pydantic import ValidationError

from pp_assets.routing.policy import Guard, Routing
from pp_assets.task.spec_file import user_error

PLAIN: dict[str, Any] = {"metric": "resolved", "champion": "base", "weights": {"base": 1.0, "lora-r8": 1.0}}


def complaint(**changes: Any) -> str:
    with pytest.raises(ValidationError) as found:
        Routing.model_validate(PLAIN | changes)
    return str(user_error(found.value, Routing, "task.yaml"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epsilom": 0.1}, "did you mean 'epsilon'?"),
        ({"champion": "bsae"}, "champion: 'bsae' does not answer; did you mean 'base'?"),
        ({"low": 1.0}, "low: the range from 1 to 1 is empty"),
        ({"min_share": 0.6}, "min_share: 0.6 for each of 2 variants is more than there is"),
        ({"shadow": {"base": 0.1}}, "shadow: 'base' answers already"),
        ({"cost_weight": 0.1}, "most_cost: cost_weight and most_cost go together"),
        ({"weights": {"base": 0.0}}, "weights.base: Input should be greater than 0"),
        ({"weights": {"Base": 1.0}}, "String should match pattern"),
        ({"delta": 0.7}, "delta: Input should be less than 0.5"),
        ({"epsilon": 1.0}, "epsilon: is wider than the range of the objective"),
        ({"guards": [{"metric": "x", "tolerance": 0.1}, {"metric": "x", "tolerance": 0.2}]}, "guards: two metrics are called 'x'"),
        ({"guards": [{"metric": "objective", "tolerance": 0.1}]}, "guards: two metrics are called 'objective'"),
        ({"guards": [{"metric": "rude", "tolerance": 0.1}]}, "guards: 'rude' comes from feedback, which takes time; give it a horizon"),
        ({"guards": [{"metric": "latency_ms", "tolerance": 0.1}]}, "guards: latency_ms is in milliseconds"),
        ({"guards": [{"metric": "ms", "above": 800.0, "tolerance": 0.1, "high": 9.0}]}, "above: counts a share that is better when low"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(changes: dict[str, Any], told: str) -> None:
    assert told in complaint(**changes)


def test_the_objective_is_the_metric_less_the_worth_of_its_cost_in_a_known_range() -> None:
    policy = Routing.model_validate(PLAIN | {"high": 5.0, "cost_weight": 2.0, "most_cost": 0.5})
    assert (policy.bottom, policy.top) == (-1.0, 5.0)
    assert policy.objective(4.0, 0.25) == pytest.approx(3.5)
    assert policy.objective(9.0, 0.0) == 5.0 and policy.objective(-9.0, 99.0) == -1.0
    less = Routing.model_validate(PLAIN | {"high": 5.0, "higher_is_better": False})
    assert less.objective(1.0) == 4.0 and less.objective(1.0, cost=3.0) == 4.0, "cost has no worth by default"


def test_a_guard_counts_values_in_their_range_or_how_often_they_are_above() -> None:
    assert Guard(metric="ms", high=1000.0, tolerance=10.0).counted(5000.0) == 1000.0
    above = Guard(metric="ms", above=800.0, tolerance=0.02)
    assert (above.counted(801.0), above.counted(800.0), above.name) == (1.0, 0.0, "ms>800")


def test_an_experiment_is_its_question_not_its_pace() -> None:
    one = Routing.model_validate(PLAIN)
    same = [{"min_share": 0.1}, {"cohort": 100}, {"weights": {"lora-r8": 3.0, "base": 1.0}}, {"leader_share": 0.5}]
    other = [{"delta": 0.1}, {"weights": {"base": 1.0}}, {"high": 2.0}, {"shadow": {"new": 0.1}}, {"metric": "liked"}]
    assert {Routing.model_validate(PLAIN | change).experiment for change in same} == {one.experiment}
    assert len({Routing.model_validate(PLAIN | change).experiment for change in other} | {one.experiment}) == len(other) + 1
