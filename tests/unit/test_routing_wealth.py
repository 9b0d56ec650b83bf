"""Bets between variants are fair under the claim, whatever the weights do, and win against it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from pp_assets.routing.wealth import STAKES, Sums, centre, log_e, log_growth, reserve, staked


def sums(values: np.ndarray) -> Sums:
    return Sums(np.array(float(len(values))), values.sum(), (values**2).sum())


def expected_growth(n_b: int, n_a: int, m_b: float, m_a: float, middle: float, margin: float) -> np.ndarray:
    """Of each stake, over all outcomes of right or wrong."""
    found = np.zeros(len(STAKES))
    for k_b, k_a in itertools.product(range(n_b + 1), range(n_a + 1)):
        # scipy's overflows for rates near 0.
        chance = math.prod(math.comb(n, k) * m**k * (1 - m) ** (n - k) for n, k, m in ((n_b, k_b, m_b), (n_a, k_a, m_a)))
        better, worse = (Sums(np.array(float(n)), np.array(float(k)), np.array(float(k))) for n, k in ((n_b, k_b), (n_a, k_a)))
        found += chance * np.exp(log_growth(better, worse, np.array(middle), margin))
    return found


rates = st.floats(0, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), rates, rates, rates, st.floats(-0.3, 0.3))
def test_no_stake_gains_on_average_under_the_claim(n_b: int, n_a: int, m_b: float, m_a: float, middle: float, margin: float) -> None:
    """Exact, over all outcomes: unequal numbers, any centre, any means that the claim allows."""
    m_b = min(m_b, max(0.0, m_a + margin))
    if m_b - m_a <= margin:
        assert (expected_growth(n_b, n_a, m_b, m_a, middle, margin) <= 1 + 1e-9).all()


def test_the_bound_is_reached_where_both_have_as_many_values() -> None:
    """A bet that lost on average would be safe and useless: with one value each and centres at the truth it is fair."""
    assert expected_growth(1, 1, 0.7, 0.7, 0.7, 0.0) == pytest.approx(np.ones(len(STAKES)))
    assert (expected_growth(5, 5, 0.8, 0.6, 0.7, 0.0)[2:9] > 1.03).all()


values = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


@given(values, values, rates, st.floats(-0.3, 0.3))
def test_what_is_computed_from_sums_never_exceeds_the_true_wealth(b: np.ndarray, a: np.ndarray, middle: float, margin: float) -> None:
    c = np.clip(middle, 0.05, 0.95)
    high, low = c + margin / 2, c - margin / 2
    w_b, w_a = len(b) / (len(a) + len(b)), len(a) / (len(a) + len(b))
    s = STAKES[:, None] * min(w_b / max(high, 0.05), w_a / max(1 - low, 0.05))
    true = np.log1p(s / w_b * (b - high)).sum(1) + np.log1p(-s / w_a * (a - low)).sum(1)
    found = log_growth(sums(b), sums(a), np.array(middle), margin)
    assert (found <= true + 1e-9).all()
    if set(b.tolist()) | set(a.tolist()) <= {0.0, 1.0}:
        assert found == pytest.approx(true)


def test_values_that_vary_little_are_told_apart_sooner() -> None:
    """Sums of squares are used: the same means, once right or wrong and once all at the mean."""
    n, b, a = np.array(100.0), np.array(75.0), np.array(65.0)
    coarse = log_growth(Sums(n, b, b), Sums(n, a, a), np.array(0.7), 0.0).max()
    fine = log_growth(Sums(n, b, b * 0.75), Sums(n, a, a * 0.65), np.array(0.7), 0.0).max()
    assert fine > 3 * coarse > 0


def test_a_variant_without_values_bets_nothing() -> None:
    some, none = Sums(*map(np.array, (5.0, 3.0, 3.0))), Sums(*map(np.array, (0.0, 0.0, 0.0)))
    assert not log_growth(some, none, np.array(0.5), 0.0).any() and not log_growth(none, some, np.array(0.5), 0.0).any()


def played(rng: np.random.Generator, runs: int, cohorts: int, waves: float, guard: bool) -> np.ndarray:
    """(runs,): the largest log e-value ever, between equal variants whose weights follow what looked better so far."""
    totals, bets = np.zeros((runs, 2, 3)), np.full((runs, len(STAKES)), -np.inf if guard else 0.0)
    top = np.full(runs, -np.inf)
    for i in range(cohorts):
        ahead = centre(totals)
        share = np.where(ahead[:, 0] > ahead[:, 1], 0.9, 0.1)
        n = rng.binomial(20, share)
        n = np.stack([n, 20 - n], 1)
        hits = rng.binomial(n, 0.6 + waves * np.sin(i / 3))
        table = np.stack([n, hits, hits], -1).astype(float)
        growth = log_growth(Sums.of(table[:, 0]), Sums.of(table[:, 1]), ahead.mean(1), 0.0)
        bets = staked(bets, growth, i) if guard else bets + growth
        totals += table
        top = np.maximum(top, log_e(bets, reserve(i + 1) if guard else 0.0))
    return top


@pytest.mark.parametrize(("waves", "guard"), [(0.0, False), (0.3, False), (0.0, True)])
def test_between_equals_one_over_alpha_is_reached_in_at_most_alpha_of_the_runs(waves: float, guard: bool) -> None:
    top = played(np.random.default_rng(0), 1000, 150, waves, guard)
    for alpha in (0.2, 0.05, 0.01):
        assert (top >= np.log(1 / alpha)).sum() <= sps.binom.ppf(0.999, 1000, alpha)
    assert (top >= np.log(2)).sum() > 20, "a bet that never gains would pass, too"


def test_pooled_rates_would_find_a_winner_in_the_same_waves() -> None:
    """What cohorts protect from: weights and difficulty that move together turn pooled sums around."""
    rng = np.random.default_rng(1)
    n = np.array([[400, 100], [100, 400]])  # two stretches, variants
    hits = rng.binomial(n[None].repeat(500, 0), np.array([[0.9], [0.3]])).astype(float)
    wins = np.log(20) <= log_e(_growth(hits.sum(1), n.sum(0)))
    kept = np.log(20) <= log_e(sum(_growth(hits[:, i], n[i]) for i in range(2)))
    assert wins.mean() > 0.99 and kept.sum() <= sps.binom.ppf(0.999, 500, 0.05)


def _growth(hits: np.ndarray, n: np.ndarray) -> np.ndarray:
    table = [Sums(np.full(len(hits), float(n[i])), hits[:, i], hits[:, i]) for i in range(2)]
    return log_growth(table[0], table[1], np.full(len(hits), 0.6), 0.0)


def test_a_guard_sees_what_turns_bad_late_and_plain_bets_have_lost_by_then() -> None:
    rng, fresh, plain = np.random.default_rng(2), np.full(len(STAKES), -np.inf), np.zeros(len(STAKES))
    seen: list[tuple[bool, bool]] = []
    for i in range(100):
        good = rng.binomial(25, [0.7, 0.95 if i < 60 else 0.3])
        better, worse = (Sums(*map(np.array, (25.0, float(k), float(k)))) for k in good)
        growth = log_growth(better, worse, np.array(0.7), 0.0)
        fresh, plain = staked(fresh, growth, i), plain + growth
        seen.append((bool(log_e(fresh, reserve(i + 1)) > np.log(20)), bool(log_e(plain) > np.log(20))))
    assert not any(a or b for a, b in seen[:60])
    first = [next((i for i, one in enumerate(seen) if one[j]), 100) for j in range(2)]
    assert 60 < first[0] < 70 and first[1] > first[0] + 5


def test_the_capital_of_a_guard_is_never_more_than_one() -> None:
    bets = np.full(len(STAKES), -np.inf)
    for i in range(50):
        bets = staked(bets, np.zeros(len(STAKES)), i)
        assert float(log_e(bets, reserve(i + 1))) == pytest.approx(0.0, abs=1e-12)
