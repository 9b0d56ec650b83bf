"""The bench of weights plays what decides for one task, and tells a wrong winner from a right one."""

from dataclasses import replace

import numpy as np
import pytest
from routing_world import share_of

from bench.bandit import SCENARIOS, as_table, is_wrong, measured
from bench.bandit_game import COHORT, Game, Played, Scenario, drawn
from bench.bandit_rows import duplicates
from pp_assets.evaluation.stats import generator
from pp_assets.routing.decision import decide
from pp_assets.routing.evidence import Cohort
from pp_assets.routing.policy import OBJECTIVE, Guard, Routing


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_of_the_bench_is_a_run_of_decide(seed: int) -> None:
    one = Scenario("x", (0.6, 0.8, 0.7), 2000, invalid=(0.02, 0.05, 0.4), epsilon=0.02)
    rng = generator(seed, "same")
    game = Game(one, 1, one.requests // COHORT)
    guard = Guard(metric="invalid", tolerance=one.tolerance)
    policy = Routing(metric="right", champion="a", weights={"a": 1.0, "b": 1.0, "c": 1.0}, epsilon=0.02, guards=[guard], horizon=0.0)
    shares, state, rolled, winner = np.full((1, 3), 1 / 3), None, {}, None
    for i in range(one.requests // COHORT):
        asked = rng.multinomial(COHORT, shares)
        values = drawn(one, rng, asked, i)
        bad = _flags(game, i, asked, values, rng)
        shares = game.shares()
        stats = {
            name: {OBJECTIVE: share_of(int(values[0, k, 1]), int(asked[0, k])), "invalid": share_of(int(bad[k]), int(asked[0, k]))}
            for k, name in enumerate("abc")
        }
        found = decide(state, [Cohort(100.0 * i, 100.0 * (i + 1), stats)], policy, 100.0 * (i + 1))
        state, rolled, winner = found.state, found.state.rolled_back, found.winner
        assert [found.weights[name] for name in "abc"] == pytest.approx(shares[0].tolist(), abs=1e-12)
    assert set(rolled) == {"abc"[k] for k in np.flatnonzero(np.isfinite(game.played.rolled_back[0]))} == {"c"}
    assert winner == "abc"[int(game.played.winner[0])]


def _flags(game: Game, i: int, asked: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How many answers of each variant the guard counted in this step."""
    before = game.guards["invalid"][0].copy()
    game.take_in(i, asked, values, rng)
    made = game.guards["invalid"][0] - before
    return np.asarray(made[0, :, 0] - made[0, :, 1])


def test_duplicates_change_no_decision() -> None:
    assert duplicates(3) == (3, 0)


def test_a_winner_is_wrong_when_another_is_as_good_or_by_epsilon_better() -> None:
    played = Played(np.array([0, 1, -1]), np.array([100.0, 100.0, np.inf]), np.full((3, 2), np.inf))
    for rates, epsilon, wrong in (
        ((0.6, 0.8), 0.0, [True, False, False]),
        ((0.7, 0.7), 0.0, [True, True, False]),
        ((0.7, 0.74), 0.05, [False, False, False]),
        ((0.7, 0.76), 0.05, [True, False, False]),
    ):
        assert is_wrong(Scenario("x", rates, 1000, epsilon=epsilon), played).tolist() == wrong
    drifts = Scenario("x", (0.7, 0.8), 1000, later=(0.7, 0.5), turn=1)
    assert is_wrong(drifts, played).tolist() == [False, True, False], "by the rates at the time"


def test_the_table_has_a_line_for_each_scenario_and_the_worst_share() -> None:
    chosen = [replace(SCENARIOS[0], requests=1000), replace(SCENARIOS[3], requests=500)]
    table = as_table(chosen, [measured(one, 20) for one in chosen], 20, (3, 0))
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 4
    assert table.splitlines()[-1].startswith("RESULT wrong_winner_max=") and "duplicates_changed=0" in table.splitlines()[-1]


def test_the_same_scenario_is_played_alike_each_time() -> None:
    one = replace(SCENARIOS[0], requests=500)
    first, again = measured(one, 10), measured(one, 10)
    assert (first.stopped == again.stopped).all() and all((first.regret[name] == again.regret[name]).all() for name in first.regret)
