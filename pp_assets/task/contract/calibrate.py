"""Calibration of a contract on what people said, judged on rows that it did not see: refused where it is not better there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.resampling import bootstrap_weights
from pp_assets.task.contract.fit import Marks, fit
from pp_assets.task.contract.score import aggregate
from pp_assets.task.contract.spec import Contract
from pp_resources.errors import UserError
from pp_resources.progress import steps

FOLDS, RESAMPLES, LEVEL = 5, 1000, 0.95
LEAST = 20  # inputs; fewer cannot show anything on held-out folds
GOOD = 0.5  # a mark from here on says that an output is good
BINS = 10  # of equal mass, for the expected calibration error
MOST = 1500  # outputs whose pairs are compared: more are taken evenly


@dataclass(frozen=True)
class Measured:
    """One figure on held-out rows, before and after, each as (value, low, high), and the paired difference; None with a reason."""

    name: str
    before: tuple[float, float, float] | None
    after: tuple[float, float, float] | None
    difference: tuple[float, float, float] | None
    reason: str = ""


@dataclass(frozen=True)
class Calibration:
    """`contract` is fitted on all marks; `measured` is of `n` held-out outputs of `groups` inputs. `refused` says why it is not to be used,
    "" where it is better."""

    contract: Contract
    measured: list[Measured]
    n: int
    groups: int
    refused: str

    def of(self, name: str) -> Measured:
        return next(one for one in self.measured if one.name == name)


def calibrate(contract: Contract, marks: Marks, *, seed: int = 0) -> Calibration:
    """Fit maps and weights on five folds of whole inputs in turn, compare the totals of the held-out ones before and after.

    It is refused unless the mean absolute error (for preferences: the share of pairs in the right order) is surely better than before, and
    better than what says nothing of the row: one constant for all (for pairs: a coin). Otherwise a map that learnt no more than the mean of
    the marks would count as better.
    """
    clusters = Clusters.of(list(marks.groups))
    if clusters.count < LEAST:
        raise UserError(
            f"{clusters.count} marked inputs cannot show anything on held-out folds", where="calibrate", how=f"mark {LEAST} or more"
        )
    fold = generator(seed, "folds").permutation(clusters.count)[clusters.codes] % FOLDS
    none = [dict[str, str]() for _ in marks.raw]
    before = aggregate(contract, marks.raw, marks.shut, marks.closed, none).total
    after, constant = np.full(len(before), np.nan), np.full(len(before), np.nan)
    with steps("calibrating", FOLDS + 1) as advance:
        for k in range(FOLDS):
            seen, out = marks.subset(fold != k), fold == k
            made = fit(contract, seen)
            part = marks.subset(out)
            after[out] = aggregate(made, part.raw, part.shut, part.closed, [{} for _ in part.raw]).total
            if seen.score is not None:
                constant[out] = np.median(seen.score)
            advance(f"fold {k + 1}")
        whole = fit(contract, marks)
        advance("all")
    # Only what has a total both times can be compared.
    there = ~np.isnan(before) & ~np.isnan(after)
    if not there.any():
        raise UserError("no marked output has a total", where="calibrate", how="'pp contract score' tells why")
    held = _Held(marks.subset(there), before[there], after[there], constant[there], seed)
    measured = held.measured()
    return Calibration(whole, measured, int(there.sum()), held.clusters.count, held.verdict(measured))


class _Held:
    """Held-out totals, and every figure as a function of how often each output counts.

    mae: distance from the mark. brier: its square, the Brier score where marks are 0 and 1. ece: distance in bins. auc: a good output (mark
    from GOOD on) above a bad one. pair_accuracy: of two outputs with different marks the better one above.
    """

    def __init__(self, marks: Marks, before: np.ndarray, after: np.ndarray, constant: np.ndarray, seed: int) -> None:
        self.marks, self.before, self.after, self.constant = marks, before, after, constant
        self.clusters = Clusters.of(list(marks.groups))
        draws = bootstrap_weights(self.clusters.count, generator(seed, "held-out"), RESAMPLES)
        # The first line is the data as they are.
        self.weights = np.vstack([np.ones(self.clusters.count), draws])[:, self.clusters.codes]

    def measured(self) -> list[Measured]:
        if self.marks.pairs is not None:
            better, worse = self.marks.pairs.T
            counts = self.weights[:, better]
            return [_compare("pair_accuracy", *((counts * _order(t[better] - t[worse])).sum(1) / counts.sum(1) for t in self._both))]
        good = (self._score >= GOOD).astype(float)
        found = [
            _compare("mae", *(_mean(self.weights, np.abs(t - self._score)) for t in self._both)),
            _compare("brier", *(_mean(self.weights, (t - self._score) ** 2) for t in self._both)),
            _compare("ece", *(_ece(self.weights, t, self._score) for t in self._both)),
        ]
        if good.min() == good.max():
            found.append(Measured("auc", None, None, None, f"every mark lies {'from' if good[0] else 'below'} {GOOD} on one side"))
        else:
            found.append(_compare("auc", *(_concordance(self.weights, t, good) for t in self._both)))
        return [*found, _compare("pair_accuracy", *(_concordance(self.weights, t, self._score) for t in self._both))]

    def verdict(self, measured: list[Measured]) -> str:
        """Why the calibration is refused, "" where it is better."""
        main = measured[0]
        assert main.after is not None and main.difference is not None
        value, low, high = main.difference
        told = f"{value:+.4f} [{low:+.4f}, {high:+.4f}] on {len(self.before)} held-out outputs"
        if self.marks.pairs is not None:
            if low <= 0:
                return f"the share of pairs in the right order is not surely higher: {told}"
            return "" if main.after[1] > 0.5 else f"pairs are not surely ordered better than by a coin (from {main.after[1]:.3f})"
        if high >= 0:
            return f"the mean absolute error is not surely smaller: {told}"
        gain = _compare("", *(_mean(self.weights, np.abs(t - self._score)) for t in (self.constant, self.after))).difference
        assert gain is not None
        if gain[2] >= 0:
            return (
                f"it is not surely better than saying the median of the marks every time: {gain[0]:+.4f} [{gain[1]:+.4f}, {gain[2]:+.4f}]"
            )
        return ""

    @property
    def _both(self) -> tuple[np.ndarray, np.ndarray]:
        return self.before, self.after

    @property
    def _score(self) -> np.ndarray:
        assert self.marks.score is not None
        return self.marks.score


def _compare(name: str, before: np.ndarray, after: np.ndarray) -> Measured:
    """Values of all resamples, the first of the data as they are."""
    return Measured(name, _interval(before), _interval(after), _interval(after - before))


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(values[0]), float(low), float(high)


def _mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    found: np.ndarray = weights @ values / weights.sum(1)
    return found


def _ece(weights: np.ndarray, said: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Mean distance of what was said from the mean mark, in bins of equal mass of the whole."""
    edges = np.quantile(said, np.linspace(0, 1, BINS + 1)[1:-1])
    member = np.eye(BINS)[np.searchsorted(edges, said, side="right")]
    found: np.ndarray = np.abs(weights @ (member * (said - marked)[:, None])).sum(1) / weights.sum(1)
    return found


def _concordance(weights: np.ndarray, said: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Share of pairs with different marks that are in the right order, a tie counting one half; for marks of 0 and 1 the AUC."""
    some = np.unique(np.linspace(0, len(said) - 1, min(len(said), MOST)).astype(int))
    weights, said, marked = weights[:, some], said[some], marked[some]
    above = marked[:, None] > marked[None]
    right = np.where(above, _order(said[:, None] - said[None]), 0.0)
    pairs = ((weights @ above) * weights).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(((weights @ right) * weights).sum(1) / pairs)


def _order(difference: np.ndarray) -> np.ndarray:
    return np.where(np.abs(difference) < 1e-12, 0.5, (difference > 0).astype(float))


def as_record(found: Calibration) -> dict[str, Any]:
    """What a person or a machine is shown."""
    return {
        "n": found.n,
        "inputs": found.groups,
        "refused": found.refused or None,
        "measured": {
            m.name: {side: _triple(getattr(m, side)) for side in ("before", "after", "difference")}
            | ({"reason": m.reason} if m.reason else {})
            for m in found.measured
        },
    }


def _triple(found: Sequence[float] | None) -> dict[str, float] | None:
    return None if found is None else dict(zip(("value", "low", "high"), (round(v, 6) for v in found)))
