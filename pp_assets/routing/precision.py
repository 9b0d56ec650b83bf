"""From which confidence on answers may go out without a person: a threshold that is proven to keep the precision that is wanted.

Proven as in `cascade` (Learn then Test: Angelopoulos, Bates, Candès, Jordan, Lei 2021): on rows with known answers, thresholds are tested
from the highest down, each at the full error rate, up to the first that is not proven. The sequence begins where enough answers are kept
to prove anything, which the confidences alone tell. Several starts that share the error rate keep less: with 4 of them .58, .42 and .15 of
the answers where one keeps .62, .49 and .27 (400 rows of an easy, 1,000 and 400 of a hard simulated task, 150 fits each).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy

from pp_assets.evaluation.rounding import rounded
from pp_assets.routing.cascade import THRESHOLDS, Measured, share_of
from pp_resources.errors import UserError
from pp_resources.models.ensemble.predictor import thresholds


@dataclass(frozen=True)
class Precise:
    """`threshold`: from this confidence on answers go out; None where none is proven, and people see all of them.

    `kept` is the share of answers that go out, `precision` how often those are right (None where none do), `alone` how often all are, each
    with an interval that holds for all tested thresholds at once. `tried`: threshold, share kept, precision, p of "it is less than wanted".
    """

    threshold: float | None
    reason: str
    target: float
    delta: float
    rows: int
    kept: Measured
    precision: Measured | None
    alone: Measured
    tried: Sequence[tuple[float, float, float, float]]

    def plain(self) -> dict[str, Any]:
        """JSON values; the threshold is not rounded."""
        return dict(rounded(asdict(self))) | {"threshold": self.threshold}


def fit_precision(
    confidences: Sequence[float | None],
    right: Sequence[bool],
    *,
    target: float,
    delta: float = 0.05,
    groups: Sequence[str] | None = None,
) -> Precise:
    """The lowest threshold from which on, with a chance of at most `delta` of being wrong, at least `target` of the answers are right.

    Rows that nothing was trained on: how sure the model was (None: it does not say, and a person sees the answer), and whether it was right
    (False for an answer that breaks the schema). Of `groups` of rows that belong together the first one is taken: the proof is for
    independent rows. Raises UserError with fewer rows than could prove anything.
    """
    every = range(len(confidences))
    chosen = list(every) if groups is None else sorted({groups[i]: i for i in reversed(every)}.values())
    sure = np.array([-1.0 if confidences[i] is None else confidences[i] for i in chosen], dtype=float)
    good = np.asarray(right, dtype=bool)[chosen]
    needed = math.ceil(math.log(delta) / math.log(target))
    if (sure >= 0).sum() < needed:
        what = f"{(sure >= 0).sum()} independent rows with a confidence cannot prove a precision of {target:g} (error rate {delta:g})"
        raise UserError(what, where="hand-off", how=f"give {needed} or more, or aim lower")
    ladder = [(at, sure >= at) for at in thresholds(sure[sure >= 0], THRESHOLDS)[::-1]]
    ladder = [(at, kept) for at, kept in ladder if kept.sum() >= needed]
    tried = [(float(at), float(kept.mean()), float(good[kept].mean()), _p(good[kept], target)) for at, kept in ladder]
    proven = 0
    while proven < len(ladder) and tried[proven][3] <= delta:
        proven += 1
    lowest = proven - 1 if proven else None
    level = 1 - 0.05 / len(ladder)
    out = np.zeros(len(sure), bool) if lowest is None else ladder[lowest][1]
    kept, precision = share_of(out, level), None if lowest is None else share_of(good[out], level)
    best = max(one[2] for one in tried)
    reason = f"no threshold is proven on {len(sure)} rows: the best precision seen is {best:.3f}, wanted is {target:g}"
    if lowest is not None and precision is not None:
        from_on = f"from a confidence of {ladder[lowest][0]:.4g} on"
        reason = f"{from_on} {precision.n} of {len(sure)} answers go out, {precision.value:.3f} of them right"
    at = None if lowest is None else float(ladder[lowest][0])
    return Precise(at, reason, target, delta, len(sure), kept, precision, share_of(good, level), tried)


def _p(good: np.ndarray, target: float) -> float:
    """The exact p value of "less than `target` are right" (binomial)."""
    return float(scipy.stats.binom.cdf(int((~good).sum()), len(good), 1 - target))
