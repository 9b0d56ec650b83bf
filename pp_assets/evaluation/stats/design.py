"""How many items and how many trials: planning where answers are drawn at random, and where items come in groups."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import scipy

from pp_assets.evaluation.stats.power import POWER


class Spread(NamedTuple):
    """Variance of the difference of two systems on an item: `between` items (of the difference of their means over endless trials), and
    of one trial of each system around its own mean."""

    between: float
    within_a: float = 0.0
    within_b: float = 0.0

    def of(self, trials_a: int, trials_b: int) -> float:
        """Variance of an item's difference with so many trials of each system."""
        return self.between + self.within_a / trials_a + self.within_b / trials_b


class Advice(NamedTuple):
    """What reaches the target: `trials` of each item as they are (None: no number does), or `items` with the trials that are made now."""

    trials: int | None
    items: int
    reason: str


def design_effect(sizes: Sequence[int], icc: float) -> float:
    """By how much grouped items count for less: 1 + (m - 1) * icc with m the size of the group of an average item (Kish 1965).

    `icc` is how alike items of a group are, 0 for not at all, 1 for copies.
    """
    average = sum(size * size for size in sizes) / sum(sizes)
    return 1 + (average - 1) * icc


def items_for(effect: float, spread: Spread, trials: int = 1, alpha: float = 0.05, power: float = POWER) -> int:
    """Items that show a mean difference of `effect` with `power`: (z + z)² (w² + s_a² / K + s_b² / K) / effect² (Miller 2024, eq. 9)."""
    return math.ceil(_quantiles(alpha, power) ** 2 * spread.of(trials, trials) / effect**2 - 1e-9)


def detectable_with(items: float, spread: Spread, trials: int = 1, alpha: float = 0.05, power: float = POWER) -> float:
    """The smallest mean difference that `items` show with `power`."""
    return _quantiles(alpha, power) * math.sqrt(spread.of(trials, trials) / items)


def power_with(effect: float, items: float, spread: Spread, trials: int = 1, alpha: float = 0.05) -> float:
    """Power to show a mean difference of `effect` on so many items."""
    variance = spread.of(trials, trials) / items
    return float(scipy.stats.norm.cdf(abs(effect) / math.sqrt(variance) - scipy.stats.norm.ppf(1 - alpha / 2))) if variance > 0 else 1.0


def items_or_trials(items: int, spread: Spread, effect: float, trials: int = 1, alpha: float = 0.05, power: float = POWER) -> Advice:
    """Whether to add trials or items so that `effect` is shown with `power`, from `items` with `trials` of each now."""
    allowed = items * (effect / _quantiles(alpha, power)) ** 2  # the variance of an item's difference that would do
    needed, within = items_for(effect, spread, trials, alpha, power), spread.within_a + spread.within_b
    if spread.of(trials, trials) <= allowed:
        return Advice(trials, needed, f"{items} items with {trials} {_word(trials)} show it")
    if spread.between >= allowed:
        why = "trials cannot reach it: the variance between items alone is more than the target allows"
        return Advice(None, needed, f"{why}; add {needed - items} items")
    enough = math.ceil(within / (allowed - spread.between) - 1e-9)
    return Advice(enough, needed, f"{enough} trials of each item show it, or {needed - items} more items with {trials} {_word(trials)}")


def half_width_advice(items: int, between: float, within: float, half_width: float, trials: int = 1, level: float = 0.95) -> Advice:
    """The same for the precision of one mean: an interval no wider than ± `half_width`."""
    # A power of one half leaves the quantile of the level alone, which makes the effect a half-width.
    return items_or_trials(items, Spread(between, within), half_width, trials, 1 - level, 0.5)


def _quantiles(alpha: float, power: float) -> float:
    return float(scipy.stats.norm.ppf(1 - alpha / 2) + scipy.stats.norm.ppf(power))


def _word(trials: int) -> str:
    return "trial" if trials == 1 else "trials"
