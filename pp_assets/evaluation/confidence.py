"""Confidences: are they true (calibration), and what is gained by leaving out the least sure answers (selective prediction)?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pp_assets.evaluation.metrics import LEVEL, Metric
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.stats.intervals import proportion_interval
from pp_resources.models.encoder.calibration import ECE_BINS, abstain_threshold, coverage_curve

WHOLE = "(whole object)"
MIN_ITEMS = 20
TARGETS = (0.9, 0.95, 0.99)
CURVE_POINTS = 20
AT_ONCE = 1 << 22  # weights of answers held at a time (32 MB), however many answers there are


def calibration(scored: Scored) -> list[dict[str, Any]]:
    """One entry for the whole object and one for each field: ECE over bins of equal size (Naeini et al. 2015) with its table,
    where each bin has an interval of its own, risk-coverage curve and AURC."""
    entries = [(WHOLE, [row.confidence for row in scored.rows], scored.exact)]
    for leaf in scored.fields:
        right = np.array([a.keys.get(leaf.path) == e.keys[leaf.path] for a, e in zip(scored.answers, scored.expected)])
        entries.append((leaf.path, [row.fields.get(leaf.path) for row in scored.rows], right))
    return [_entry(scored, path, confidences, right) for path, confidences, right in entries]


def _entry(scored: Scored, path: str, confidences: Sequence[float | None], right: np.ndarray) -> dict[str, Any]:
    given = np.array([c is not None for c in confidences])
    n = int(given.sum())
    if n < MIN_ITEMS:
        none = asdict(Metric(None, n, reason=f"{n} answers have a confidence; {MIN_ITEMS} are needed"))
        return {"field": path, "ece": none, "aurc": none, "reliability": [], "curve": [], "thresholds": []}
    sure = np.array([c for c in confidences if c is not None], dtype=float)
    hits = right[given].astype(float)
    bins = equal_mass(sure)
    curve = coverage_curve(sure.tolist(), (hits > 0).tolist())
    kept = [curve[i] for i in sorted({round(j * (len(curve) - 1) / (CURVE_POINTS - 1)) for j in range(CURVE_POINTS)})]
    thresholds = [(target, abstain_threshold(curve, target)) for target in TARGETS]
    return {
        "field": path,
        "ece": asdict(_ece_metric(scored, given, sure, hits, bins)),
        "aurc": asdict(_metric(scored, given, lambda w: aurc(sure, hits, w), "area under the risk-coverage curve")),
        "reliability": [_bin(scored, np.flatnonzero(given)[bins == b], sure[bins == b], hits[bins == b]) for b in np.unique(bins)],
        "curve": [{"threshold": p.threshold, "coverage": p.coverage, "risk": 1 - p.accuracy} for p in kept],
        "thresholds": [{"target": target, **(asdict(point) if point else {"threshold": None})} for target, point in thresholds],
    }


def equal_mass(confidences: np.ndarray) -> np.ndarray:
    """The bin of each answer, 0..ECE_BINS-1, the least sure first; equal numbers in each."""
    n = len(confidences)
    bins = np.empty(n, dtype=int)
    edges = [n * i // ECE_BINS for i in range(ECE_BINS + 1)]
    bins[np.argsort(confidences, kind="stable")] = np.repeat(np.arange(ECE_BINS), np.diff(edges))
    return bins


def ece(confidences: np.ndarray, hits: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error for each row of `weights` (resamples, answers): mean distance of confidence and accuracy over the bins."""
    gaps = np.stack([weights[:, bins == b] @ (confidences - hits)[bins == b] for b in np.unique(bins)])
    return np.abs(gaps).sum(0) / weights.sum(1)


