"""How many test items it takes to show an effect: from counts of the test split and from how systems disagree."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import scipy

from pp_assets.evaluation.compare import Comparison
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.design import Spread, design_effect, detectable_with, items_for, items_or_trials, power_with
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


@dataclass(frozen=True)
class Basis:
    """What a plan rests on: how often just one of two systems is right and the design effect of groups. For a metric that is not right or
    wrong per item, `variance` of an item's difference, groups counted, stands for both."""

    discordance: Known
    design: Known
    variance: Known | None = None


def plan(
    metric: str,
    sizes: Sequence[int],
    basis: Basis,
    effects: Sequence[float] = EFFECTS,
    sampling: Sampling = Sampling(),
    alpha: float = 0.05,
    power: float = POWER,
) -> dict[str, Any]:
    """Plan for a test split whose groups have these `sizes`.

    Plain values: `items`, `groups`, `effective_n`, what is known, `detectable` (as known, and at a discordance of one half), and for each
    of `effects` the `items_needed`, the `power` of the split as it is, and an `advice`. Raises UserError for an effect that cannot be.
    """
    most = float("inf") if basis.variance else 1.0
    for effect in effects:
        if not 0 < effect <= most:
            raise UserError(f"an effect of {effect:g} is not between 0 and {most:g}", where="--effect", how="give one such as 0.05")
    items, design = sum(sizes), basis.design.value
    one = _Target(items, basis.discordance.value, design, sampling, alpha, power, basis.variance.value if basis.variance else None)
    worst = None if basis.variance else _Target(items, WORST_DISCORDANCE, design, sampling, alpha, power)
    rows = [{"effect": e, **one.row(e), "items_needed_worst": worst.items(e) if worst else None} for e in effects]
    told: dict[str, Any] = {"metric": metric, "items": items, "groups": len(sizes), "effective_n": items / design, "alpha": alpha}
    told |= {"target_power": power, **asdict(basis), "sampling": asdict(sampling), "detectable": one.detectable()}
    return dict(rounded({**told, "detectable_worst": worst.detectable() if worst else None, "effects": rows}))


@dataclass(frozen=True)
class _Target:
    """What `total` items with a design effect show at a discordance: by the paired test of reports where an item has one answer for good,
    by the variance of an item's difference where models sample or the metric is not right or wrong."""

    total: int
    discordance: float
    design: float
    sampling: Sampling
    alpha: float
    power: float
    variance: float | None = None

    @property
    def sampled(self) -> bool:
        return self.sampling.trials > 1 or self.sampling.between < 1

    @property
    def exact(self) -> bool:
        return not self.sampled and self.variance is None

    def spread(self, effect: float) -> Spread:
        variance = max(self.discordance, effect) - effect**2 if self.variance is None else self.variance
        within = variance * (1 - self.sampling.between) / 2
        return Spread(variance * self.sampling.between, within, within)

    def items(self, effect: float) -> int:
        if self.exact:
            return grouped_items(effect, self.design, self.discordance, self.alpha, self.power) or 0
        return math.ceil(items_for(effect, self.spread(effect), self.sampling.trials, self.alpha, self.power) * self.design)

    def detectable(self) -> float | None:
        if self.exact:
            return grouped_detectable(self.total, self.design, self.discordance, self.alpha, self.power)
        return detectable_with(self.total / self.design, self.spread(0.0), self.sampling.trials, self.alpha, self.power)

    def row(self, effect: float) -> dict[str, Any]:
        needed, spread, size = self.items(effect), self.spread(effect), self.total / self.design
        if self.exact:
            found = grouped_power(self.total, self.design, self.discordance, effect, self.alpha)
        else:
            found = power_with(effect, size, spread, self.sampling.trials, self.alpha)
        return {"items_needed": needed, "power": found, "advice": self._advice(effect, needed - self.total, size)}

    def _advice(self, effect: float, missing: int, size: float) -> str:
        if missing <= 0:
            return "enough"
        if not self.sampled:
            return f"add {missing} items; answers are the same each time, trials add nothing"
        now = self.sampling.trials
        found = items_or_trials(max(1, int(size)), self.spread(effect), effect, now, self.alpha, self.power)
        if found.trials is None:
            return f"add {missing} items: trials cannot reach it, the variance between items alone is too large"
        return f"{found.trials} trials of each item instead of {now}, or add {missing} items"


def assumed(sizes: Sequence[int], icc: float | None) -> Known:
    """The design effect of groups of these sizes when nothing has been observed."""
    value = design_effect(sizes, ICC if icc is None else icc)
    if max(sizes) == 1:
        return Known(1.0, "observed", "every item is a group of its own")
    if icc is None:
        return Known(value, "assumed", f"items of a group alike at {ICC:g}; say otherwise with --icc")
    return Known(value, "given", f"items of a group alike at {icc:g}")


def observed(found: Comparison, how: str, alpha: float) -> Basis | None:
    """What a comparison of two systems has shown; None where it says nothing of how they vary."""
    if found.discordance is not None and found.effective_n:
        return Basis(Known(found.discordance, "observed", how), Known(found.n / found.effective_n, "observed", how))
    if not found.detectable:
        return None
    quantiles = float(scipy.stats.norm.ppf(1 - alpha / 2) + scipy.stats.norm.ppf(POWER))
    variance = Known((found.detectable / quantiles) ** 2 * found.n, "observed", f"{how}; groups are counted in it")
    inside = Known(1.0, "observed", "in the variance of an item's difference")
    return Basis(Known(WORST_DISCORDANCE, "assumed", "not used: the metric is not right or wrong per item"), inside, variance)
