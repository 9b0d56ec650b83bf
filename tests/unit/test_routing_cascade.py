"""A threshold is named only where it is proven, costs least among those, and holds on new rows."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from pp_assets.routing.cascade import fit_cascade, loss_p
from pp_resources.errors import UserError

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(rng: np.random.Generator, n: int) -> Rows:
    """A calibrated cheap variant, and a better one that is right on most of what the cheap one misses."""
    sure = np.round(rng.beta(3, 1, n), 2)
    cheap = rng.random(n) < sure
    return sure, cheap, rng.random(n) < np.where(cheap, 0.97, 0.75)


def losses(thresholds: np.ndarray) -> dict[float, float]:
    """Share of answers lost on any number of new rows, by threshold."""
    sure, cheap, better = rows(np.random.default_rng(99), 200_000)
    lost = better.astype(float) - cheap
    return {at: float(lost[sure >= at].sum() / len(sure)) for at in thresholds.tolist()}


def test_the_promise_holds_on_new_rows_as_often_as_is_said() -> None:
    """40 fits to 300 rows: thresholds that lose more than tolerated are at most as many as delta gives in 999 of 1000 times."""
    truth = losses(np.round(np.arange(0, 1.01, 0.01), 2))
    rng, broken, named = np.random.default_rng(0), 0, 0
    for _ in range(40):
        found = fit_cascade(*rows(rng, 300), 1.0, 10.0, tolerance=0.05, delta=0.2)
        if found.threshold is not None:
            named += 1
            broken += truth[round(found.threshold, 2)] > 0.05
    assert named > 25 and broken <= sps.binom.ppf(0.999, 40, 0.2)


def test_what_is_kept_and_what_it_costs_are_those_of_the_rows() -> None:
    sure, cheap, better = rows(np.random.default_rng(1), 2000)
    found = fit_cascade(sure, cheap, better, 1.0, 10.0, tolerance=0.03)
    assert found.threshold is not None
    kept = sure >= found.threshold
    assert found.kept.value == pytest.approx(kept.mean()) and found.kept.low < kept.mean() < found.kept.high
    assert found.cost.value == pytest.approx(1 + 10 * (1 - kept.mean())) and found.cost.low < found.cost.value < found.cost.high < 10
    assert found.quality.value == pytest.approx(np.where(kept, cheap, better).mean())
    assert found.better.value - found.quality.value <= 0.03
    assert f"from a confidence of {found.threshold:.4g}" in found.reason
    assert json.loads(json.dumps(found.plain()))["threshold"] == found.threshold


def test_more_tolerance_and_more_rows_keep_more() -> None:
    few, many = rows(np.random.default_rng(2), 400), rows(np.random.default_rng(2), 4000)
    assert [fit_cascade(*few, 1, 10, tolerance=t).kept.value for t in (0.02, 0.05, 0.1)] == sorted(
        fit_cascade(*few, 1, 10, tolerance=t).kept.value for t in (0.02, 0.05, 0.1)
    )
    assert fit_cascade(*few, 1, 10, tolerance=0.03).kept.value < fit_cascade(*many, 1, 10, tolerance=0.03).kept.value


def test_a_confidence_that_says_nothing_proves_nothing_and_everything_goes_to_the_better_one() -> None:
    rng = np.random.default_rng(3)
    found = fit_cascade(np.round(rng.random(500), 1), rng.random(500) < 0.5, rng.random(500) < 0.95, 1.0, 10.0)
    assert found.threshold is None and "no threshold is proven on 500 rows" in found.reason
    assert found.kept.value == 0 and found.cost.value == 10 and found.quality == found.better


def test_a_proven_threshold_that_saves_nothing_is_not_named() -> None:
    sure = np.where(np.arange(400) < 4, 1.0, 0.5)
    found = fit_cascade(sure, sure > 0.9, np.ones(400, dtype=bool), 5.0, 10.0)
    assert found.threshold is None and "saves anything: 14.9 an answer, 10 with the better one alone" in found.reason
    assert found.cost.value == 10


def test_rows_without_confidence_are_never_kept() -> None:
    sure, cheap, better = rows(np.random.default_rng(5), 1000)
    some = [None if i % 2 else float(s) for i, s in enumerate(sure)]
    found = fit_cascade(some, cheap, better, 1.0, 10.0, tolerance=0.05)
    assert 0 < found.kept.value <= 0.5


def test_of_rows_that_belong_together_one_counts() -> None:
    base = rows(np.random.default_rng(6), 400)
    copies = tuple(np.repeat(part, 5) for part in base)
    groups = [str(i // 5) for i in range(2000)]
    assert fit_cascade(*copies, 1.0, 10.0, tolerance=0.04, groups=groups) == fit_cascade(*base, 1.0, 10.0, tolerance=0.04)


def test_too_few_rows_are_refused_with_how_many_it_takes() -> None:
    few = rows(np.random.default_rng(7), 100)
    with pytest.raises(UserError, match=r"100 independent rows cannot prove .* of at most 0.02 .*; give 150 or more"):
        fit_cascade(*few, 1.0, 10.0, tolerance=0.02)
    perfect = np.ones(150, dtype=bool)
    assert fit_cascade(np.full(150, 0.9), perfect, perfect, 1.0, 10.0, tolerance=0.02).threshold == 0.0
    assert fit_cascade(np.full(150, 0.9), perfect, perfect, 1.0, 10.0, tolerance=0.02).cost.value == 1.0


@settings(max_examples=8, deadline=None)
@given(st.integers(20, 60), st.floats(0.02, 0.2), st.floats(0.0, 0.3))
def test_p_is_below_alpha_in_at_most_alpha_of_all_outcomes(n: int, tolerance: float, gain: float) -> None:
    """Exact: the chance, over all pairs of counts, of a p value at or below alpha when the loss is as large as tolerated."""
    chance = {0.05: 0.0, 0.2: 0.0}
    lost, gained = gain + tolerance, gain
    for k in range(n + 1):
        at = sps.binom.pmf(k, n, lost + gained)
        if at < 1e-9:
            continue
        for x in range(k + 1):
            weight = at * sps.binom.pmf(x, k, lost / (lost + gained))
            if weight < 1e-7 or x - (k - x) >= n * tolerance:
                continue
            p = loss_p(x, k - x, n, tolerance)
            for alpha in chance:
                chance[alpha] += weight * (p <= alpha)
    assert all(total <= alpha + 1e-4 for alpha, total in chance.items())


def test_p_is_defined_where_all_answers_differ() -> None:
    assert loss_p(10, 10, 20, 0.1) < 1 and loss_p(0, 20, 20, 0.1) < 0.01 and loss_p(20, 0, 20, 0.1) == 1.0


def test_without_a_difference_p_is_the_chance_of_no_loss() -> None:
    assert loss_p(0, 0, 200, 0.02, 0.001) == pytest.approx(0.98**200 + 0.001, rel=1e-3)
    assert loss_p(10, 0, 100, 0.05) > 0.9 and loss_p(0, 10, 100, 0.05) < 0.01