def aurc(confidences: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the risk-coverage curve (Geifman and El-Yaniv 2017) for each row of `weights` (resamples, answers).

    The risk when everything down to an answer is kept, mean over the answers; those of equal confidence are kept together.
    """
    order = np.argsort(-confidences, kind="stable")
    ranked, errors, w = confidences[order], 1 - hits[order], weights[:, order]
    last = np.searchsorted(-ranked, -ranked, side="right") - 1
    kept, wrong = np.cumsum(w, axis=1)[:, last], np.cumsum(w * errors, axis=1)[:, last]
    risk = np.divide(wrong, kept, out=np.zeros_like(wrong), where=kept > 0)
    return (w * risk).sum(1) / w.sum(1)


def _bin(scored: Scored, places: np.ndarray, sure: np.ndarray, hits: np.ndarray) -> dict[str, Any]:
    inside = np.isin(np.arange(len(scored.rows)), places)
    interval = proportion_interval(hits, scored.clusters.subset(inside), LEVEL)
    return {"n": len(hits), "confidence": float(sure.mean()), "right": float(hits.mean()), "low": interval.low, "high": interval.high}


def _ece_metric(scored: Scored, given: np.ndarray, sure: np.ndarray, hits: np.ndarray, bins: np.ndarray) -> Metric:
    """ECE with an interval of the true error, of which the value itself is too much on few answers.

    Resamples add the same bias once more, b = their mean - value: the interval is that of the resamples, its lower end moved by 2b and
    its upper end by b. The lower end is 0 where confidences that are right as often as they say, items of a group together, show as large
    an error in more than 2.5 % of draws (consistency resampling, Bröcker and Smith 2007). With 60, 150 and 600 answers and true errors of
    0, .06 and .17 it covered 91 to 98 % of 150 samples, in groups of three 93 to 100 %; plain percentiles covered 0, 5 and 90 % at 150.
    """
    value = float(ece(sure, hits, bins, np.ones((1, len(sure))))[0])
    boot = _resampled(scored, given, lambda w: ece(sure, hits, bins, w))
    bias = max(0.0, float(boot.mean()) - value)
    low, high = np.quantile(boot, [(1 - LEVEL) / 2, 0.5 + LEVEL / 2])
    by_chance = float(np.quantile(_calibrated(scored, given, sure, bins, len(boot)), 0.5 + LEVEL / 2))
    low = 0.0 if value <= by_chance else max(0.0, low - 2 * bias)
    what = f"ECE over {ECE_BINS} bins of equal size; bootstrap over groups less its bias, from 0 where a calibrated model shows as much"
    return Metric(value, len(sure), float(low), float(high - bias), what)


def _calibrated(scored: Scored, given: np.ndarray, sure: np.ndarray, bins: np.ndarray, draws: int) -> np.ndarray:
    """ECE of answers that are right exactly as often as their confidences say, (draws,)."""
    clusters, rng = scored.clusters.subset(given), generator(scored.scoring.seed, "calibrated")
    size, found = max(1, AT_ONCE // len(sure)), []
    member = (bins[:, None] == np.unique(bins)).astype(float)
    for start in range(0, draws, size):
        luck = rng.random((min(size, draws - start), clusters.count))[:, clusters.codes]
        found.append(np.abs((sure - (luck < sure)) @ member).sum(1) / len(sure))
    return np.concatenate(found)


def _metric(scored: Scored, given: np.ndarray, measure: Callable[[np.ndarray], np.ndarray], what: str) -> Metric:
    n = int(given.sum())
    low, high = np.quantile(_resampled(scored, given, measure), [(1 - LEVEL) / 2, 0.5 + LEVEL / 2])
    return Metric(float(measure(np.ones((1, n)))[0]), n, float(low), float(high), f"{what}; percentile bootstrap over groups")


def _resampled(scored: Scored, given: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What is measured on each resample of groups that holds any of the answers."""
    codes, boot = scored.blocks.codes[given], []
    size = max(1, AT_ONCE // len(codes))
    for start in range(0, len(scored.weights), size):
        weights = scored.weights[start : start + size][:, codes]
        boot.append(measure(weights[weights.sum(1) > 0]))
    return np.concatenate(boot)
