"""Is one variant better than another? Bets that hold at every look, whatever shares the variants had and whenever somebody stops.

The claim that is bet against: mean(better) - mean(worse) <= margin in every cohort, for values in 0..1. In a cohort with n_b and n_a values
of the two a gambler multiplies the stake of each value x by

    1 + (s / w_b) (x - c_b)   for the better,     1 - (s / w_a) (x - c_a)   for the worse,     w_i = n_i / n,  c_b - c_a = margin.

**Why it is fair.** Values of a cohort are independent given who answered, with means m_b and m_a. The expected product is
(1 + s d_b / w_b)^n_b (1 - s d_a / w_a)^n_a with d_i = m_i - c_i, and the inequality of weighted means bounds its n-th root by
w_b (1 + s d_b / w_b) + w_a (1 - s d_a / w_a) = 1 + s (m_b - m_a - margin) <= 1 (the blocks of Turner, Ly and Grünwald 2023, with bets in
place of likelihoods). That is so given all that was known before the cohort: weights that follow earlier outcomes decide how many values
there will be of each, not what they are. So the wealth is a supermartingale in the filtration of cohorts, however adaptive the weights,
and reaches 1 / a with a chance of at most a, ever (Ville 1939). The means may move from cohort to cohort, together or not; only the claim
must hold in each. It asks for no equal shares of answers either, as inverse propensity weights would.

**From sums.** log(1 + y) lies above its chord over the range of x, which needs n and the sum of x (and is exact for right or wrong), and
above y - psi(t) y² for y >= -t (Fan, Grama and Liu 2015), which needs the sum of squares and gains where values vary little. Both bound
the log of the true wealth from below; the larger is taken.

Stakes are a fixed mixture as in `evaluation.stats.sequential` (Waudby-Smith and Ramdas 2024): nothing to tune.
"""

from typing import NamedTuple

import numpy as np

STAKES = np.geomspace(0.01, 0.95, 12)
_PSI = (-np.log1p(-STAKES) - STAKES) / STAKES**2
_LEAST = 0.05  # centres are kept this far from 0 and 1, so that no stake is without bound


class Sums(NamedTuple):
    """n, sum and sum of squares of values in 0..1, each of any shape."""

    n: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray) -> "Sums":
        """From the last axis of (..., 3)."""
        return cls(table[..., 0], table[..., 1], table[..., 2])


def centre(table: np.ndarray) -> np.ndarray:
    """Where to put c, from what was known before: the mean of each, drawn to a half by two values. (..., 3) -> (...)."""
    return (table[..., 1] + 1) / (table[..., 0] + 2)


def log_growth(better: Sums, worse: Sums, middle: np.ndarray, margin: float) -> np.ndarray:
    """(..., STAKES): by how much one cohort multiplies each stake against the claim, in logs; 0 where one of the two has no value.

    `middle` may depend on anything known before the cohort.
    """
    c = np.clip(middle, _LEAST, 1 - _LEAST)
    high, low = c + margin / 2, c - margin / 2
    n = better.n + worse.n
    with np.errstate(divide="ignore", invalid="ignore"):
        share_b, share_a = better.n / n, worse.n / n
        unit = np.minimum(share_b / np.maximum(high, _LEAST), share_a / np.maximum(1 - low, _LEAST))
        up = _log_product(better, high, unit / share_b, 1.0)
        down = _log_product(worse, low, unit / share_a, -1.0)
    return np.where(((better.n > 0) & (worse.n > 0))[..., None], up + down, 0.0)


def _log_product(sums: Sums, c: np.ndarray, rate: np.ndarray, sign: float) -> np.ndarray:
    """A lower bound of the sum of log(1 + sign * rate * stake * (x - c)), for each stake."""
    r = sign * rate[..., None] * STAKES
    n, total, squares, at = (part[..., None] for part in (sums.n, sums.total, sums.squares, c))
    chord = total * np.log1p(r * (1 - at)) + (n - total) * np.log1p(-r * at)
    curve = r * (total - n * at) - _PSI * r * r * (squares - 2 * at * total + n * at * at)
    return np.asarray(np.maximum(chord, curve))


def log_e(wealth: np.ndarray, reserve: np.ndarray | float = 0.0) -> np.ndarray:
    """Log of the e-value: the mean over stakes (..., STAKES) of their wealth, and what was never staked."""
    top = wealth.max(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(np.isfinite(top), top + np.log(np.exp(wealth - top[..., None]).mean(-1)), -np.inf)
        return np.logaddexp(mean, np.log(reserve))


def reserve(cohorts: int) -> float:
    """What of the capital has not been staked after so many cohorts: a guard starts new bets at each, since a variant may turn bad late,
    and bets that began early have lost by then. 1 / (k + 1) leaves half for the first and never runs out."""
    return 1 / (cohorts + 1)


def staked(wealth: np.ndarray, growth: np.ndarray, cohorts: int) -> np.ndarray:
    """Wealth of a guard after one more cohort, `cohorts` before it: what comes out of the reserve joins the bets, then they are settled."""
    return np.asarray(np.logaddexp(wealth, np.log(reserve(cohorts) - reserve(cohorts + 1))) + growth)
