import numpy as np
import pytest

from pp_assets.evaluation.stats import mcnemar, sign_flip_exact
from pp_assets.evaluation.stats.power import (
    grouped_detectable,
    grouped_items,
    grouped_power,
    mcnemar_power,
    mean_detectable_effect,
    minimum_detectable_effect,
    required_items,
)


def simulated_power(n, discordance, effect, trials=2000):
    rng = np.random.default_rng(n)
    b, c, _ = rng.multinomial(n, [(discordance + effect) / 2, (discordance - effect) / 2, 1 - discordance], size=trials).T
    return np.mean([mcnemar(int(x), int(y)).p < 0.05 for x, y in zip(b, c)])


@pytest.mark.parametrize(("n", "discordance", "effect"), [(60, 0.4, 0.2), (155, 0.2, 0.1), (500, 0.15, 0.05)])
def test_power_is_that_of_simulation(n, discordance, effect):
    assert mcnemar_power(n, discordance, effect) == pytest.approx(simulated_power(n, discordance, effect), abs=0.03)


def test_the_detectable_effect_is_found_four_times_in_five():
    effect = minimum_detectable_effect(200, 0.2)
    assert effect == pytest.approx(0.09, abs=0.005)
    assert simulated_power(200, 0.2, effect) == pytest.approx(0.8, abs=0.03)


def test_a_true_null_is_rejected_at_most_at_alpha():
    assert 0.02 < mcnemar_power(155, 0.2, 0.0) <= 0.05


@pytest.mark.parametrize(("effect", "discordance", "formula"), [(0.2, 0.3, 57), (0.1, 0.2, 155), (0.05, 0.15, 469), (0.01, 0.05, 3923)])
def test_required_items_are_those_of_the_formula_and_a_little_more_for_the_exact_test(effect, discordance, formula):
    assert formula <= required_items(effect, discordance) <= formula * 1.13


def test_required_items_reach_the_power_that_they_promise():
    assert mcnemar_power(required_items(0.1, 0.2), 0.2, 0.1) >= 0.8


def test_without_observed_disagreement_the_effect_brings_its_own():
    effect = minimum_detectable_effect(100, 0.0)
    assert mcnemar_power(100, effect, effect) == pytest.approx(0.8, abs=0.01)


def test_on_five_items_nothing_can_be_shown():
    assert minimum_detectable_effect(5, 0.5) is None
    assert minimum_detectable_effect(0, 0.5) is None


def test_the_approximation_for_large_samples_joins_the_exact_value():
    assert minimum_detectable_effect(20_001, 0.2) == pytest.approx(minimum_detectable_effect(20_000, 0.2), rel=0.02)


def test_an_effect_of_zero_needs_no_finite_sample():
    assert required_items(0.0, 0.2) is None


def test_mean_detectable_effect_is_2_8_standard_errors():
    assert mean_detectable_effect(0.01) == pytest.approx(0.028, abs=1e-4)


@pytest.mark.parametrize("design", [1.0, 1.3, 2.5, 4.0])
def test_grouped_items_reach_their_power_and_are_more(design):
    items = grouped_items(0.1, design, 0.2)
    assert required_items(0.1, 0.2) * design * 0.9 < items <= required_items(0.1, 0.2) * design * 1.05
    assert grouped_power(items, design, 0.2, 0.1) >= 0.8
    assert grouped_power(items, design, 0.2, grouped_detectable(items, design, 0.2)) == pytest.approx(0.8, abs=1e-4)


def test_groups_never_add_power_and_too_few_show_nothing():
    powers = [grouped_power(300, design, 0.2, 0.1) for design in (1.0, 1.2, 2.0, 5.0, 300.0)]
    assert powers == sorted(powers, reverse=True) and powers[0] == mcnemar_power(300, 0.2, 0.1)
    assert grouped_detectable(100, 25.0, 0.2) is None
    assert grouped_items(0.0, 2.0, 0.2) is None


def test_the_power_of_grouped_items_is_that_of_simulation():
    rng, found = np.random.default_rng(1), 0
    items = grouped_items(0.1, 2.5, 0.2)
    for _ in range(600):
        shape = (items // 4, 4)
        shared = rng.random(shape) < 0.5**0.5
        luck = np.where(shared, rng.random((shape[0], 1)), rng.random(shape))
        d = (luck < 0.15).astype(float) - (luck > 0.95)
        p = max(mcnemar(int((d > 0).sum()), int((d < 0).sum())).p, sign_flip_exact(d.sum(1)))
        found += p < 0.05
    assert found / 600 == pytest.approx(grouped_power(items, 2.5, 0.2, 0.1), abs=0.05)
