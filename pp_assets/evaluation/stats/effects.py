"""Sizes of effects, each with an interval: what a p value does not say."""

from typing import NamedTuple

import numpy as np
import scipy

from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.intervals import clopper_pearson, flat_margin
from pp_assets.evaluation.stats.resampling import bca_interval, bootstrap_weights

_CHUNK = 200  # resamples at a time: 200 x 10 000 items are 16 MB


class Effect(NamedTuple):
    """A size with its two-sided interval; None with the `reason` where there is none. A bound of None is no bound."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


def bonett_price(b: float, c: float, n: float, level: float) -> tuple[float, float]:
    """Adjusted Wald interval of a difference of paired proportions, (b - c) / n (Bonett and Price 2012); sound when b = c = 0 too."""
    p, q = (b + 1) / (n + 2), (c + 1) / (n + 2)
    half = float(scipy.special.ndtri(0.5 + level / 2)) * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return max(-1.0, float(p - q - half)), min(1.0, float(p - q + half))


def risk_difference(b: float, c: float, n: float, level: float = 0.95) -> Effect:
    """Difference of two paired proportions: of `n` items the first system alone has `b` right, the second alone `c`."""
    return Effect((b - c) / n, *bonett_price(b, c, n, level)) if n > 0 else Effect(None, None, None, "no items")


def odds_ratio(b: float, c: float, level: float = 0.95) -> Effect:
    """Conditional odds ratio b / c of discordant pairs, with the exact interval of b of b + c as odds (Clopper-Pearson).

    With c = 0 it has no value and no upper bound, but a lower one.
    """
    if b + c <= 0:
        return Effect(None, None, None, "the systems agree on every item")
    low, high = clopper_pearson(b, b + c, level)
    odds = high / (1 - high) if high < 1 else None
    return Effect(b / c if c else None, low / (1 - low), odds, "" if c else "no item that only the other has right")


def cohens_dz(differences: np.ndarray, level: float = 0.95) -> Effect:
    """Mean of paired `differences` (n,) over their standard deviation, with the interval of the noncentral t distribution, which is
    exact for normal differences. Items in groups: give the mean difference of each group."""
    n = len(differences)
    spread = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    if not spread > 0:
        return Effect(None, None, None, "fewer than two items" if n < 2 else "all differences are equal")
    t, root = float(np.mean(differences)) / spread * np.sqrt(n), np.sqrt(n)
    low, high = (_noncentrality(t, n - 1, q) for q in (0.5 + level / 2, 0.5 - level / 2))
    return Effect(float(t / root), low / root, high / root)


def _noncentrality(t: float, df: int, q: float) -> float:
    """The noncentrality at which `t` is the q-quantile."""

    def excess(nc: float) -> float:
        found = float(scipy.stats.nct.cdf(t, df, nc))
        return (float(nc < t) if np.isnan(found) else found) - q  # far from t it has no digits left

    reach = 8 * np.sqrt(1 + t * t / (2 * df))
    return float(scipy.optimize.brentq(excess, t - reach, t + reach, xtol=1e-8))


def cliffs_delta(a: np.ndarray, b: np.ndarray, clusters: Clusters | None = None, *, seed: int = 0, level: float = 0.95) -> Effect:
    """P(a > b) - P(a < b) over all pairs of a score of one system and a score of the other (Cliff 1993); -1..1, ordinal, robust.

    `a`, `b` (n,) are scores of the same items; the interval resamples whole items, or groups of them, so that it knows of the pairing.
    """
    n = len(a)
    if n < 2:
        return Effect(None, None, None, "fewer than two items")
    clusters = clusters or Clusters(np.arange(n), n)
    order = np.argsort(b, kind="stable")
    below, upto = (np.searchsorted(b[order], a, side=side) for side in ("left", "right"))

    def delta(weights: np.ndarray) -> np.ndarray:
        reached = np.pad(np.cumsum(weights[:, order], axis=1), ((0, 0), (1, 0)))
        total = reached[:, -1]
        return (weights * (reached[:, below] + reached[:, upto] - total[:, None])).sum(1) / total**2

    drawn = bootstrap_weights(clusters.count, generator(seed, "cliff"))
    chunks = [delta(drawn[i : i + _CHUNK][:, clusters.codes]) for i in range(0, len(drawn), _CHUNK)]
    boot, value = np.concatenate(chunks), float(delta(np.ones((1, n)))[0])
    if np.ptp(boot) < 1e-12:
        margin = flat_margin(clusters.count, level)
        return Effect(value, max(-1.0, value - margin), min(1.0, value + margin))
    without = np.concatenate([delta((clusters.codes != g)[None].astype(float)) for g in range(clusters.count)])
    found = bca_interval(boot, value, without, level)
    return Effect(value, found.low, found.high)
