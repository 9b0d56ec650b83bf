"""Intervals and paired tests for items that come in groups: phrasings of one situation are not independent of each other.

Every function is pure; what is drawn at random is drawn from a generator that the caller seeds. Arrays of counts hold
whole numbers in float64, so that sums are exact whatever the order in which a machine adds them up.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import signal
from scipy import stats as sps

RESAMPLES = 2000
FLIPS = 10_000
EXACT_FLIPS = 14  # up to 2^14 sign patterns are enumerated
Statistic = Callable[[np.ndarray], np.ndarray]  # sums (..., k) -> values (...); nan where there is no value


class Interval(NamedTuple):
    """A two-sided interval and, in words, how it was made. Bounds are None when there is none."""

    low: float | None
    high: float | None
    method: str


class McNemar(NamedTuple):
    """Two-sided p values of the exact test on discordant pairs and of its mid-p form."""

    p: float
    mid_p: float


@dataclass(frozen=True)
class Clusters:
    """Which items belong together: `codes` (n,) in 0..count-1."""

    codes: np.ndarray
    count: int

    @classmethod
    def of(cls, groups: Sequence[str]) -> "Clusters":
        names, codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        return cls(codes.reshape(-1), len(names))

    @property
    def single(self) -> bool:
        """True when every item is a group of its own."""
        return self.count == len(self.codes)

    @cached_property
    def sizes(self) -> np.ndarray:
        return np.bincount(self.codes, minlength=self.count)

    def subset(self, mask: np.ndarray) -> "Clusters":
        """The groups of the items where `mask` (n,) holds."""
        if mask.all():
            return self
        kept, codes = np.unique(self.codes[mask], return_inverse=True)
        return Clusters(codes.reshape(-1), len(kept))

    def sums(self, table: np.ndarray) -> np.ndarray:
        """Sum the rows of `table` (n, k) in each group: (count, k)."""
        if self.single:
            out = np.empty_like(table, dtype=np.float64)
            out[self.codes] = table
            return out
        return np.stack([np.bincount(self.codes, weights=column, minlength=self.count) for column in table.T], axis=1)


def generator(seed: int, *labels: str) -> np.random.Generator:
    """A generator for one purpose: draws do not depend on what else was drawn before."""
    words = hashlib.sha256("\x1f".join(labels).encode()).digest()
    return np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, *np.frombuffer(words, dtype="<u4").tolist()])


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion; `n` may be an effective, fractional sample size."""
    z = float(sps.norm.ppf(0.5 + level / 2))
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, middle - half)
    high = 1.0 if successes >= n else min(1.0, middle + half)
    return float(low), float(high)


def effective_n(values: np.ndarray, clusters: Clusters) -> float:
    """How many independent items carry as much information on the mean of `values` (n,) as these do.

    n over the design effect (clustered variance / simple variance, with the C/(C-1) correction for few groups), at most n.
    When all values are equal the design effect is unknown, and answers within a group are taken to be copies of each other:
    (Σm)²/Σm² of the group sizes m.
    """
    n = len(values)
    if clusters.single or n < 2:
        return float(n)
    centred = values - values.mean()
    simple = float((centred**2).sum())
    if simple <= 0 or clusters.count < 2:
        return float(n * n / (clusters.sizes.astype(float) ** 2).sum())
    grouped = float((clusters.sums(centred[:, None]) ** 2).sum()) * clusters.count / (clusters.count - 1)
    return float(min(n, n * simple * n / (n - 1) / grouped)) if grouped > 0 else float(n)


def proportion_interval(hits: np.ndarray, clusters: Clusters, level: float = 0.95) -> Interval:
    """Interval of the share of ones in `hits` (n,).

    Wilson; with groups of several items Wilson on the effective sample size, reduced further for the few degrees of freedom
    (Korn and Graubard).
    """
    n = len(hits)
    if clusters.single:
        return Interval(*wilson(float(hits.sum()), n, level), "Wilson")
    size = effective_n(hits, clusters)
    if clusters.count > 1:
        tails = sps.t.ppf(0.5 + level / 2, [n - 1, clusters.count - 1])
        size *= float((tails[0] / tails[1]) ** 2)
    method = f"Wilson on {size:.1f} effective items ({n} in {clusters.count} groups)"
    return Interval(*wilson(float(hits.mean()) * size, size, level), method)


def quantile_interval(values: np.ndarray, q: float, level: float = 0.95) -> Interval:
    """Distribution-free interval of the q-quantile from order statistics (binomial), None bounds where the sample is too small for one."""
    ordered, n = np.sort(values), len(values)
    lower = int(sps.binom.ppf((1 - level) / 2, n, q)) - 1
    upper = int(sps.binom.ppf(0.5 + level / 2, n, q))
    low = float(ordered[lower]) if lower >= 0 else None
    return Interval(low, float(ordered[upper]) if upper < n else None, "order statistics")


