import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from pp_assets.evaluation.stats import (
    Clusters,
    bca_interval,
    benjamini_hochberg,
    bonett_price,
    bootstrap_weights,
    effective_n,
    flat_margin,
    generator,
    holm,
    mcnemar,
    proportion_interval,
    quantile_interval,
    sign_flip_exact,
    swap_test,
    wilson,
)


def mean(sums):
    return sums[..., 0] / sums[..., 1]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (7, 20), (20, 20), (155, 400), (1, 1)])
def test_wilson_is_that_of_statsmodels(k, n):
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_twenty_of_twenty_prove_84_percent():
    assert wilson(20, 20)[0] == pytest.approx(0.839, abs=5e-4)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (6, 0), (5, 5), (12, 3), (3, 12), (40, 25), (400, 330)])
def test_exact_mcnemar_is_that_of_statsmodels(b, c):
    expected = reference_mcnemar([[10, b], [c, 10]], exact=True).pvalue if b + c else 1.0
    assert mcnemar(b, c).p == pytest.approx(expected, rel=1e-9)


def test_mid_p_takes_half_of_the_observed_probability():
    b, c = 12, 3
    assert mcnemar(b, c).mid_p == pytest.approx(2 * (sps.binom.cdf(2, 15, 0.5) + sps.binom.pmf(3, 15, 0.5) / 2))
    assert mcnemar(5, 5).mid_p == 1.0


def test_five_discordant_pairs_cannot_be_significant_and_six_can():
    assert mcnemar(5, 0).p == 0.0625
    assert mcnemar(6, 0).p < 0.05


def test_exact_sign_flip_of_single_items_is_mcnemar():
    assert sign_flip_exact(np.array([1.0] * 12 + [-1.0] * 3 + [0.0] * 40)) == pytest.approx(mcnemar(12, 3).p)


def test_exact_sign_flip_agrees_with_all_patterns_of_scipy():
    sums = np.array([3.0, -1.0, 2.0, 2.0, -1.0, 4.0, 0.0, 1.0])
    reference = sps.permutation_test((sums, np.zeros(8)), lambda x, y: np.sum(x - y), permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_exact(sums) == pytest.approx(reference.pvalue)


def test_exact_sign_flip_without_differences_is_one():
    assert sign_flip_exact(np.zeros(5)) == 1.0


def test_swap_test_agrees_with_scipy_on_means():
    rng = np.random.default_rng(0)
    for n in (10, 60):
        a, b = rng.integers(0, 9, n).astype(float), rng.integers(0, 8, n).astype(float)
        reference = sps.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20000, rng=1).pvalue
        one = np.ones(n)
        p, _ = swap_test(mean, np.stack([a, one], 1), np.stack([b, one], 1), generator(0))
        assert p == pytest.approx(reference, abs=0.015)


def test_swap_test_of_equal_systems_is_one():
    table = np.ones((30, 2))
    assert swap_test(mean, table, table, generator(0)) == (1.0, "no group differs")


def test_ignoring_groups_rejects_a_true_null_far_too_often_and_the_clustered_test_does_not():
    rng = np.random.default_rng(5)
    naive, clustered, trials = 0, 0, 400
    for _ in range(trials):
        shared_a, shared_b = rng.random(30), rng.random(30)  # strongly correlated answers within each of 30 groups of 6
        a = rng.random((30, 6)) < np.where(shared_a < 0.5, 0.9, 0.1)[:, None]
        b = rng.random((30, 6)) < np.where(shared_b < 0.5, 0.9, 0.1)[:, None]
        gain = a.astype(int) - b.astype(int)
        naive += mcnemar(int((gain > 0).sum()), int((gain < 0).sum())).p < 0.05
        clustered += sign_flip_exact(gain.sum(1).astype(float)) < 0.05
    assert naive / trials > 0.2
    assert clustered / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_effective_n_is_n_for_single_items_and_the_number_of_groups_for_copies():
    groups = [f"g{i // 5}" for i in range(100)]
    copies = np.repeat(np.arange(20) % 2, 5).astype(float)
    assert effective_n(copies, Clusters.of([str(i) for i in range(100)])) == 100
    assert effective_n(copies, Clusters.of(groups)) == pytest.approx(20, rel=0.08)
    assert effective_n(np.ones(100), Clusters.of(groups)) == 20


