"""Group fairness of the fields with classes, over counterfactual groups that hold the same items.

Values are fairlearn's demographic parity difference and equalised odds difference (Agarwal et al. 2018; Hardt et al. 2016), class by class,
one against the rest. fairlearn's own bootstrap draws rows; here whole groups of related items are drawn, so the intervals are ours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.stats.groups import Clusters
from pp_assets.evaluation.suite.paired import LEVEL, Judge
from pp_assets.evaluation.tables import label

CLASSES = 20  # the most frequent ones are looked at


def parity(judge: Judge, rows: Mapping[str, Sequence[PredictionRow]]) -> list[dict[str, Any]]:
    """Per enum and boolean field the class with the largest differences between groups; `rows` are the same items in each group."""
    scored = {group: judge.scored(some) for group, some in rows.items()}
    first = next(iter(scored.values()))
    found = []
    for leaf in first.fields:
        if leaf.kind in ("enum", "boolean"):
            truth = np.array([[label(e, leaf.path) for e in s.expected] for s in scored.values()])
            said = np.array([[label(a, leaf.path) for a in s.answers] for s in scored.values()])
            classes = [name for name, _ in sorted(Counter(said.ravel().tolist()).items(), key=lambda p: (-p[1], p[0]))[:CLASSES]]
            entry: dict[str, Any] = {"field": leaf.path, "classes": len(classes), "n": truth.shape[1]}
            for name, measure in (("demographic_parity", _parity_gap), ("equalised_odds", _odds_gap)):
                gaps = {c: float(measure(_counts(truth == c, said == c).sum(1))) for c in classes}
                worst = max(gaps, key=lambda c: (gaps[c], c))
                low, high = _interval(measure, truth == worst, said == worst, first.blocks, first.weights)
                value = fair(name, truth == worst, said == worst, list(scored))
                entry[name] = {"difference": value, "low": low, "high": high, "class": worst}
            found.append(entry)
    return found


def fair(measure: str, truth: np.ndarray, said: np.ndarray, groups: Sequence[str]) -> float:
    """fairlearn's value of one class; `truth` and `said` are bool (groups, items)."""
    import warnings

    from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

    function = demographic_parity_difference if measure == "demographic_parity" else equalized_odds_difference
    members = np.repeat(np.asarray(groups, dtype=object), truth.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that no item has: its rate is 0 in each group
        return float(function(truth.ravel().astype(int), said.ravel().astype(int), sensitive_features=members))


def _interval(measure: Any, truth: np.ndarray, said: np.ndarray, clusters: Clusters, weights: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap over groups of items. A difference is never negative, so an interval that begins at 0 shows nothing."""
    sums = np.stack([weights @ clusters.sums(counts) for counts in _counts(truth, said)])
    low, high = np.quantile(measure(sums), [(1 - LEVEL) / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def _counts(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Per item (groups, items, 5): given the class, rightly, wrongly; has the class, has it not."""
    return np.stack([said, truth & said, ~truth & said, truth, ~truth], axis=2).astype(float)


def _parity_gap(sums: np.ndarray) -> np.ndarray:
    """From sums (groups, …, 5) the largest less the smallest share of items that get the class."""
    return np.ptp(sums[..., 0] / (sums[..., 3] + sums[..., 4]), axis=0)


def _odds_gap(sums: np.ndarray) -> np.ndarray:
    """The larger of the differences in true and in false positive rate."""
    hits, false = (np.divide(sums[..., i], sums[..., i + 2], out=np.zeros_like(sums[..., 0]), where=sums[..., i + 2] > 0) for i in (1, 2))
    return np.maximum(np.ptp(hits, axis=0), np.ptp(false, axis=0))
