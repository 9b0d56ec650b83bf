"""Bootstrap over groups, of anything that is a function of sums.

Arrays of counts hold whole numbers in float64, so that sums are exact whatever the order in which a machine adds them up.
"""

from collections.abc import Callable

import numpy as np
import scipy

from pp_assets.evaluation.stats.intervals import Interval, flat_interval

RESAMPLES = 2000
Statistic = Callable[[np.ndarray], np.ndarray]  # sums (..., k) -> values (...); nan where there is no value


def bootstrap_weights(count: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each of `count` groups is drawn in each resample: (resamples, count), rows sum to `count`."""
    drawn = rng.integers(0, count, size=(resamples, count))
    drawn += np.arange(resamples)[:, None] * count
    return np.bincount(drawn.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def bca_interval(boot: np.ndarray, observed: float, jackknife: np.ndarray, level: float) -> Interval:
    """Bias-corrected and accelerated bootstrap interval. `jackknife` (groups,) holds the statistic with one group left out.

    Its quantiles are those of Student's t, and wider by the root of n / (n - 1): resamples of few groups vary too little (Hesterberg 2015,
    "What teachers should know about the bootstrap", section 5.3.2).
    """
    half = expanded(len(jackknife), level)
    boot = np.sort(boot[np.isfinite(boot)])
    jackknife = jackknife[np.isfinite(jackknife)]
    if len(boot) < 100:
        return Interval(None, None, "no interval: too few resamples have a value")
    share = (np.sum(boot < observed - 1e-12) + 0.5 * np.sum(np.abs(boot - observed) <= 1e-12)) / len(boot)
    pull = jackknife.mean() - jackknife
    spread = float((pull**2).sum())
    bias, acceleration, name = 0.0, 0.0, "percentile"
    if 0 < share < 1 and spread > 0:
        bias, acceleration, name = float(scipy.special.ndtri(share)), float((pull**3).sum() / (6 * spread**1.5)), "BCa"
    z = bias + half * np.array([-1.0, 1.0])
    with np.errstate(divide="ignore"):
        # Where the acceleration overtakes the quantile there is nothing beyond: the end of the resamples.
        moved = np.where(acceleration * z < 1, bias + z / (1 - acceleration * z), np.sign(z) * np.inf)
    low, high = np.quantile(boot, scipy.special.ndtr(moved))
    return Interval(float(low), float(high), f"{name} bootstrap over groups")


def expanded(groups: int, level: float) -> float:
    """Half-width of an interval at `level` in standard deviations of resamples of so many groups (at least 2)."""
    return float(scipy.special.stdtrit(groups - 1, 0.5 + level / 2) * (groups / (groups - 1)) ** 0.5)


def resampled_interval(statistic: Statistic, sums: np.ndarray, weights: np.ndarray, level: float, floor: float | None) -> Interval:
    """Interval of `statistic` by resampling groups: `sums` (groups, k) of each, `weights` (resamples, groups) of `bootstrap_weights`.

    Where no resample differs from another it is an exact bound for a statistic that lies between `floor` and 1, none where that is None.
    """
    total = sums.sum(0)
    value, boot = float(statistic(total)), statistic(weights @ sums)
    finite = boot[np.isfinite(boot)]
    if np.isfinite(value) and (len(finite) == 0 or np.ptp(finite) < 1e-12):
        return flat_interval(value, len(sums), level, floor)
    return bca_interval(boot, value, statistic(total - sums), level)
