"""Intervals that hold at every look."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps

from pp_assets.evaluation.stats import Clusters, always_valid_p, look

LOOKS = range(25, 301, 25)


def differences(rng, n, discordance, effect=0.0):
    return rng.choice([1.0, -1.0, 0.0], n, p=[(discordance + effect) / 2, (discordance - effect) / 2, 1 - discordance])


def test_looking_often_finds_no_winner_between_equals_where_a_fixed_test_does():
    rng, always, fixed = np.random.default_rng(0), 0, 0
    for _ in range(250):
        d = differences(rng, 300, 0.3)
        b, c = (np.cumsum(side)[[n - 1 for n in LOOKS]] for side in (d > 0, d < 0))
        always += any(always_valid_p(d[:n]) < 0.05 for n in LOOKS)
        fixed += bool(np.any(2 * sps.binom.cdf(np.minimum(b, c), b + c, 0.5) < 0.05))
    assert fixed / 250 > 0.09
    assert always / 250 <= 0.05


def test_the_interval_holds_the_truth_at_all_looks_at_once():
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(150):
        scores = (rng.random(200) < 0.9).astype(float)
        found = [look(scores[:n], bounds=(0, 1)) for n in (10, 20, 50, 100, 200)]
        missed += not all(f.low <= 0.9 <= f.high for f in found)
    assert missed / 150 <= 0.05


def test_a_large_effect_is_seen_early_and_a_small_one_later():
    rng = np.random.default_rng(2)
    large, small = differences(rng, 3000, 0.5, 0.4), differences(rng, 3000, 0.15, 0.06)
    first = [next(n for n in range(10, 3001, 10) if look(d[:n]).p < 0.05) for d in (large, small)]
    assert first[0] < 100 < first[1]


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60))
def test_p_and_interval_say_the_same_and_the_order_does_not_matter(values):
    found = look(np.array(values))
    assert -1 <= found.low <= found.mean + 1e-6 and found.mean - 1e-6 <= found.high <= 1
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high) or abs(found.p - 0.05) < 1e-6
    other = look(np.array(sorted(values)))
    assert (other.low, other.high, other.p) == pytest.approx((found.low, found.high, found.p))
    turned = look(-np.array(values))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-6)


def test_another_null_is_tested_by_the_same_interval():
    scores = np.array([1.0] * 95 + [0.0] * 5)
    found = look(scores, bounds=(0, 1), null=0.5)
    assert found.p < 1e-6 and found.low > 0.5
    assert look(scores, bounds=(0, 1), null=0.95).p == 1.0


def test_it_is_wider_than_an_interval_for_one_look_but_not_by_much():
    d = differences(np.random.default_rng(3), 400, 0.2, 0.1)
    found, once = look(d), sps.t.interval(0.95, 399, d.mean(), sps.sem(d))
    assert 1.0 < (found.high - found.low) / (once[1] - once[0]) < 2.0


def test_groups_are_one_bet_each():
    d = differences(np.random.default_rng(6), 40, 0.5, 0.45)
    copies, groups = np.repeat(d, 5), Clusters(np.repeat(np.arange(40), 5), 40)
    alone, grouped = look(d), look(copies, groups)
    assert (grouped.low, grouped.high, grouped.p) == pytest.approx((alone.low, alone.high, alone.p))
    assert (grouped.n, grouped.groups) == (200, 40)
    assert look(copies).p < grouped.p
    assert look(copies, groups, largest=10).p > grouped.p, "smaller bets while a larger group may come"


def test_groups_of_unequal_size_hold_the_mean_over_items():
    rng, missed = np.random.default_rng(5), 0
    for _ in range(200):
        sizes = rng.integers(1, 6, 80)
        rates = rng.beta(2, 1, 80)
        scores = np.concatenate([np.full(s, float(rng.random() < r)) for s, r in zip(sizes, rates)])
        found = look(scores, Clusters(np.repeat(np.arange(80), sizes), 80), bounds=(0, 1))
        missed += not found.low <= 2 / 3 <= found.high
    assert missed / 200 <= 0.05


def test_before_the_first_item_nothing_is_known():
    found = look(np.array([]))
    assert (found.mean, found.low, found.high, found.p) == (None, -1.0, 1.0, 1.0)


def test_all_equal_scores_leave_some_width():
    found = look(np.ones(20), bounds=(0, 1), null=0.5)
    assert 0.7 < found.low < 0.9 and found.high == pytest.approx(1.0)


def test_a_value_out_of_bounds_is_refused():
    with pytest.raises(ValueError, match="outside of -1 to 1"):
        look(np.array([0.0, 2.0]))
    with pytest.raises(ValueError, match="outside"):
        look(np.array([0.0, np.nan]))
