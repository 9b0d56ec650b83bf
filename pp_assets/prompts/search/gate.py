"""The way out of a search: a paired test of the chosen finalist against the task's own prompt, on test rows that nobody has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pp_assets.evaluation.compare import Comparison, Items, compare_scored, compare_tables, items_needed, with_holm
from pp_assets.evaluation.predictions import PredictionRow, make_rows
from pp_assets.evaluation.rules import broken_by_test
from pp_assets.evaluation.scoring import Scored, score_rows
from pp_assets.evaluation.slices import slice_comparisons
from pp_assets.evaluation.tables import Table
from pp_assets.evaluation.verdict import USUAL_EFFECT, p_cell
from pp_assets.prompts.candidate import Judged
from pp_assets.task.spec import TaskSpec
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction

Label = Literal["RELEASE", "NOT PROVEN", "WORSE"]
VALID = "schema_valid_rate"


@dataclass(frozen=True)
class Limits:
    """What a released prompt may take at most: mean `tokens` of an answer (read and written), mean `latency_ms`, and `invalid`, the share
    of answers that break the schema. None: no limit."""

    tokens: float | None = None
    latency_ms: float | None = None
    invalid: float | None = None


UNLIMITED = Limits()


@dataclass(frozen=True)
class Ruling:
    """`reasons` are whole sentences. `needed` are the test rows on which the effect (or `min_effect`, where that is larger) would be found
    with 80 % power; None where that cannot be said. `tested` is False where the test split was not opened."""

    label: Label
    reasons: tuple[str, ...]
    tested: bool
    comparison: Mapping[str, Any] | None = None
    needed: int | None = None
    floors: Sequence[Mapping[str, Any]] = ()
    means: Mapping[str, Mapping[str, float]] | None = None

    @property
    def plain(self) -> dict[str, Any]:
        return asdict(self)


def worth_testing(finalists: Sequence[Judged], start: str) -> tuple[Judged | None, str]:
    """(the finalist to test, "") or (None, why the test split stays shut): a best one that is not even better where it was chosen."""
    best, own = finalists[0], next(one for one in finalists if one.candidate.id == start)
    if best.candidate.id == start:
        return None, "No candidate was better than the task's own prompt on the rows it was chosen by."
    gain = best.score - own.score
    if gain <= 0:
        return None, f"The best candidate was not better than the task's own prompt where it was chosen ({gain:+.4f})."
    return best, ""


def untested(why: str) -> Ruling:
    return Ruling("NOT PROVEN", (why, "The test split was not opened."), False)


def rule(spec: TaskSpec, ours: Judged, own: Judged, limits: Limits = UNLIMITED) -> Ruling:
    """Whether `ours` may take the place of `own`: both judged on the same test rows, which were opened for this alone.

    RELEASE: better by the task's primary metric at its alpha and by its `min_effect`, and surely worse in no dimension of the contract, no
    slice and no share of valid answers (Holm's method), within the limits, and no rule of the task on a test broken. WORSE: shown to be
    worse. Else NOT PROVEN.
    """
    a, b = scored(spec, ours), scored(spec, own)
    found = compare_scored(a, b)
    alpha, least = a.scoring.alpha, a.scoring.min_effect
    floors = [*_dimensions(ours, own, a, alpha), *_slices(a, b, alpha), *_valid(a, b, alpha)]
    means = {name: _means(one, table) for name, one, table in (("ours", ours, a), ("own", own, b))}
    told: dict[str, Any] = {"tested": True, "comparison": asdict(found), "floors": floors, "means": means}
    if found.effect is None or found.p_value is None:
        return Ruling("NOT PROVEN", (f"{found.metric} cannot be compared: {found.reason}.",), **told)
    sure = found.p_value < alpha
    said = f"{found.metric}: {_span(found)} on {found.n} test rows, p {p_cell(found.p_value)}."
    if sure and found.effect < 0:
        return Ruling("WORSE", (f"Worse than the task's own prompt. {said}",), **told)
    needed = items_needed(found, max(found.effect, least) if found.effect > 0 else least or USUAL_EFFECT, alpha)
    broken = [*(f"{one['of']} is surely worse ({one['effect']:+.4f})." for one in floors if one["worse"]), *_beyond(means["ours"], limits)]
    broken += broken_by_test(spec.validation_rules, a, found)
    if sure and found.effect > 0 and found.effect >= least and not broken:
        return Ruling("RELEASE", (f"Better than the task's own prompt. {said}",), **told)
    reasons = [f"Not shown to be better than the task's own prompt. {said}"] if not sure else [said]
    if sure and found.effect < least:
        reasons.append(f"The gain is smaller than the {least:g} that the task asks for.")
    if needed and not (sure and broken):
        reasons.append(
            f"About {needed} test rows would show {'such an effect' if found.effect > 0 else f'an effect of {least or USUAL_EFFECT:g}'}."
        )
    return Ruling("NOT PROVEN", (*reasons, *broken), needed=needed, **told)


def scored(spec: TaskSpec, one: Judged) -> Scored:
    return score_rows(spec, rows_of(spec, one))


def rows_of(spec: TaskSpec, one: Judged) -> list[PredictionRow]:
    """The answers as rows of predictions."""
    return make_rows(one.rows, one.answers, lambda output: dump_output(spec.output_schema, output))


def _dimensions(ours: Judged, own: Judged, of: Scored, alpha: float) -> list[dict[str, Any]]:
    place = {row.item_id: i for i, row in enumerate(ours.rows)}
    order = [place[row.item_id] for row in of.rows]
    found: list[Comparison] = []
    for label in ours.dimensions:
        pair = [_table(one.dimensions[label][order], label) for one in (ours, own)]
        both = (pair[0].counts[:, 1] > 0) & (pair[1].counts[:, 1] > 0)
        if both.any():
            pair = [Table(table.counts * both[:, None], label) for table in pair]
            found.append(compare_tables(label, pair[0], pair[1], Items(of.clusters, alpha, of.scoring.seed)))
    return [_floor(f"Dimension {one.metric!r}", asdict(one), alpha) for one in with_holm(found)]


def _table(scores: np.ndarray, label: str) -> Table:
    there = ~np.isnan(scores)
    return Table(np.stack([np.where(there, scores, 0.0), there.astype(float)], axis=1), label)


def _slices(a: Scored, b: Scored, alpha: float) -> list[dict[str, Any]]:
    return [_floor(f"Slice {row['slice']!r}", row, alpha) for row in slice_comparisons(a, b, a.scoring.primary)["rows"]]


def _valid(a: Scored, b: Scored, alpha: float) -> list[dict[str, Any]]:
    found = compare_scored(a, b, VALID)
    return [_floor("The share of valid answers", asdict(found) | {"p_holm": found.p_value}, alpha)]


def _floor(of: str, found: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    effect, p = found["effect"], found["p_holm"]
    worse = effect is not None and p is not None and effect < 0 and p < alpha
    return {"of": of, "n": found["n"], **{key: found[key] for key in ("effect", "low", "high", "p_value")}, "p_holm": p, "worse": worse}


def _means(one: Judged, of: Scored) -> dict[str, float]:
    said: Sequence[Prediction] = one.answers
    return {
        "score": round(one.score, 6),
        "tokens": round(one.tokens, 2),
        "latency_ms": round(float(np.mean([answer.latency_ms for answer in said])), 3),
        "invalid": round(float(np.mean([not answer.valid for answer in of.answers])), 6),
    }


def _beyond(means: Mapping[str, float], limits: Limits) -> list[str]:
    named = {"tokens": "tokens an answer", "latency_ms": "milliseconds an answer", "invalid": "of its answers invalid"}
    most = asdict(limits)
    return [
        f"It has {means[key]:g} {what}: {most[key]:g} are allowed."
        for key, what in named.items()
        if (most[key] is not None and means[key] > most[key])
    ]


def _span(found: Comparison) -> str:
    ends = "" if found.low is None or found.high is None else f" [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.value:.4f} against {found.other_value:.4f}, {found.effect:+.4f}{ends}"
