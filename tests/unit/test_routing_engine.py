"""Who has won, which guards bet on what, and the error rates of the whole, played."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as sps

from bench.bandit_game import Scenario, play
from pp_assets.routing.engine import NOBODY, guard_growth, least_lead, race_growth, winner
from pp_assets.routing.wealth import Sums, log_growth

ALL = np.ones(3, dtype=bool)
NONE = np.zeros(3, dtype=bool)


def races(e_of_first: tuple[float, float]) -> np.ndarray:
    """Log e-values of three variants: the first against the other two, nothing elsewhere."""
    found = np.zeros((3, 3))
    found[0, 1:] = np.log(e_of_first)
    return found


def test_a_winner_has_variants_over_delta_against_each_other_one() -> None:
    assert winner(races((61, 61)), ALL, NONE, 0.05) == 0
    assert winner(races((59, 1e9)), ALL, NONE, 0.05) == NOBODY and winner(races((61, 61)), ALL, NONE, 0.04) == NOBODY
    assert least_lead(races((61, 70)), ALL)[0] == pytest.approx(np.log(61))


def test_what_was_rolled_back_needs_no_beating_and_cannot_win() -> None:
    assert winner(races((61, 1)), np.array([True, True, False]), NONE, 0.05) == 0
    assert winner(races((61, 61)), np.array([False, True, True]), NONE, 0.05) == NOBODY
    assert winner(races((61, 61)), np.array([True, False, False]), NONE, 0.05) == NOBODY, "nobody is left to win against"


def test_what_a_guard_suspects_does_not_win() -> None:
    assert winner(races((61, 61)), ALL, np.array([True, False, False]), 0.05) == NOBODY
    assert winner(races((61, 61)), ALL, np.array([False, True, True]), 0.05) == 0


def test_runs_side_by_side_are_the_runs_alone() -> None:
    both = np.stack([races((61, 61)), races((2, 2))])
    assert winner(both, np.stack([ALL, ALL]), np.stack([NONE, NONE]), 0.05).tolist() == [0, NOBODY]


def table(*rows: tuple[int, int]) -> np.ndarray:
    return np.array([(n, k, k) for k, n in rows], dtype=float)


def test_rows_bet_on_being_better_than_columns_by_more_than_minus_epsilon() -> None:
    before, cohort = table((3, 8), (5, 8), (0, 0)), table((20, 30), (10, 25), (4, 4))
    found = race_growth(before, cohort, 0.02)
    middle = np.array((4 / 10 + 6 / 10) / 2)
    alone = log_growth(Sums.of(cohort[0]), Sums.of(cohort[1]), middle, -0.02)
    assert found[0, 1] == pytest.approx(alone) and found.shape == (3, 3, 12)
    assert found[0, 1, 8] > 0 > found[1, 0, 8]
    assert (race_growth(before, cohort, 0.1)[0, 1] > found[0, 1]).all(), "an easier claim to beat"


def test_guards_bet_on_being_worse_than_the_champion_by_more_than_the_tolerance() -> None:
    before, cohort = table((0, 0), (0, 0), (0, 0)), table((19, 20), (10, 20), (19, 20))
    found = guard_growth(before, cohort, 0, 0.1)
    assert found[1, 8] > 0 > found[2, 8] and found[0, 8] <= 0
    assert found[1] == pytest.approx(log_growth(Sums.of(cohort[0]), Sums.of(cohort[1]), np.array(0.5), 0.1))
    assert (guard_growth(before, cohort, 0, 0.3)[1] < found[1]).all()


EQUAL = Scenario("equal", (0.7, 0.7), 1500)
RUNS = 100
MOST = sps.binom.ppf(0.999, RUNS, 0.05)


@pytest.mark.parametrize(
    "one",
    [
        EQUAL,
        replace(EQUAL, name="waves", waves=0.2),
        replace(EQUAL, name="answered", answered=(0.9, 0.3)),
        replace(EQUAL, name="late", delays=((0, 0), (0, 5)), horizon=5),
    ],
    ids=lambda one: one.name,
)
def test_between_equals_a_winner_is_declared_in_at_most_delta_of_the_runs(one: Scenario) -> None:
    won = play(one, RUNS, "top-two").winner != NOBODY
    assert won.sum() <= MOST


def test_the_same_counts_said_three_times_would_break_that() -> None:
    won = play(replace(EQUAL, name="copies", copies=3), RUNS, "top-two").winner != NOBODY
    assert won.sum() > MOST


def test_equal_variants_are_rolled_back_in_at_most_alpha_of_the_runs_and_a_bad_one_soon() -> None:
    one = replace(EQUAL, invalid=(0.1, 0.1), tolerance=0.0)
    assert np.isfinite(play(one, RUNS, "top-two").rolled_back).sum() <= MOST
    bad = play(replace(one, name="bad", requests=600, invalid=(0.02, 0.4), tolerance=0.05), RUNS, "top-two").rolled_back[:, 1]
    assert np.median(bad) <= 250 and np.isfinite(bad).mean() > 0.97, "but where the champion won before"


def test_the_better_one_wins_and_hardly_ever_the_other() -> None:
    found = play(Scenario("clear", (0.8, 0.6), 1500), RUNS, "top-two")
    assert (found.winner == 0).mean() > 0.99 and (found.winner == 1).sum() == 0
