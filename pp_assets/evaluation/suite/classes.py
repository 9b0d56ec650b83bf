"""Fields with classes: accuracy, precision, recall and F1 per class and macro, and ROC AUC from the probabilities of the classes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from pp_assets.evaluation.metrics import Metric, show_label, table_metric
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.suite.paired import LEVEL
from pp_assets.evaluation.tables import Table, label
from pp_resources.json_schema import Field
from pp_resources.models.interface import Choice, Prediction


def class_metrics(scored: Scored, predictions: Sequence[Prediction], no_choices: str = "") -> list[dict[str, Any]]:
    """One entry for each enum and boolean field. `predictions` are those of `scored.rows`, in that order; `no_choices` says why they
    hold no distributions."""
    return [_field(scored, leaf, predictions, no_choices) for leaf in scored.fields if leaf.kind in ("enum", "boolean")]


def _field(scored: Scored, leaf: Field, predictions: Sequence[Prediction], no_choices: str) -> dict[str, Any]:
    from sklearn.metrics import precision_recall_fscore_support

    truth = np.array([label(e, leaf.path) for e in scored.expected], dtype=object)
    said = np.array([label(a, leaf.path) for a in scored.answers], dtype=object)
    classes = sorted({*truth, *said})
    values = precision_recall_fscore_support(truth, said, labels=classes, zero_division=0)
    rows = []
    for place, name in enumerate(classes):
        hit, answered, expected = (truth == name) & (said == name), said == name, truth == name
        tables = {
            "precision": (hit, answered, "never answered"),
            "recall": (hit, expected, "never expected"),
            "f1": (2 * hit.astype(float), answered.astype(float) + expected, "neither answered nor expected"),
        }
        row: dict[str, Any] = {"class": show_label(name), "support": int(expected.sum()), "answered": int(answered.sum())}
        for (metric, (top, bottom, reason)), found in zip(tables.items(), values):
            table = Table(np.stack([top, bottom], axis=1).astype(float), metric, reason)
            metric_ = table_metric(scored, table)
            row[metric] = asdict(metric_ if metric_.value is None else replace(metric_, value=float(found[place])))
        rows.append(row)
    scores = [_by_class(p.choices.get(leaf.path, ())) for p in predictions]
    return {
        "field": leaf.path,
        "accuracy": asdict(table_metric(scored, scored.tables[f"field_exact.{leaf.path}"])),
        "macro_f1": asdict(table_metric(scored, scored.tables[f"field_f1.{leaf.path}"])),
        "classes": rows,
        "roc_auc": asdict(_auc(scored, truth, scores, no_choices or "the model gives no probabilities for the classes of this field")),
    }


def _auc(scored: Scored, truth: np.ndarray, scores: Sequence[dict[str, float]], reason: str) -> Metric:
    """Mean over the classes of the area under the ROC curve, one against the rest, of classes that some items have and some have not."""
    from sklearn.metrics import roc_auc_score

    if not all(scores):
        return Metric(None, 0, reason=reason)
    classes = [c for c in sorted(set(truth)) if 0 < np.sum(truth == c) < len(truth)]
    if not classes:
        return Metric(None, 0, reason="all items have one class")
    columns = {c: np.array([choices.get(c, 0.0) for choices in scores]) for c in classes}
    value = float(np.mean([roc_auc_score(truth == c, columns[c]) for c in classes]))
    weights = scored.weights[:, scored.blocks.codes]
    by_class = np.stack([resampled_auc(truth == c, columns[c], weights) for c in classes])
    there = np.isfinite(by_class)
    boot = np.where(there, by_class, 0.0).sum(0)[there.any(0)] / there.sum(0)[there.any(0)]
    low, high = np.quantile(boot, [(1 - LEVEL) / 2, 0.5 + LEVEL / 2])
    what = f"macro ROC AUC, one against the rest, {len(classes)} classes; percentile bootstrap over groups"
    return Metric(value, len(truth), float(low), float(high), what)


def resampled_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC for each row of `weights` (resamples, items), the probability that a positive item scores higher than a negative one; nan where
    a resample has no such pair."""
    ours, theirs = weights[:, positive], weights[:, ~positive]
    wins = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    with np.errstate(invalid="ignore"):
        return ((ours @ wins) * theirs).sum(1) / (ours.sum(1) * theirs.sum(1))


def _by_class(choices: Sequence[Choice]) -> dict[str, float]:
    return {json.dumps(c.value, ensure_ascii=False, separators=(",", ":")): float(c.probability) for c in choices}
