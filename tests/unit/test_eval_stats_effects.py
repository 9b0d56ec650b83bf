"""Effect sizes, several p values, margins, and the test for different items."""

import numpy as np
import pytest
from scipy import stats as sps
from statsmodels.stats.effect_size import _noncentrality_t as reference_noncentrality
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from pp_assets.evaluation.stats import (
    Clusters,
    benjamini_hochberg,
    bonett_price,
    cliffs_delta,
    cohens_dz,
    non_inferiority,
    odds_ratio,
    risk_difference,
    welch,
)


def test_a_risk_difference_has_the_interval_of_bonett_and_price():
    found = risk_difference(25, 8, 100)
    assert found.value == pytest.approx(0.17)
    assert (found.low, found.high) == bonett_price(25, 8, 100, 0.95)
    assert risk_difference(0, 0, 0).value is None


def test_the_interval_of_a_risk_difference_covers_it_in_small_samples():
    rng = np.random.default_rng(0)
    b, c, _ = rng.multinomial(30, [0.2, 0.05, 0.75], size=2000).T
    found = [risk_difference(int(x), int(y), 30) for x, y in zip(b, c)]
    assert np.mean([f.low <= 0.15 <= f.high for f in found]) >= 0.94


def test_the_odds_ratio_leaves_out_one_exactly_when_mcnemar_rejects():
    for b in range(20):
        for c in range(20):
            if b + c:
                found, p = odds_ratio(b, c), sps.binomtest(b, b + c, 0.5).pvalue
                assert (found.low > 1 or (found.high is not None and found.high < 1)) == (p < 0.05)
    assert odds_ratio(5, 0).value is None and odds_ratio(5, 0).high is None and odds_ratio(5, 0).low > 0
    assert "agree on every item" in odds_ratio(0, 0).reason


def test_cohens_dz_is_t_over_root_n_with_the_noncentral_interval():
    d = np.random.default_rng(1).normal(0.4, 1.0, 40)
    found = cohens_dz(d)
    t = sps.ttest_1samp(d, 0).statistic
    expected = np.array(reference_noncentrality(t, 39, alpha=0.05).confint) / np.sqrt(40)
    assert found.value == pytest.approx(t / np.sqrt(40))
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-5)


def test_cohens_dz_covers_the_truth():
    rng = np.random.default_rng(2)
    found = [cohens_dz(rng.normal(0.5, 1.0, 15)) for _ in range(300)]
    assert np.mean([f.low <= 0.5 <= f.high for f in found]) > 0.91


def test_differences_that_do_not_vary_have_no_dz():
    assert cohens_dz(np.ones(5)).reason == "all differences are equal"
    assert cohens_dz(np.ones(1)).reason == "fewer than two items"


def test_cliffs_delta_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 9, 60).astype(float), rng.integers(0, 7, 60).astype(float)
    u = sps.mannwhitneyu(a, b).statistic
    found = cliffs_delta(a, b)
    assert found.value == pytest.approx(2 * u / 3600 - 1)
    assert found.low < found.value < found.high
    assert cliffs_delta(b, a).value == pytest.approx(-found.value)


def test_cliffs_delta_of_items_in_groups_is_less_sure():
    rng = np.random.default_rng(4)
    a, b = np.repeat(rng.normal(0.5, 1, 20), 6), np.repeat(rng.normal(0, 1, 20), 6)
    alone, grouped = cliffs_delta(a, b), cliffs_delta(a, b, Clusters(np.repeat(np.arange(20), 6), 20))
    assert grouped.value == alone.value and grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_complete_separation_is_no_interval_of_zero_width():
    found = cliffs_delta(np.arange(10) + 100.0, np.arange(10.0))
    assert (found.value, found.high) == (1.0, 1.0) and found.low < 0.8


def test_cliffs_delta_covers_the_truth():
    rng = np.random.default_rng(5)
    truth = 2 * sps.norm.cdf(0.5 / np.sqrt(2)) - 1
    found = [cliffs_delta(rng.normal(0.5, 1, 40), rng.normal(0, 1, 40), seed=i) for i in range(120)]
    assert np.mean([f.low <= truth <= f.high for f in found]) > 0.88


def test_benjamini_hochberg_is_that_of_statsmodels_in_the_order_given():
    p = [0.04, 0.001, 0.03, 0.2, 0.011]
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize(
    ("effect", "low", "high", "verdict"),
    [(0.0, -0.01, 0.01, "PASS"), (-0.01, -0.019, -0.001, "PASS"), (-0.05, -0.08, -0.02, "FAIL"), (-0.01, -0.05, 0.03, "INCONCLUSIVE")],
)
def test_non_inferiority_has_three_answers(effect, low, high, verdict):
    assert non_inferiority(effect, low, high, 0.02).verdict == verdict


def test_a_margin_of_zero_is_refused():
    with pytest.raises(ValueError, match="not positive"):
        non_inferiority(0.0, -0.1, 0.1, 0.0)


def test_welch_is_that_of_statsmodels():
    rng = np.random.default_rng(6)
    a, b = rng.normal(1, 1, 20), rng.normal(0, 3, 35)
    found, reference = welch(a, b), CompareMeans(DescrStatsW(a), DescrStatsW(b))
    assert found.p == pytest.approx(reference.ttest_ind(usevar="unequal")[1])
    assert (found.low, found.high) == pytest.approx(reference.tconfint_diff(usevar="unequal"))
    assert welch(a[:1], b).reason and welch(np.ones(3), np.ones(4)).p is None
