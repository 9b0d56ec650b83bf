"""Tests of two systems on the same items."""

from typing import NamedTuple

import numpy as np
import scipy

from pp_assets.evaluation.stats.binomial import binomial_pmf
from pp_assets.evaluation.stats.resampling import Statistic

FLIPS = 10_000
EXACT_FLIPS = 14  # up to 2^14 sign patterns are enumerated


class McNemar(NamedTuple):
    """Two-sided p values of the exact test on discordant pairs and of its mid-p form."""

    p: float
    mid_p: float


def mcnemar(b: int, c: int) -> McNemar:
    """Exact McNemar test for `b` and `c` discordant pairs. Without any, p is 1."""
    if b == c:
        return McNemar(1.0, 1.0)
    few = min(b, c)
    tail = float(scipy.special.bdtr(few, b + c, 0.5))
    return McNemar(2 * tail, tail + (float(scipy.special.bdtr(few - 1, b + c, 0.5)) if few else 0.0))


def sign_flip_exact(sums: np.ndarray) -> float:
    """Two-sided p of the sign-flip permutation test on whole-number differences `sums` (groups,), over all 2^groups patterns.

    The null distribution of Σ±|d| is built by convolution, so nothing is drawn at random. With differences of one it is McNemar's.
    """
    steps, counts = np.unique(np.abs(np.rint(sums)).astype(np.int64), return_counts=True)
    mass = np.ones(1)
    for step, count in zip(steps.tolist(), counts.tolist()):
        if step:
            part = np.zeros(2 * step * count + 1)
            part[:: 2 * step] = binomial_pmf(np.arange(count + 1), count, 0.5)
            mass = scipy.signal.convolve(mass, part)
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
