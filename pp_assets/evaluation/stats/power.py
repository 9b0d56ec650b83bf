"""What a paired comparison of a given size could have shown, and what size it would have taken."""

import math
from functools import lru_cache

import numpy as np
import scipy

from pp_assets.evaluation.stats.binomial import binomial_pmf

POWER = 0.8
USUAL_EFFECT = 0.05  # what items and power are planned for where neither the task nor what was observed names an effect
WORST_DISCORDANCE = 0.5  # two systems that each answer half of the items right, independently of each other, disagree on half of them
EXACT_UP_TO = 20_000  # items; beyond it the normal approximation is within a fraction of a percent


@lru_cache(maxsize=128)
def _rejections(n: int, alpha: float) -> np.ndarray:
    """For D = 0..n discordant pairs, shape (n + 1,): the largest min(b, c) at which the exact McNemar test rejects, or -1."""
    pairs = np.arange(n + 1)
    k = scipy.stats.binom.ppf(alpha / 2, pairs, 0.5).astype(np.int64)
    k -= scipy.stats.binom.cdf(k, pairs, 0.5) > alpha / 2
    return np.maximum(k, -1)


def mcnemar_power(n: int, discordance: float, effect: float, alpha: float = 0.05) -> float:
    """Power of the exact two-sided McNemar test on `n` pairs that disagree at rate `discordance` and favour one side by `effect`."""
    effect = abs(effect)
    discordance = min(1.0, max(discordance, effect))
    if discordance <= 0:
        return 0.0
    spread = max(1.0, math.sqrt(n * discordance * (1 - discordance)))
    low, high = max(0, int(n * discordance - 9 * spread)), min(n, int(n * discordance + 9 * spread) + 1)
    pairs = np.arange(low, high + 1)
    k = _rejections(n, alpha)[low : high + 1]
    share = min(1.0, (discordance + effect) / (2 * discordance))
    few, at = np.maximum(k, 0), np.maximum(pairs, 1)  # below zero nothing is rejected, which the next line leaves out
    rejected = scipy.special.bdtr(few, at, share) + scipy.special.bdtrc(at - few - 1, at, share)
    return float(np.sum(binomial_pmf(pairs, n, discordance) * np.where(k >= 0, rejected, 0.0)))


def minimum_detectable_effect(n: float, discordance: float, alpha: float = 0.05, power: float = POWER) -> float | None:
    """Smallest difference of two paired proportions that the exact McNemar test finds with `power` on `n` (effective) items.

    An effect cannot exceed the discordance; where even that is too little, the discordance grows with the effect (all
    disagreements on one side). None when no effect at all could be found on so few items.
    """
    return _detectable(int(n), discordance, alpha, power)


@lru_cache(maxsize=16_384)
def _detectable(size: int, discordance: float, alpha: float, power: float) -> float | None:
    if size < 1:
        return None
    if size > EXACT_UP_TO:
        return float(scipy.optimize.brentq(lambda d: _connor(d, max(discordance, d), alpha, power) - size, 1e-6, 1.0, xtol=1e-7))
    if mcnemar_power(size, 1.0, 1.0, alpha) < power:
        return None
    return float(scipy.optimize.brentq(lambda d: mcnemar_power(size, max(discordance, d), d, alpha) - power, 1e-9, 1.0, xtol=1e-7))


def required_items(effect: float, discordance: float, alpha: float = 0.05, power: float = POWER) -> int | None:
    """Pairs that give `power` for `effect` at `discordance` (Connor 1987; Miettinen 1968). None for an effect of zero."""
    effect = abs(effect)
    if effect <= 0:
        return None
    discordance = min(1.0, max(discordance, effect))
    start = math.ceil(_connor(effect, discordance, alpha, power))
    while start <= EXACT_UP_TO and mcnemar_power(start, discordance, effect, alpha) < power:
        start = math.ceil(start * 1.03) + 1  # the exact test needs a little more than the formula says
    return start


def grouped_power(n: int, design: float, discordance: float, effect: float, alpha: float = 0.05) -> float:
    """Power of the paired test on `n` items in groups with this design effect, where the larger p of items and whole groups counts.

    Between the exact test on n / design independent items, which copies amount to, and the normal approximation, which sums of unlike
    items come close to: the middle of both, which was off by 0.0, 0.8 and 2.1 points for groups of 4 alike at .2, .5 and 1.
    """
    size = n / design
    exact = mcnemar_power(n, discordance, effect, alpha)
    if size < 1 or design <= 1:
        return exact
    discordance = min(1.0, max(discordance, effect))
    spread, z = math.sqrt(max(discordance - effect**2, 1e-12)), _quantiles(alpha, 0.5)[0]
    normal = float(scipy.stats.norm.cdf((math.sqrt(size) * effect - z * math.sqrt(discordance)) / spread))
    return min(exact, (mcnemar_power(int(size), discordance, effect, alpha) + normal) / 2)


def grouped_items(effect: float, design: float, discordance: float, alpha: float = 0.05, power: float = POWER) -> int | None:
    """`required_items` for items in groups with this design effect."""
    single = required_items(effect, discordance, alpha, power)
    if single is None or design <= 1:
        return single
    found = math.ceil(_connor(abs(effect), min(1.0, max(discordance, abs(effect))), alpha, power) * design)
    while found <= EXACT_UP_TO and grouped_power(found, design, discordance, abs(effect), alpha) < power:
        found = math.ceil(found * 1.02) + 1
    return max(single, found)


def grouped_detectable(n: int, design: float, discordance: float, alpha: float = 0.05, power: float = POWER) -> float | None:
    """`minimum_detectable_effect` for items in groups with this design effect."""
    if design <= 1 or n > EXACT_UP_TO:
        return minimum_detectable_effect(n / design, discordance, alpha, power)
    if mcnemar_power(int(n / design), 1.0, 1.0, alpha) < power:
        return None
    return float(scipy.optimize.brentq(lambda d: grouped_power(n, design, max(discordance, d), d, alpha) - power, 1e-9, 1.0, xtol=1e-7))


def mean_detectable_effect(standard_error: float, alpha: float = 0.05, power: float = POWER) -> float:
    """Smallest mean difference found with `power` when the difference has this standard error."""
    return sum(_quantiles(alpha, power)) * standard_error


def mean_power(effect: float, standard_error: float, alpha: float = 0.05) -> float:
    """Power of the two-sided test of a mean difference with this standard error; the inverse of `mean_detectable_effect`."""
    return float(scipy.stats.norm.cdf(abs(effect) / standard_error - _quantiles(alpha, 0.5)[0])) if standard_error > 0 else 1.0


def _connor(effect: float, discordance: float, alpha: float, power: float) -> float:
    z, y = _quantiles(alpha, power)
    return ((z * math.sqrt(discordance) + y * math.sqrt(max(0.0, discordance - effect**2))) / effect) ** 2


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    return float(scipy.stats.norm.ppf(1 - alpha / 2)), float(scipy.stats.norm.ppf(power))
