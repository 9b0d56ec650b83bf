"""Corpus metrics: functions of the sums over items of whole-number counts, such as F1 and BLEU, which are no means of items.

Items, or whole groups of them, are resampled and the metric is computed anew from the sums of each resample.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.intervals import Interval
from pp_assets.evaluation.stats.paired import swap_test
from pp_assets.evaluation.stats.resampling import Statistic, bootstrap_weights, resampled_interval

ORDERS = 4  # n-grams of BLEU


class CorpusDifference(NamedTuple):
    """First system - second: the difference of the metric, its interval and how it was made, the paired permutation test."""

    effect: float | None
    low: float | None
    high: float | None
    method: str
    p: float | None
    test: str


def corpus_interval(
    statistic: Statistic, sums: np.ndarray, clusters: Clusters | None = None, *, seed: int = 0, level: float = 0.95
) -> Interval:
    """BCa interval of a metric between 0 and 1; `sums` (n, k) are the counts of each item."""
    if len(sums) < 2:
        return Interval(None, None, "no interval: fewer than two items")
    grouped = sums if clusters is None else clusters.sums(sums)
    weights = bootstrap_weights(len(grouped), generator(seed, "bootstrap"))
    return resampled_interval(statistic, grouped, weights, level, 0.0)


def corpus_difference(
    statistic: Statistic, a: np.ndarray, b: np.ndarray, clusters: Clusters | None = None, *, seed: int = 0, level: float = 0.95
) -> CorpusDifference:
    """Paired comparison of two systems by a metric between 0 and 1; `a`, `b` (n, k) are the counts of the same items, row by row."""
    ours, theirs = (np.asarray(s, dtype=float) if clusters is None else clusters.sums(s) for s in (a, b))
    effect = float(statistic(ours.sum(0)) - statistic(theirs.sum(0)))
    if len(ours) < 2 or not np.isfinite(effect):
        why = "fewer than two items" if len(ours) < 2 else "a system has no value"
        return CorpusDifference(effect if np.isfinite(effect) else None, None, None, f"no interval: {why}", None, why)
    width = ours.shape[1]

    def gap(sums: np.ndarray) -> np.ndarray:
        return statistic(sums[..., :width]) - statistic(sums[..., width:])

    weights = bootstrap_weights(len(ours), generator(seed, "bootstrap"))
    found = resampled_interval(gap, np.hstack([ours, theirs]), weights, level, -1.0)
    p, patterns = swap_test(statistic, ours, theirs, generator(seed, "swap"))
    return CorpusDifference(effect, found.low, found.high, found.method, p, f"paired permutation ({patterns})")


def f1(sums: np.ndarray) -> np.ndarray:
    """F1 from sums (..., 3) of true positives, false positives and false negatives: (...), nan where there is nothing to find or found."""
    hits, wrong, missed = (sums[..., i] for i in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(hits + wrong + missed > 0, 2 * hits / (2 * hits + wrong + missed), np.nan)


def bleu(sums: np.ndarray) -> np.ndarray:
    """BLEU in 0..1 from sums (..., 10) of `bleu_counts`: (...).

    As sacrebleu computes it by default (orders 1 to 4, exponential smoothing), which prints it times 100.
    """
    said, wanted, right, made = sums[..., 0], sums[..., 1], sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        halved = 0.5 ** np.cumsum(right == 0, axis=-1)
        precision = np.where(right > 0, right, halved) / made
        brief = np.where(said >= wanted, 1.0, np.exp(1 - wanted / said))
        value = brief * np.exp(np.log(precision).mean(-1))
    there = (right > 0).any(-1) & (made > 0).all(-1) & (said > 0)
    return np.where(there, value, np.where(wanted > 0, 0.0, np.nan))


def bleu_counts(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Sufficient statistics of BLEU for each item, (n, 10): lengths of output and reference, n-grams in common, n-grams of the output.

    Tokens are those of sacrebleu's default ("13a").
    """
    from sacrebleu.metrics import BLEU

    metric = BLEU(effective_order=True)  # of single items; changes no count
    found = [metric.sentence_score(said, [wanted]) for said, wanted in zip(outputs, references, strict=True)]
    return np.array([[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in found], dtype=float).reshape(len(found), 2 + 2 * ORDERS)
