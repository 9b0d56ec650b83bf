"""Intervals of proportions and of means over trials: against reference libraries, and by how often they cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps
from statsmodels.stats.proportion import proportion_confint

from pp_assets.evaluation.stats import Clusters, clopper_pearson, mid_p, nested_mean, nested_mean_of, proportion_interval, wilson

COUNTS = [(0, 10), (1, 10), (7, 20), (20, 20), (155, 400), (49, 50)]


def coverage(interval, n, rate):
    """Exact: the chance that the interval of a binomial count holds the rate."""
    bounds = [interval(float(k), float(n)) for k in range(n + 1)]
    return sum(sps.binom.pmf(k, n, rate) for k, (low, high) in enumerate(bounds) if low <= rate <= high)


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_clopper_pearson_is_that_of_statsmodels(k, n):
    assert clopper_pearson(k, n) == pytest.approx(proportion_confint(k, n, method="beta"), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_mid_p_lies_within_clopper_pearson_and_equals_it_where_all_or_none_succeed(k, n):
    (low, high), (outer_low, outer_high) = mid_p(k, n), clopper_pearson(k, n)
    assert outer_low <= low + 1e-12 and high <= outer_high + 1e-12
    if k in (0, n):
        assert (low, high) == pytest.approx((outer_low, outer_high))


def test_mid_p_takes_half_of_the_observed_probability():
    low, high = mid_p(7.0, 20.0)
    assert sps.binom.sf(7, 20, low) + sps.binom.pmf(7, 20, low) / 2 == pytest.approx(0.025)
    assert sps.binom.cdf(6, 20, high) + sps.binom.pmf(7, 20, high) / 2 == pytest.approx(0.025)


@pytest.mark.parametrize("n", [20, 50])
def test_mid_p_covers_where_wilson_does_not(n):
    rates = [*np.linspace(0.5, 0.99, 50), *np.linspace(0.99, 0.9999, 50)]
    assert min(coverage(mid_p, n, rate) for rate in rates) >= 0.929
    assert min(coverage(wilson, n, rate) for rate in rates) < 0.9


@given(st.floats(1, 400), st.floats(0, 1), st.floats(0.5, 0.99))
def test_an_interval_holds_its_share_and_grows_with_the_level(n, share, level):
    low, high = mid_p(share * n, n, level)
    assert 0 <= low <= share + 1e-9 and share - 1e-9 <= high <= 1
    wider = mid_p(share * n, n, (1 + level) / 2)
    assert wider[0] <= low + 1e-9 and high <= wider[1] + 1e-9


def test_one_trial_an_item_is_the_interval_of_a_proportion():
    hits = np.array([1.0] * 17 + [0.0] * 3)
    found = nested_mean(hits)
    assert (found.low, found.high) == proportion_interval(hits, Clusters(np.arange(20), 20))[:2]
    assert (found.items, found.values, found.between, found.share_between) == (20, 20, None, None)


def test_trials_that_repeat_each_other_add_nothing():
    once = np.array([1.0] * 20 + [0.0] * 10)
    one, many = nested_mean(once), nested_mean(np.repeat(once[:, None], 20, axis=1))
    assert many.effective_n == 30 and (many.low, many.high) == (one.low, one.high)
    assert many.share_between == 1.0


def test_independent_trials_count_nearly_in_full():
    table = (np.random.default_rng(0).random((200, 5)) < 0.6).astype(float)
    found = nested_mean(table)
    assert 800 < found.effective_n <= 1000
    assert found.share_between < 0.1 and found.within == pytest.approx(0.24, abs=0.02)


def test_all_right_is_no_interval_of_zero_width():
    found = nested_mean(np.ones((20, 5)))
    assert found.effective_n == 20
    assert (found.low, found.high) == (pytest.approx(proportion_confint(20, 20, method="beta")[0]), 1.0)


@pytest.mark.parametrize("values", [np.ones((1, 5)), np.array([[1.0, 0.0]]), np.array([0.3])])
def test_one_item_has_no_interval_but_a_reason(values):
    found = nested_mean(values)
    assert (found.low, found.high) == (None, None) and "fewer than two items" in found.reason
    assert found.value is not None


def test_without_values_there_is_no_mean():
    assert nested_mean(np.full((3, 2), np.nan)).value is None
    assert nested_mean_of([], [], []).reason == "no values"


def test_missing_trials_do_not_count():
    table = np.array([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan], [1.0, 1.0]])
    found = nested_mean(table)
    assert (found.value, found.items, found.values) == (pytest.approx(2.5 / 3), 3, 5)
    columns = nested_mean_of(["c", "a", "b", "b", "c"], [0, 0, 1, 0, 1], [1.0, 1.0, 0.0, 1.0, 1.0])
    assert (columns.value, columns.low, columns.high) == pytest.approx((found.value, found.low, found.high))


def test_ids_of_different_kinds_are_different_items():
    assert nested_mean_of([1, "1", 2], [0, 0, 0], [1.0, 0.0, 1.0]).items == 3


def test_a_trial_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match="trial 0 of item 'a' is there twice"):
        nested_mean_of(["a", "b", "a"], [0, 0, 0], [1.0, 0.0, 1.0])


def test_the_variance_is_split_as_it_was_made():
    rng = np.random.default_rng(1)
    found = nested_mean(rng.normal(0, 2.0, (3000, 1)) + rng.normal(0, 1.0, (3000, 4)))
    assert found.between == pytest.approx(4, rel=0.1) and found.within == pytest.approx(1, rel=0.1)
    assert found.share_between == pytest.approx(0.8, abs=0.02)


def test_values_beyond_0_and_1_get_students_t_on_item_means():
    table = np.random.default_rng(2).normal(100, 20, (12, 3))
    found = nested_mean(table)
    expected = sps.t.interval(0.95, 11, table.mean(), sps.sem(table.mean(1)))
    assert (found.low, found.high) == pytest.approx(expected) and "Student's t on 12 item means" in found.method
    assert nested_mean(np.full((4, 2), 7.0)).reason == "all items are equal"


def test_nested_trials_are_covered_where_flat_ones_are_not():
    rng, flat, nested = np.random.default_rng(3), 0, 0
    for _ in range(300):
        rates = rng.beta(0.67, 0.33, 30)
        table = (rng.random((30, 20)) < rates[:, None]).astype(float)
        low, high = wilson(table.sum(), 600)
        found = nested_mean(table)
        flat, nested = flat + (low <= 0.67 <= high), nested + (found.low <= 0.67 <= found.high)
    assert flat / 300 < 0.7 and nested / 300 > 0.91
