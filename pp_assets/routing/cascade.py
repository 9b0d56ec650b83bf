"""A cheap variant answers, and what it is not sure of goes on to a better one, or to a person: from which confidence on, at which cost.

The threshold is chosen on rows with known answers so that the cascade is right as often as the better one alone, but for a stated
tolerance, with a stated chance of error on new rows (Learn then Test: Angelopoulos, Bates, Candès, Jordan, Lei 2021). Thresholds are tested
from the highest down, each at the full error rate, up to the first that is not proven (a fixed sequence, so that nothing is paid for their
number); that one's predecessor asks the better one least often. What combines the members of an ensemble
(`pp_assets.training.ensemble`) chooses by expected counts, without such a promise.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy

from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.intervals import clopper_pearson, mid_p
from pp_resources.errors import UserError
from pp_resources.models.ensemble.predictor import thresholds

THRESHOLDS = 50
_NUISANCE, _OUTSIDE = 24, 0.02  # rates of gains that are tried, and the part of the error rate for one beyond them


@dataclass(frozen=True)
class Measured:
    """A mean over rows with a 95 % interval, wide enough to hold for all tested thresholds at once: the chosen one is none of chance."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Cascade:
    """`threshold`: from this confidence on the cheap answer is taken; None where none is proven, and everything goes to the better one.

    `kept` is the share of answers that the cheap one gives, `quality` how often the cascade is right, `cheap` and `better` how often each
    alone is, `cost` of an answer of the cascade (the cheap one is always asked), `cost_better` of the better one alone. `tried`: threshold,
    share kept, loss against the better one and the p value of "the loss is more than tolerated".
    """

    threshold: float | None
    reason: str
    tolerance: float
    delta: float
    rows: int
    kept: Measured
    quality: Measured
    cheap: Measured
    better: Measured
    cost: Measured
    cost_better: Measured
    tried: Sequence[tuple[float, float, float, float]]

    def plain(self) -> dict[str, Any]:
        """JSON values; the threshold is not rounded."""
        return dict(rounded(asdict(self))) | {"threshold": self.threshold}


def fit_cascade(
    confidences: Sequence[float | None],
    right_cheap: Sequence[bool],
    right_better: Sequence[bool],
    cost_cheap: float | Sequence[float],
    cost_better: float | Sequence[float],
    *,
    tolerance: float = 0.02,
    delta: float = 0.05,
    groups: Sequence[str] | None = None,
) -> Cascade:
    """The cheapest threshold with which, with a chance of at most `delta` of being wrong, no more than `tolerance` of the answers are lost
    against the better one.

    Validation rows in one order: what the cheap one's confidence was (None: it does not say, or the schema does not allow its answer, which
    then always goes on), whether each was right. `groups`: rows that belong together, of which
    the first is taken, since the guarantee is for independent rows. For a person as the better one give what a person gets right. Raises
    UserError with fewer rows than could prove anything.
    """
    chosen = (
        list(range(len(confidences))) if groups is None else sorted({group: i for i, group in reversed(list(enumerate(groups)))}.values())
    )
    sure = np.array([-1.0 if confidences[i] is None else confidences[i] for i in chosen], dtype=float)
    cheap, better = (np.asarray(right, dtype=bool)[chosen] for right in (right_cheap, right_better))
    needed = math.ceil(math.log(delta * (1 - _OUTSIDE)) / math.log1p(-tolerance))
    if len(sure) < needed:
        what = f"{len(sure)} independent rows cannot prove a loss of at most {tolerance:g} at an error rate of {delta:g}"
        raise UserError(what, where="cascade", how=f"give {needed} or more, or a larger tolerance")
    tried: list[tuple[float, float, float, float]] = []
    candidates = thresholds(sure[sure >= 0], THRESHOLDS)[::-1]
    for at in candidates:
        kept = sure >= at
        lost, gained = int((kept & better & ~cheap).sum()), int((kept & cheap & ~better).sum())
        p = loss_p(lost, gained, len(sure), tolerance, delta * _OUTSIDE)
        tried.append((float(at), float(kept.mean()), (lost - gained) / len(sure), p))
        if p > delta:
            break
    proven = [one for one in tried if one[3] <= delta and one[1] > 0]
    threshold = proven[-1][0] if proven else None
    costs = tuple(np.broadcast_to(np.asarray(cost, dtype=float), len(confidences))[chosen] for cost in (cost_cheap, cost_better))
    found = _told(sure, cheap, better, costs, threshold, 0.05 / len(candidates))
    return Cascade(tolerance=tolerance, delta=delta, rows=len(sure), tried=tried, **found)


