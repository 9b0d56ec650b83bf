"""Every metric of one system, each with its n and an interval; what cannot be scored is None with a reason, never 0."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.scoring import Scored, metric_names, score_rows
from pp_assets.evaluation.stats.intervals import proportion_interval, quantile_interval
from pp_assets.evaluation.stats.resampling import resampled_interval
from pp_assets.evaluation.tables import INVALID, Table, label

MATRIX_UP_TO = 100  # classes; a larger confusion matrix is only told by its most frequent confusions
CONFUSIONS = 20
LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A number and how far to trust it: `n` items counted, an interval and how it was made; or None and the `reason`."""

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    method: str = ""
    reason: str = ""


def score_system(spec: Any, rows: Sequence[PredictionRow]) -> dict[str, Metric]:
    """Every metric of `metric_names`, in that order. `spec` is a TaskSpec, its dict or a Task."""
    return score_metrics(score_rows(spec, rows))


def score_metrics(scored: Scored) -> dict[str, Metric]:
    """The metrics of rows that have been read."""
    found = {name: table_metric(scored, table) for name, table in scored.tables.items()}
    micros = scored.tables["latency_ms_mean"].counts[:, 0]
    for name, q in (("latency_ms_p50", 0.5), ("latency_ms_p95", 0.95)):
        found[name] = _quantile(micros / 1000, q)
    return {name: found[name] for name in metric_names(scored.scoring.schema)}


def table_metric(scored: Scored, table: Table) -> Metric:
    """Value and interval of one table: exact with mid-p for shares, BCa bootstrap over groups for the rest."""
    value = float(table.value(table.counts.sum(0)))
    if np.isnan(value):
        return Metric(None, 0, reason=table.reason)
    if table.share:
        counted = table.counts[:, 1] > 0
        interval = proportion_interval(table.counts[counted, 0], scored.clusters.subset(counted), LEVEL)
    else:
        sums = scored.blocks.sums(table.counts)
        interval = resampled_interval(table.value, sums, scored.weights, LEVEL, 0.0 if table.bounded else None)
    return Metric(value, table.n, interval.low, interval.high, f"{table.what}; {interval.method}")


def confusion(scored: Scored, path: str) -> dict[str, Any]:
    """Expected against answered classes of one enum or boolean field.

    `labels` and `matrix` (rows expected, columns answered) up to MATRIX_UP_TO classes, else None; `top` the most frequent confusions.
    """
    truth = [label(e, path) for e in scored.expected]
    said = [label(a, path) for a in scored.answers]
    pairs = Counter(zip(truth, said))
    labels = sorted({*truth, *said} - {INVALID}) + ([INVALID] if INVALID in said else [])
    wrong = sorted(((t, s, k) for (t, s), k in pairs.items() if t != s), key=lambda w: (-w[2], w[0], w[1]))
    small = len(labels) <= MATRIX_UP_TO
    return {
        "labels": [show_label(name) for name in labels] if small else None,
        "matrix": [[pairs.get((t, s), 0) for s in labels] for t in labels] if small else None,
        "classes": len(labels),
        "top": [{"expected": show_label(t), "answered": show_label(s), "count": k} for t, s, k in wrong[:CONFUSIONS]],
    }


def confusions(scored: Scored) -> Mapping[str, dict[str, Any]]:
    """The confusion matrix of each enum and boolean field."""
    return {leaf.path: confusion(scored, leaf.path) for leaf in scored.fields if leaf.kind in ("enum", "boolean")}


def show_label(key: str) -> str:
    """A class as people read it: strings without quotes."""
    return key[1:-1] if len(key) > 1 and key.startswith('"') else key


def _quantile(values: np.ndarray, q: float) -> Metric:
    if not np.any(values > 0):
        return Metric(None, 0, reason="no time was stored")
    low, high, method = quantile_interval(values, q, LEVEL)
    what = "milliseconds an item, batch time / batch size"
    return Metric(float(np.quantile(values, q)), len(values), low, high, f"{what}; {method}")