def test_grouped_proportion_intervals_cover_the_truth_where_plain_wilson_does_not():
    rng = np.random.default_rng(2)
    groups = Clusters.of([str(i // 8) for i in range(200)])
    plain, grouped = 0, 0
    for _ in range(400):
        rate = rng.beta(0.7, 0.3, 25)
        hits = (rng.random((25, 8)) < rate[:, None]).astype(float).ravel()
        low, high = wilson(hits.sum(), 200)
        plain += low <= 0.7 <= high
        low, high, method = proportion_interval(hits, groups)
        grouped += low <= 0.7 <= high
        assert "effective items (200 in 25 groups)" in method
    assert plain / 400 < 0.75
    assert grouped / 400 > 0.92


def test_bca_agrees_with_scipy():
    data = np.random.default_rng(3).gamma(2.0, 10.0, 80).round()
    sums = np.stack([data, np.ones(80)], axis=1)
    boot = mean(bootstrap_weights(80, generator(1), 6000) @ sums)
    low, high, method = bca_interval(boot, float(data.mean()), mean(sums.sum(0) - sums), 0.95)
    wider = 2 * sps.norm.cdf(sps.t.ppf(0.975, 79) * (80 / 79) ** 0.5) - 1
    reference = sps.bootstrap((data,), np.mean, method="BCa", n_resamples=6000, rng=1, confidence_level=wider).confidence_interval
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.35)
    assert method == "BCa bootstrap over groups"


def test_few_groups_give_wide_intervals_within_what_was_resampled():
    sums = np.array([[1.0, 1], [0, 1], [5, 1]])
    boot = mean(bootstrap_weights(3, generator(1)) @ sums)
    low, high, _ = bca_interval(boot, 2.0, mean(sums.sum(0) - sums), 0.95)
    assert low == boot.min() and high == boot.max()


def test_bootstrap_draws_as_many_groups_as_there_are():
    weights = bootstrap_weights(17, generator(0), 50)
    assert weights.shape == (50, 17)
    assert np.all(weights.sum(axis=1) == 17)


def test_quantile_interval_covers_the_true_quantile():
    rng = np.random.default_rng(4)
    found = [quantile_interval(rng.exponential(1.0, 60), 0.5) for _ in range(300)]
    assert sum(f.low <= np.log(2) <= f.high for f in found) / 300 >= 0.93


def test_a_small_sample_has_no_upper_bound_for_a_high_quantile():
    assert quantile_interval(np.arange(10.0), 0.95).high is None


def test_bonett_price_is_not_of_zero_width_without_discordant_pairs():
    low, high = bonett_price(0, 0, 100, 0.95)
    assert low == pytest.approx(-high)
    assert 0.02 < high < 0.04


def test_flat_margin_is_clopper_pearson_at_n_of_n():
    assert 1 - flat_margin(20, 0.95) == pytest.approx(proportion_confint(20, 20, method="beta")[0])


def test_holm_keeps_the_order_of_its_input():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def test_draws_depend_on_seed_and_purpose_only():
    assert generator(1, "a").random() == generator(1, "a").random()
    assert len({generator(1, "a").random(), generator(1, "b").random(), generator(2, "a").random()}) == 3


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_values_are_those_of_statsmodels(p_values):
    from statsmodels.stats.multitest import multipletests

    for ours, method in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
        wanted = multipletests(p_values, method=method)[1] if p_values else []
        assert ours(p_values) == pytest.approx(list(wanted))