def loss_p(lost: int, gained: int, n: int, tolerance: float, outside: float = 0.001) -> float:
    """The exact p value of "answers lost less answers gained are `tolerance` of all, or more", from their counts among n independent rows.

    All pairs of counts with a score (lost - gained - expected) / sqrt(lost + gained + expected) as low as that of these are counted. How
    many answers differ is not known in advance: the largest p over the exact interval of that at 1 - `outside`, plus `outside` (Berger and
    Boos 1994).
    """
    expected = n * tolerance
    low, high = (max(0.0, (share - tolerance) / 2) for share in clopper_pearson(lost + gained, n, 1 - outside))
    rates = np.maximum(np.linspace(low, high, _NUISANCE), 1e-12)  # of answers gained
    most = scipy.stats.binom.isf(1e-12, n, [high + tolerance, high])
    losses, gains = np.meshgrid(np.arange(most[0] + 1), np.arange(most[1] + 1), indexing="ij")
    score = (losses - gains - expected) / np.sqrt(losses + gains + expected)
    seen = (score <= (lost - gained - expected) / math.sqrt(lost + gained + expected) + 1e-9) & (losses + gains <= n)
    losses, gains = losses[seen], gains[seen]
    rest = n - losses - gains
    ways = scipy.special.gammaln(n + 1) - sum(scipy.special.gammaln(one + 1) for one in (losses, gains, rest))
    same = np.maximum(1 - 2 * rates - tolerance, 0.0)
    chances = [
        np.exp(ways + scipy.special.xlogy(losses, q + tolerance) + scipy.special.xlogy(gains, q) + scipy.special.xlogy(rest, r)).sum()
        for q, r in zip(rates, same)
    ]
    return float(min(1.0, max(chances) + outside))


def _told(
    sure: np.ndarray, cheap: np.ndarray, better: np.ndarray, costs: tuple[np.ndarray, ...], threshold: float | None, outside: float
) -> dict[str, Any]:
    """What the cascade does on these rows; None for a threshold that saves nothing."""
    n, level = len(sure), 1 - outside
    both, alone = costs[0] + costs[1], float(costs[1].mean())
    reason = f"no threshold is proven on {n} rows: the loss against the better one that is tolerated cannot be ruled out"
    if threshold is not None:
        each = f"{np.where(sure >= threshold, costs[0], both).mean():.4g} an answer, {alone:.4g} with the better one alone"
        reason = f"from a confidence of {threshold:.4g} on the cheap one answers, {(sure >= threshold).mean():.3f} of {n} rows: {each}"
        if np.where(sure >= threshold, costs[0], both).mean() >= alone:
            threshold, reason = None, f"no threshold that is proven saves anything: {each}"
    kept = sure >= (math.inf if threshold is None else threshold)
    return {
        "threshold": threshold,
        "reason": reason,
        "kept": share_of(kept, level),
        "quality": share_of(np.where(kept, cheap, better), level),
        "cheap": share_of(cheap, level),
        "better": share_of(better, level),
        "cost": _mean(costs[1] if threshold is None else np.where(kept, costs[0], both), level),
        "cost_better": _mean(costs[1], level),
    }


def share_of(hits: np.ndarray, level: float) -> Measured:
    """How often, with its mid-P interval at `level`."""
    return Measured(float(hits.mean()), *mid_p(float(hits.sum()), float(len(hits)), level), len(hits))


def _mean(values: np.ndarray, level: float) -> Measured:
    n, value = len(values), float(values.mean())
    half = float(scipy.stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return Measured(value, value - half, value + half, n)
