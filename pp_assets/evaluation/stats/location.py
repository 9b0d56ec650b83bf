"""How many times as slow one system is as another, item by item: robust against the few calls that something else held up."""

from typing import NamedTuple

import numpy as np

from pp_assets.evaluation.stats.resampling import RESAMPLES

_CHUNK = 100  # resamples at a time: 100 x 20 100 averages of 200 items are 16 MB
MOST = 200  # items whose averages are all formed; of more a seeded draw is taken


class Ratio(NamedTuple):
    """A ratio with its two-sided interval; None with the `reason` where there is none."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


def hodges_lehmann(values: np.ndarray) -> np.ndarray:
    """Median of the averages of all pairs (Walsh averages) along the last axis of `values` (..., n): (...). Hodges and Lehmann 1963."""
    i, j = np.triu_indices(values.shape[-1])
    return np.asarray(np.median((values[..., i] + values[..., j]) / 2, axis=-1))


def paired_ratio(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, level: float = 0.95) -> Ratio:
    """How many times `a` (n,) is as large as `b` (n,), both positive: Hodges-Lehmann of the log ratios, percentile bootstrap over items."""
    if len(a) < 2:
        return Ratio(None, None, None, "fewer than two items")
    if not (np.all(a > 0) and np.all(b > 0)):
        return Ratio(None, None, None, "a time is not positive")
    logs = np.log(a) - np.log(b)
    if len(logs) > MOST:
        logs = logs[np.sort(rng.choice(len(logs), MOST, replace=False))]
    drawn = rng.integers(0, len(logs), size=(RESAMPLES, len(logs)))
    boot = np.concatenate([hodges_lehmann(logs[drawn[k : k + _CHUNK]]) for k in range(0, RESAMPLES, _CHUNK)])
    low, high = np.exp(np.quantile(boot, [(1 - level) / 2, 0.5 + level / 2]))
    return Ratio(float(np.exp(hodges_lehmann(logs))), float(low), float(high))
