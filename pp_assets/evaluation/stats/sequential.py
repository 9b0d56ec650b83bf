"""Looking at results while they come in: intervals and p values that hold at every look, so that a run may stop when it knows enough.

A fixed-n p value that is looked at after every batch finds a winner between equal systems far more often than alpha says. Here the bound
of Ville holds over all looks at once, however many there are and whatever decides about stopping.

The method is betting (Waudby-Smith and Ramdas 2024): against each candidate mean m a gambler stakes a share s on "more than m" in fair
bets on one group after the other; wealth over 1 / alpha has a chance of alpha at most if m is true. It was chosen over others because
scores lie in known bounds (differences of two systems in -1..1): it is valid from the first item, without any assumption on the
distribution, where asymptotic sequences (Waudby-Smith et al. 2021) and those for a known variance (Howard et al. 2021) are wrong for
20 items of which two differ, and it adapts to a small variance (systems that mostly agree), which Hoeffding's does not. The stakes are
a fixed mixture, a universal portfolio in small (Orabona and Jun 2023): nothing to tune, and the order of items does not matter.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from pp_assets.evaluation.stats.groups import Clusters

STAKES = np.geomspace(0.003, 0.97, 32)  # from small effects over thousands of items to one system always right where the other is wrong


@dataclass(frozen=True)
class Look:
    """What is known after `n` items in `groups` groups: the mean, an interval that holds at all looks, and the p value of mean = `null`
    that holds at all looks. Bounds never leave the known ones of the values."""

    mean: float | None
    low: float
    high: float
    p: float
    n: int
    groups: int


def look(
    values: np.ndarray,
    clusters: Clusters | None = None,
    *,
    bounds: tuple[float, float] = (-1.0, 1.0),
    null: float = 0.0,
    level: float = 0.95,
    largest: int | None = None,
) -> Look:
    """One look at `values` (n,), which lie within `bounds`: paired differences of two systems, or scores with bounds (0, 1).

    Items of one group are one bet, on their sum: give whole groups only, drawn in an order that does not depend on answers. `largest` is
    the size of the largest group that can come, where it is not among these yet. Raises ValueError for a value out of bounds.
    """
    low, high = bounds
    values = np.asarray(values, dtype=float)
    if not len(values):
        return Look(None, low, high, 1.0, 0, 0)
    up, down = _gamblers(values, clusters, bounds, largest)
    alpha = 1 - level
    bottom, top = up.bound(alpha / 2), 1 - down.bound(alpha / 2)
    groups = len(values) if clusters is None else clusters.count
    p = always_valid_p(values, clusters, bounds=bounds, null=null, largest=largest)
    return Look(float(values.mean()), low + bottom * (high - low), low + top * (high - low), p, len(values), groups)


def always_valid_p(
    values: np.ndarray,
    clusters: Clusters | None = None,
    *,
    bounds: tuple[float, float] = (-1.0, 1.0),
    null: float = 0.0,
    largest: int | None = None,
) -> float:
    """The p value of `look` alone, which is quick: under alpha exactly when the interval at 1 - alpha leaves out `null`."""
    if not len(values):
        return 1.0
    up, down = _gamblers(np.asarray(values, dtype=float), clusters, bounds, largest)
    at = float(np.clip((null - bounds[0]) / (bounds[1] - bounds[0]), 0.0, 1.0))
    return float(min(1.0, 2 * np.exp(-max(up.log(at), down.log(1 - at)))))


def _gamblers(
    values: np.ndarray, clusters: Clusters | None, bounds: tuple[float, float], largest: int | None
) -> tuple["_Wealth", "_Wealth"]:
    """Who bets that the mean is higher, and who bets that it is lower."""
    low, high = bounds
    if not (values.min() >= low and values.max() <= high):
        raise ValueError(f"a value lies outside of {low:g} to {high:g}")
    y = (values - low) / (high - low)
    sums, sizes = (y, np.ones(len(y))) if clusters is None else clusters.sums(np.stack([y, np.ones(len(y))], axis=1)).T
    size = float(max(sizes.max(), largest or 0))
    return _Wealth(sums / size, sizes / size), _Wealth((sizes - sums) / size, sizes / size)


class _Wealth:
    """Wealth of the gambler who bets that the mean is higher, from sums and sizes of groups over the largest size."""

    def __init__(self, sums: np.ndarray, sizes: np.ndarray) -> None:
        pairs, counts = np.unique(sums + 1j * sizes, return_counts=True)
        self.sums, self.sizes, self.counts = pairs.real, pairs.imag, counts.astype(float)

    def log(self, mean: float) -> float:
        """Log of the wealth if the mean were this. It falls with the mean, so that what it excludes is one end of the scale."""
        if mean <= 0:
            return float("inf") if self.sums.any() else 0.0
        each = np.log1p(STAKES[:, None] * (self.sums / mean - self.sizes)) @ self.counts
        top = each.max()
        return float(top + np.log(np.exp(each - top).mean()))

    def bound(self, alpha: float) -> float:
        """The largest mean, 0..1, that the wealth excludes at `alpha`; 0 where it excludes none."""
        if not self.sums.any():
            return 0.0
        goal = -np.log(alpha)
        # At the observed mean no stake has won anything (Jensen), so that the bound lies below it.
        observed = float(self.sums @ self.counts / (self.sizes @ self.counts))
        return float(scipy.optimize.brentq(lambda mean: min(self.log(mean), goal + 1) - goal, 1e-9, observed, xtol=1e-9))