def bootstrap_weights(count: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each of `count` groups is drawn in each resample: (resamples, count), rows sum to `count`."""
    drawn = rng.integers(0, count, size=(resamples, count))
    drawn += np.arange(resamples)[:, None] * count
    return np.bincount(drawn.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def bca_interval(boot: np.ndarray, observed: float, jackknife: np.ndarray, level: float) -> Interval:
    """Bias-corrected and accelerated bootstrap interval. `jackknife` (groups,) holds the statistic with one group left out."""
    boot = np.sort(boot[np.isfinite(boot)])
    jackknife = jackknife[np.isfinite(jackknife)]
    if len(boot) < 100:
        return Interval(None, None, "no interval: too few resamples have a value")
    share = (np.sum(boot < observed - 1e-12) + 0.5 * np.sum(np.abs(boot - observed) <= 1e-12)) / len(boot)
    pull = jackknife.mean() - jackknife
    spread = float((pull**2).sum())
    bias, acceleration, name = 0.0, 0.0, "percentile"
    if 0 < share < 1 and spread > 0:
        bias, acceleration, name = float(sps.norm.ppf(share)), float((pull**3).sum() / (6 * spread**1.5)), "BCa"
    z = bias + sps.norm.ppf([(1 - level) / 2, 0.5 + level / 2])
    low, high = np.quantile(boot, sps.norm.cdf(bias + z / (1 - acceleration * z)))
    return Interval(float(low), float(high), f"{name} bootstrap over groups")


def flat_margin(groups: int, level: float) -> float:
    """How far a score in 0..1 may be from what each of `groups` groups showed without exception (Clopper-Pearson at n of n)."""
    return float(1 - ((1 - level) / 2) ** (1 / groups))


def mcnemar(b: int, c: int) -> McNemar:
    """Exact McNemar test for `b` and `c` discordant pairs. Without any, p is 1."""
    if b + c == 0:
        return McNemar(1.0, 1.0)
    p = float(sps.binomtest(min(b, c), b + c, 0.5).pvalue)
    return McNemar(p, min(1.0, p - float(sps.binom.pmf(min(b, c), b + c, 0.5))) if b != c else 1.0)


def sign_flip_exact(sums: np.ndarray) -> float:
    """Two-sided p of the sign-flip permutation test on whole-number differences `sums` (groups,), over all 2^groups patterns.

    The null distribution of Σ±|d| is built by convolution, so nothing is drawn at random. With differences of one it is McNemar's.
    """
    steps, counts = np.unique(np.abs(np.rint(sums)).astype(np.int64), return_counts=True)
    mass = np.ones(1)
    for step, count in zip(steps.tolist(), counts.tolist()):
        if step:
            part = np.zeros(2 * step * count + 1)
            part[:: 2 * step] = sps.binom.pmf(np.arange(count + 1), count, 0.5)
            mass = signal.convolve(mass, part)
    centre, observed = len(mass) // 2, abs(round(float(sums.sum())))
    return float(min(1.0, mass[: centre - observed + 1].sum() + mass[centre + observed :].sum())) if observed else 1.0


def swap_test(statistic: Statistic, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, str]:
    """Paired permutation test: the two systems change places in whole groups at random.

    `a`, `b` (groups, k) are sums per group. Two-sided p of |statistic(a) - statistic(b)|, and a word on how many patterns it rests on.
    """
    half, middle = (a - b) / 2, (a.sum(0) + b.sum(0)) / 2
    half = half[np.any(half != 0, axis=1)]
    observed = abs(float(statistic(a.sum(0)) - statistic(b.sum(0))))
    if len(half) == 0:
        return 1.0, "no group differs"
    if len(half) <= EXACT_FLIPS:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(half))[:, None] >> np.arange(len(half))) & 1)
        moved = signs @ half
        gaps = np.abs(statistic(middle + moved) - statistic(middle - moved))
        return float(np.mean(gaps >= observed - 1e-12)), f"all {len(signs)} patterns"
    hits = 0
    for _ in range(FLIPS // 1000):
        moved = (1.0 - 2.0 * rng.integers(0, 2, size=(1000, len(half)), dtype=np.int8)) @ half
        gaps = np.abs(statistic(middle + moved) - statistic(middle - moved))
        hits += int(np.sum(~(gaps < observed - 1e-12)))
    return (1 + hits) / (1 + FLIPS), f"{FLIPS} random patterns"


def bonett_price(b: float, c: float, n: float, level: float) -> tuple[float, float]:
    """Adjusted Wald interval of a difference of paired proportions, (b - c) / n (Bonett and Price 2012); sound when b = c = 0 too."""
    p, q = (b + 1) / (n + 2), (c + 1) / (n + 2)
    half = float(sps.norm.ppf(0.5 + level / 2)) * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return max(-1.0, float(p - q - half)), min(1.0, float(p - q + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]] if len(p_values) else []
