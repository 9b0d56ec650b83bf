"""How many test items it takes to show an effect: from counts of the test split and from how systems disagree."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scipy import stats as sps

from pp_assets.evaluation.compare import Comparison
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.design import Advice, Spread, design_effect, detectable_with, items_for, items_or_trials, power_with
from pp_assets.evaluation.stats.power import POWER, WORST_DISCORDANCE, grouped_detectable, grouped_items, grouped_power
from pp_resources.errors import UserError

EFFECTS = (0.02, 0.05, 0.1, 0.15, 0.2)
DISCORDANCE = 0.2  # of two systems that are both right on 9 of 10 items, independently of each other, 0.18 differ
ICC = 0.5


@dataclass(frozen=True)
class Known:
    """A number that a plan rests on, and where it comes from."""

    value: float
    source: Literal["observed", "given", "assumed"]
    how: str


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: `trials` of each item by each system, and `between`, the share of the variance of a single trial's difference
    that lies between items; 1 for systems that give the same answer each time."""

    trials: int = 1
    between: float = 1.0


def plan(
    metric: str,
    sizes: Sequence[int],
    discordance: Known,
    spread: Known,
    effects: Sequence[float] = EFFECTS,
    sampling: Sampling = Sampling(),
    alpha: float = 0.05,
    power: float = POWER,
) -> dict[str, Any]:
    """Plan for a test split whose groups have these `sizes`; `spread` is its design effect.

    Plain values: `items`, `groups`, `effective_n`, what is known, `detectable` (at the known discordance and at one half), and for each of
    `effects` the `items_needed`, the `power` of the split as it is, and an `advice`. Raises UserError for numbers that cannot be.
    """
    for effect in effects:
        if not 0 < effect <= 1:
            raise UserError(f"an effect of {effect:g} is not between 0 and 1", where="--effect", how="give a difference such as 0.05")
    items = sum(sizes)
    one = _Target(items, discordance.value, spread.value, sampling, alpha, power)
    worst = _Target(items, WORST_DISCORDANCE, spread.value, sampling, alpha, power)
    rows = [{"effect": effect, **one.row(effect), "items_needed_worst": worst.items(effect)} for effect in effects]
    told = {
        "metric": metric,
        "items": items,
        "groups": len(sizes),
        "effective_n": items / spread.value,
        "alpha": alpha,
        "target_power": power,
    }
    told |= {"discordance": asdict(discordance), "design_effect": asdict(spread), "sampling": asdict(sampling)}
    return dict(rounded({**told, "detectable": one.detectable(), "detectable_worst": worst.detectable(), "effects": rows}))


@dataclass(frozen=True)
class _Target:
    """What `total` items with a design effect show at a discordance; the paired test of reports where an item has one answer for good."""

    total: int
    discordance: float
    design: float
    sampling: Sampling
    alpha: float
    power: float

    @property
    def sampled(self) -> bool:
        return self.sampling.trials > 1 or self.sampling.between < 1

    def spread(self, effect: float) -> Spread:
        variance = max(self.discordance, effect) - effect**2
        within = variance * (1 - self.sampling.between) / 2
        return Spread(variance * self.sampling.between, within, within)

    def items(self, effect: float) -> int:
        if self.sampled:
            return math.ceil(items_for(effect, self.spread(effect), self.sampling.trials, self.alpha, self.power) * self.design)
        return grouped_items(effect, self.design, self.discordance, self.alpha, self.power) or 0

    def detectable(self) -> float | None:
        if self.sampled:
            return min(1.0, detectable_with(self.total / self.design, self.spread(0.0), self.sampling.trials, self.alpha, self.power))
        return grouped_detectable(self.total, self.design, self.discordance, self.alpha, self.power)

    def row(self, effect: float) -> dict[str, Any]:
        needed, items, size = self.items(effect), self.total, self.total / self.design
        if self.sampled:
            found = power_with(effect, size, self.spread(effect), self.sampling.trials, self.alpha)
            trials, of_size, why = items_or_trials(
                max(1, int(size)), self.spread(effect), effect, self.sampling.trials, self.alpha, self.power
            )
            advice = self._worded(Advice(trials, of_size, why), needed - items)
        else:
            found = grouped_power(items, self.design, self.discordance, effect, self.alpha)
            advice = "enough" if needed <= items else f"add {needed - items} items; answers are the same each time, trials add nothing"
        return {"items_needed": needed, "power": found, "advice": advice}

    def _worded(self, advice: Advice, missing: int) -> str:
        if advice.trials is None:
            return f"add {missing} items: trials cannot reach it, the variance between items alone is too large"
        if advice.trials == self.sampling.trials:
            return "enough"
        return f"{advice.trials} trials of each item instead of {self.sampling.trials}, or add {missing} items"


def assumed(sizes: Sequence[int], icc: float | None) -> Known:
    """The design effect of groups of these sizes when nothing has been observed."""
    value = design_effect(sizes, ICC if icc is None else icc)
    if max(sizes) == 1:
        return Known(1.0, "observed", "every item is a group of its own")
    if icc is None:
        return Known(value, "assumed", f"items of a group alike at {ICC:g}; say otherwise with --icc")
    return Known(value, "given", f"items of a group alike at {icc:g}")


def observed(found: Comparison, how: str, alpha: float) -> tuple[Known, Known] | None:
    """Discordance and design effect as a comparison of two systems has shown them; None where it has none.

    A metric that is not right or wrong per item has no discordance: the variance of its differences takes that place, which is never
    larger for a score in 0..1.
    """
    if found.discordance is not None and found.effective_n:
        return Known(found.discordance, "observed", how), Known(found.n / found.effective_n, "observed", how)
    if not found.detectable or found.effect is None:
        return None
    quantiles = float(sps.norm.ppf(1 - alpha / 2) + sps.norm.ppf(POWER))
    variance = (found.detectable / quantiles) ** 2 * found.n
    said = f"variance of an item's share in the difference, {how}, groups counted"
    return Known(variance, "observed", said), Known(1.0, "observed", "in the variance")
