"""Whether answers follow from the steps before them, and whether it shows in their quality."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pp_assets.evaluation.metrics import LEVEL, Metric
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.stats.intervals import proportion_interval
from pp_assets.prompts.candidate import Judged
from pp_assets.prompts.reasoning.checks import StepChecker, by_reason
from pp_assets.prompts.search.gate import scored
from pp_assets.task.spec import TaskSpec

UNREAD = "the answer is no object"


@dataclass(frozen=True)
class Consistency:
    """`passing`: the share of answers whose steps pass the checks. `when_passing` and `when_not`: the share of whole objects right among
    these and among the others. `reasons`: how many answers have which fault."""

    passing: Metric
    when_passing: Metric
    when_not: Metric
    reasons: Mapping[str, int]


def consistency(spec: TaskSpec, reasoned: Judged) -> Consistency:
    """Of a candidate that was asked for steps. Steps are held against the answer that was given, right or wrong."""
    of = scored(spec, reasoned)
    said = {row.item_id: answer for row, answer in zip(reasoned.rows, reasoned.answers, strict=True)}
    checker = StepChecker(spec.output_schema)
    faults = [
        [UNREAD] if answer.value is None else [f.reason for f in checker.faults(row.input_text, answer.value, said[row.item_id].reasoning)]
        for row, answer in zip(of.rows, of.answers, strict=True)
    ]
    passing = np.array([not found for found in faults])
    every = np.ones(len(passing), bool)
    return Consistency(
        _share(of, passing, every, ""),
        _share(of, of.exact, passing, "the steps of no answer pass"),
        _share(of, of.exact, ~passing, "the steps of all answers pass"),
        by_reason(faults),
    )


def _share(of: Scored, hits: np.ndarray, among: np.ndarray, reason: str) -> Metric:
    if not among.any():
        return Metric(None, 0, reason=reason)
    found = hits[among].astype(float)
    interval = proportion_interval(found, of.clusters.subset(among), LEVEL)
    return Metric(float(found.mean()), len(found), interval.low, interval.high, interval.method)
