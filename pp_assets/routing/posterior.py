"""What is believed of each variant's mean, how likely each is the best, and the shares that tell most about it.

One family for all metrics in 0..1: a Beta distribution with the prior Beta(1, 1). A value that is right or wrong is one trial. Values that
vary less than right and wrong of the same mean would are worth more trials each, by the ratio of the variances, which is estimated with
two further values of a right-or-wrong kind. Beliefs steer shares, nothing else: who has won is decided by `wealth`, which does not rest on
them. Everything here is quadrature, without a draw.
"""

import numpy as np
import scipy

NODES = 40
_REACH = 6.0  # standard deviations to either side of the mean
_TINY = 1e-12


def beta(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a, b), (...) each, from n, sum and sum of squares (..., 3)."""
    n, total, squares = (table[..., i] for i in range(3))
    mean = np.clip(np.divide(total, n, out=np.full_like(total, 0.5), where=n > 0), 0.0, 1.0)
    drawn = (total + 1) / (n + 2)
    two = 2 * drawn * (1 - drawn)
    ratio = (np.maximum(squares - n * mean**2, 0.0) + two) / (n * mean * (1 - mean) + two)
    trials = n / np.clip(ratio, 1e-3, 1.0)
    return 1 + mean * trials, 1 + (1 - mean) * trials


def interval(table: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high) of the belief, equal tails."""
    a, b = beta(table)
    tail = (1 - level) / 2
    return a / (a + b), scipy.special.betaincinv(a, b, tail), scipy.special.betaincinv(a, b, 1 - tail)


def best(table: np.ndarray, live: np.ndarray) -> np.ndarray:
    """(..., variants): the probability of each to have the highest mean, 0 for what is not `live`. Sums to 1 where any is live.

    Midpoints within six standard deviations of each belief; within 0.02 of the truth for 0 to 100,000 values of each.
    """
    a, b = beta(table)
    mean = a / (a + b)
    spread = np.sqrt(mean * (1 - mean) / (a + b + 1))
    low, high = np.maximum(mean - _REACH * spread, 0.0), np.minimum(mean + _REACH * spread, 1.0)
    x = low[..., None] + (high - low)[..., None] * (np.arange(NODES) + 0.5) / NODES
    log_density = scipy.special.xlogy(a[..., None] - 1, x) + scipy.special.xlog1py(b[..., None] - 1, -x)
    density = np.exp(log_density - log_density.max(-1, keepdims=True))
    density /= density.sum(-1, keepdims=True)
    for other in range(table.shape[-2]):
        rest = np.arange(table.shape[-2]) != other
        below = scipy.special.betainc(a[..., other, None, None], b[..., other, None, None], x[..., rest, :])
        density[..., rest, :] *= np.where(live[..., other, None, None], below, 1.0)
    found = np.where(live, density.sum(-1), 0.0)
    return np.asarray(found / np.maximum(found.sum(-1, keepdims=True), _TINY))


def top_two(chances: np.ndarray, live: np.ndarray, leader_share: float = 0.5) -> np.ndarray:
    """Shares of top-two Thompson sampling (Russo 2020), (..., variants): one is drawn by its chance to be the best, and with
    1 - `leader_share` given up for another, drawn by its chance to be the best but for the first. A half finds the best soonest; 0.7 needs
    a sixth more requests at .75 against .70 (none at .80 against .60) and loses a quarter less on the way."""
    p = np.where(live, np.maximum(chances, _TINY), 0.0)
    p = p / np.maximum(p.sum(-1, keepdims=True), _TINY)
    total = p.sum(-1, keepdims=True)
    others = np.maximum(_rest(p), _TINY)  # not 1 - p, which is 0 in floats long before there is no other
    odds = p / others
    alone = live.sum(-1, keepdims=True) == 1
    shares = p * (leader_share + (1 - leader_share) * _rest(odds))
    return np.asarray(np.where(alone, live / np.maximum(total, 1.0), shares))


def _rest(values: np.ndarray) -> np.ndarray:
    """For each place of the last axis the sum of the others, without cancellation."""
    k = values.shape[-1]
    return np.asarray(values @ (1 - np.eye(k)))


def with_least(shares: np.ndarray, live: np.ndarray, least: float) -> np.ndarray:
    """The same, with at least `least` for each live variant: the rest is shared out by `shares`."""
    return np.asarray(np.where(live, least + (1 - least * live.sum(-1, keepdims=True)) * shares, 0.0))
