"""Items or trials: planning by the variances between and within items."""

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from pp_assets.evaluation.stats import (
    Spread,
    design_effect,
    detectable_with,
    half_width_advice,
    items_for,
    items_or_trials,
    power_with,
)

MILLER = Spread(1 / 9, 1 / 6, 1 / 6)


@pytest.mark.parametrize(("spread", "trials", "items"), [(Spread(1 / 9), 1, 969), (MILLER, 1, 3876), (MILLER, 10, 1260)])
def test_the_figures_of_the_paper(spread, trials, items):
    assert items_for(0.03, spread, trials) == pytest.approx(items, abs=1)


def test_power_is_that_of_statsmodels():
    expected = NormalIndPower(ddof=0).power(0.1 / np.sqrt(MILLER.of(1, 1)), 500, 0.05, ratio=0, alternative="larger")
    two_sided = NormalIndPower(ddof=0).power(0.1 / np.sqrt(MILLER.of(1, 1)), 500, 0.05, ratio=0)
    assert power_with(0.1, 500, MILLER) == pytest.approx(two_sided, abs=1e-6)
    assert power_with(0.1, 500, MILLER) < expected


def test_items_and_effect_are_each_others_inverse():
    items = items_for(0.04, MILLER, 3)
    assert detectable_with(items, MILLER, 3) == pytest.approx(0.04, rel=1e-3)
    assert power_with(0.04, items, MILLER, 3) == pytest.approx(0.8, abs=1e-3)


def test_the_power_that_is_promised_is_the_power_that_is_had():
    rng, n, found = np.random.default_rng(0), items_for(0.1, Spread(0.04, 0.1, 0.1), 4), 0
    for _ in range(1000):
        d = rng.normal(0.1, 0.2, n) + rng.normal(0, 0.1**0.5, (4, n)).mean(0) - rng.normal(0, 0.1**0.5, (4, n)).mean(0)
        found += abs(d.mean()) / (d.std(ddof=1) / np.sqrt(n)) > 1.96
    assert found / 1000 == pytest.approx(0.8, abs=0.04)


def test_trials_are_advised_where_they_can_reach_the_effect():
    advice = items_or_trials(1300, MILLER, 0.03)
    assert advice.trials is not None and items_for(0.03, MILLER, advice.trials) <= 1300 < items_for(0.03, MILLER, advice.trials - 1)
    assert advice.items == items_for(0.03, MILLER)


def test_items_are_advised_where_trials_cannot():
    advice = items_or_trials(900, MILLER, 0.03)
    assert advice.trials is None and "trials cannot reach it" in advice.reason
    assert f"add {advice.items - 900} items" in advice.reason


def test_enough_is_told_as_such():
    assert items_or_trials(4000, MILLER, 0.03) == (1, 3876, "4000 items with 1 trial show it")


def test_the_precision_of_one_mean_is_planned_in_the_same_way():
    advice = half_width_advice(100, 0.1, 0.14, 0.05)
    assert advice.trials is None and advice.items == int(np.ceil(0.24 * (1.959964 / 0.05) ** 2))
    assert half_width_advice(200, 0.1, 0.14, 0.05).trials == 5


def test_the_design_effect_is_that_of_the_group_of_an_average_item():
    assert design_effect([5] * 20, 1.0) == 5
    assert design_effect([5] * 20, 0.0) == 1
    assert design_effect([1, 9], 0.5) == pytest.approx(1 + 7.2 * 0.5)
