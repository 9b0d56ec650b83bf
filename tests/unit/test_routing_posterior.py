"""Beliefs and shares against a reference, and what shares promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps

from pp_assets.routing.engine import NOBODY, shares
from pp_assets.routing.posterior import best, beta, interval, top_two, with_least


def hits(*pairs: tuple[int, int]) -> np.ndarray:
    """(variants, 3) of right or wrong answers, from (right, n)."""
    return np.array([(n, right, right) for right, n in pairs], dtype=float)


def reference(table: np.ndarray) -> np.ndarray:
    """The chance of each Beta posterior to be the largest, on a grid of 8,000 of its quantiles."""
    u = (np.arange(8000) + 0.5) / 8000
    posts = [sps.beta(1 + right, 1 + n - right) for n, right, _ in table]
    return np.array([np.prod([q.cdf(p.ppf(u)) for q in posts if q is not p], axis=0).mean() for p in posts])


@pytest.mark.parametrize(
    "table",
    [
        hits((0, 0), (0, 0)),
        hits((6, 10), (8, 10)),
        hits((60, 100), (70, 100), (65, 100)),
        hits((699, 1000), (720, 1000)),
        hits((0, 50), (1, 50)),
        hits((5, 5), (990, 1000), (0, 0)),
        hits((70_000, 100_000), (70_200, 100_000), (3, 4)),
    ],
)
def test_chances_to_be_the_best_are_those_of_a_fine_grid(table: np.ndarray) -> None:
    live = np.ones(len(table), dtype=bool)
    assert best(table, live) == pytest.approx(reference(table), abs=0.02)
    assert best(table, live).sum() == pytest.approx(1.0)


def test_what_is_out_of_the_race_has_no_chance_and_changes_none() -> None:
    table = hits((60, 100), (90, 100), (70, 100))
    live = np.array([True, False, True])
    assert best(table, live)[[0, 2]] == pytest.approx(best(table[[0, 2]], live[[0, 2]])) and best(table, live)[1] == 0.0


def test_right_or_wrong_is_the_exact_beta_and_scores_that_vary_less_are_worth_more() -> None:
    assert np.array(beta(hits((6, 10)))).ravel() == pytest.approx([7, 5])
    mean, low, high = interval(hits((6, 10)))
    assert (low[0], high[0]) == pytest.approx(sps.beta.interval(0.95, 7, 5)) and mean[0] == pytest.approx(7 / 12)
    scores = np.random.default_rng(0).beta(60, 40, 400)
    low, high = (part[0] for part in interval(np.array([[400, scores.sum(), (scores**2).sum()]]))[1:])
    classical = 2 * 1.96 * scores.std() / 20
    assert low < scores.mean() < high and classical < high - low < 1.5 * classical


def test_the_interval_of_a_mean_of_scores_covers_it() -> None:
    rng = np.random.default_rng(1)
    scores = rng.beta(3, 1, (2000, 40))
    table = np.stack([np.full(2000, 40.0), scores.sum(1), (scores**2).sum(1)], -1)
    _, low, high = interval(table)
    covered = int(((low <= 0.75) & (high >= 0.75)).sum())
    assert covered >= sps.binom.ppf(0.001, 2000, 0.94)


chances = st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda p: sum(p) > 0.01)


@given(chances, st.floats(0.05, 0.95))
def test_top_two_is_drawing_a_leader_and_then_another(p: list[float], leader_share: float) -> None:
    found = top_two(np.array(p), np.ones(len(p), dtype=bool), leader_share)
    q = np.maximum(p, 1e-12) / np.maximum(p, 1e-12).sum()
    plain = np.zeros(len(p))
    for i in range(len(p)):
        rest = np.where(np.arange(len(p)) == i, 0.0, q)
        plain += q[i] * (leader_share * (np.arange(len(p)) == i) + (1 - leader_share) * rest / rest.sum())
    assert found == pytest.approx(plain, abs=1e-9) and found.sum() == pytest.approx(1.0)


def test_a_certain_leader_gets_its_share_and_the_challengers_the_rest() -> None:
    assert top_two(np.array([1.0, 0.0, 0.0]), np.ones(3, dtype=bool), 0.6) == pytest.approx([0.6, 0.2, 0.2])
    assert top_two(np.array([0.0, 1.0, 0.0]), np.array([False, True, False]), 0.6) == pytest.approx([0.0, 1.0, 0.0])


@given(chances, st.floats(0, 0.16))
def test_each_live_variant_has_its_least(p: list[float], least: float) -> None:
    live = np.arange(len(p)) != 1
    given_ = with_least(top_two(np.where(live, p, 0.0), live), live, least)
    assert given_.sum() == pytest.approx(1.0) and (given_[live] >= least - 1e-12).all() and given_[1] == 0.0


def test_after_a_winner_all_go_to_it_but_for_the_champion_that_guards_compare_with() -> None:
    table, racing = hits((6, 10), (8, 10), (5, 10)), np.ones(3, dtype=bool)

    def after(won: int, kept: float, racing: np.ndarray = racing) -> list[float]:
        return [float(share) for share in shares(table, racing, np.array(won), 0, 0.05, 0.7, kept)]

    assert after(1, 0.05) == pytest.approx([0.05, 0.95, 0.0]) and after(1, 0.0) == pytest.approx([0.0, 1.0, 0.0])
    assert after(0, 0.05) == pytest.approx([1.0, 0.0, 0.0])
    assert after(1, 0.05, np.array([True, False, True])) == pytest.approx([1.0, 0.0, 0.0]), "the winner was rolled back"
    assert min(after(NOBODY, 0.05)) >= 0.05
