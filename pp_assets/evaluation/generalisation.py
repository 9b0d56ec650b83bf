"""Does a model know more of what it was trained on than of what is new? Gaps between splits, near neighbours, a learning curve, a verdict.

Rows of two splits are different rows, so that a gap has an interval of two samples: that of the square-and-add rule (MOVER; Newcombe 1998,
Zou and Donner 2008) from the two intervals, which knows of groups and of scores of 0 and 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pp_assets.evaluation.compare import compare_scored
from pp_assets.evaluation.metrics import Metric, table_metric
from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scored, Scoring, score_rows
from pp_assets.evaluation.tables import lower_is_better, of_answers
from pp_assets.evaluation.verdict import format_p

TOLERANCE = 0.05  # of the primary metric: a gap that is borne, as a loss in the comprehensive suite is
LEAST = 10  # items on either side of a comparison of two samples
CLOSE = (0.8, 0.7, 0.6, 0.5, 0.4)  # similarity to the nearest training row, tried in turn until both sides have items
OVERFITS, NO_SIGN, UNKNOWN = "overfits", "no sign of it", "cannot tell"
Rows = Sequence[PredictionRow]


@dataclass(frozen=True)
class Gap:
    """How much more `of` scores than `over`: positive is a loss on the way from the first to the second, also where less is better."""

    of: str
    over: str
    effect: float | None
    low: float | None = None
    high: float | None = None
    verdict: str = UNKNOWN
    reason: str = ""


def generalisation(spec: Any, splits: Mapping[str, Rows], similarity: Mapping[str, float], curve: Mapping[int, Rows]) -> dict[str, Any]:
    """Plain values: `scores` by split, `gaps`, `neighbours`, `curve`, `verdict` with its `reason`.

    `splits` has answers to rows of train, val and test; `similarity` by item id that of each test item to the nearest training row (0 where
    it is far); `curve` by number of training rows the answers to the validation rows of a model that learnt from so many. The verdict is
    that of the gap between training and test rows: it `overfits` when the whole interval lies above TOLERANCE, there is `no sign of it`
    when all of it lies at or below.
    """
    scoring = Scoring.of(spec)
    metric, reader = of_answers(scoring.primary), OutputReader(scoring.schema, scoring.compare)
    scored = {name: score_rows(scoring, rows, reader) for name, rows in splits.items() if rows}
    scores = {name: table_metric(one, one.tables[metric]) for name, one in scored.items()}
    gaps = [gap(metric, a, b, scores) for a, b in (("train", "test"), ("train", "val"), ("val", "test"))]
    near = _neighbours(metric, scored.get("test"), similarity)
    first = gaps[0]
    reason = first.reason or _told(first)
    if near["gap"] and near["gap"]["verdict"] == OVERFITS:
        reason += "; test items like a training row are answered better than others"
    told = {"task": scoring.task, "metric": metric, "tolerance": TOLERANCE, "scores": {name: asdict(m) for name, m in scores.items()}}
    learnt = {size: score_rows(scoring, rows, reader) for size, rows in sorted(curve.items())}
    points = [{"rows": size, **asdict(table_metric(one, one.tables[metric]))} for size, one in learnt.items()]
    told |= {"gaps": [asdict(g) for g in gaps], "neighbours": near, "curve": points, "curve_reason": _still_learning(metric, learnt)}
    return dict(rounded(told | {"verdict": first.verdict, "reason": reason}))


def gap(metric: str, of: str, over: str, scores: Mapping[str, Metric]) -> Gap:
    """The gap between two sets of rows from their scores."""
    a, b = scores.get(of), scores.get(over)
    if a is None or b is None or a.value is None or b.value is None:
        return Gap(of, over, None, reason=f"{metric} has no value on both {of} and {over}")
    if min(a.n, b.n) < LEAST:
        return Gap(of, over, None, reason=f"fewer than {LEAST} rows: {of} {a.n}, {over} {b.n}")
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Gap(of, over, a.value - b.value, reason="no interval: a side does not vary")
    sign = -1 if lower_is_better(metric) else 1
    effect, low, high = difference((a.value, a.low, a.high), (b.value, b.low, b.high))
    if sign < 0:
        effect, low, high = -effect, -high, -low
    verdict = OVERFITS if low > TOLERANCE else NO_SIGN if high <= TOLERANCE else UNKNOWN
    return Gap(of, over, effect, low, high, verdict)


def difference(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """Difference a - b of two independent estimates (value, low, high), with the interval at their level (MOVER)."""
    low = a[0] - b[0] - math.hypot(a[0] - a[1], b[2] - b[0])
    high = a[0] - b[0] + math.hypot(a[2] - a[0], b[0] - b[1])
    return a[0] - b[0], low, high


def _neighbours(metric: str, test: Scored | None, similarity: Mapping[str, float]) -> dict[str, Any]:
    """Test items with a close training row against those without: where the first are much better, rows are remembered."""
    if test is None:
        return {"gap": None, "reason": "no test items"}
    near: list[bool] = []
    for close in CLOSE:
        near = [similarity.get(row.item_id, 0.0) >= close for row in test.rows]
        if min(sum(near), len(near) - sum(near)) >= LEAST:
            break
    else:
        told = f"{sum(near)} of {len(near)} items have a training row with a similarity of {CLOSE[-1]:g} or more"
        return {"gap": None, "reason": f"{told}: fewer than {LEAST} on a side"}
    scores = {name: _part(metric, test, keep) for name, keep in (("near", near), ("far", [not n for n in near]))}
    found = gap(metric, "near", "far", scores)
    return {"close": close, "scores": {name: asdict(m) for name, m in scores.items()}, "gap": asdict(found), "reason": found.reason}


def _part(metric: str, test: Scored, keep: Sequence[bool]) -> Metric:
    rows = [row for row, kept in zip(test.rows, keep) if kept]
    scored = score_rows(test.scoring, rows)
    return table_metric(scored, scored.tables[metric])


def _told(found: Gap) -> str:
    bounds = f"{found.effect:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    if found.verdict == OVERFITS:
        return f"training rows are answered better than test rows by {bounds}, all of it above {TOLERANCE:g}"
    if found.verdict == NO_SIGN:
        return f"the gap between training and test rows is {bounds}: more than {TOLERANCE:g} is ruled out"
    return f"the gap between training and test rows is {bounds}, which holds {TOLERANCE:g}"


def _still_learning(metric: str, curve: Mapping[int, Scored]) -> str:
    """What the last step of the curve says of more data: its models answered the same rows, so that the comparison is paired."""
    if len(curve) < 2:
        return ""
    (less, before), (more, last) = list(curve.items())[-2:]
    found = compare_scored(last, before, metric)
    if found.effect is None or found.low is None or found.high is None:
        return f"from {less} to {more} rows: {found.reason or found.interval}"
    said = f"from {less} to {more} rows {found.effect:+.3f} [{found.low:+.3f}, {found.high:+.3f}], p {format_p(found.p_value)}: "
    return said + ("more rows still help" if found.low > 0 else "more rows are not shown to help")
