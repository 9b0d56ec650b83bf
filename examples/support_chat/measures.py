"""What the application is measured by, from the feedback in the store: per answer, per conversation, per day.

Nothing here is graded by the model itself, and nothing is counted that only ever has one value. Who says nothing counts as unknown, not as
content, and every figure tells how many there were and on how many of them somebody spoke. Intervals are 95 %, and take conversations as
independent of each other.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import sqrt
from typing import Any, Literal

from sqlalchemy import func, select

from pp_assets.evaluation.stats.intervals import wilson
from pp_resources.store.buckets import DAY
from pp_resources.store.opened import Store
from pp_resources.store.schema import served
from pp_resources.store.statistics import Score, Traffic, score_of, score_series, traffic_of

ACCURACY, RELEVANCE, SECONDS = "intent_accuracy", "response_relevance", "reaction_seconds"
RESOLUTION, SATISFACTION, ESCALATED = "resolution", "customer_satisfaction", "escalated"
UNSAID = "nobody has said"


@dataclass(frozen=True)
class Measure:
    """`share`: the values are true and false; else numbers."""

    name: str
    level: Literal["inference", "episode"]
    share: bool
    meaning: str


MEASURES = (
    Measure(ACCURACY, "inference", True, "a person says that the answer was right, among those where one spoke"),
    Measure(RELEVANCE, "inference", True, "the customer went on or thanked instead of saying it again, where either was seen"),
    Measure(SECONDS, "inference", False, "from the reply to the customer's next message"),
    Measure(RESOLUTION, "episode", True, "the customer says that the matter is solved"),
    Measure(SATISFACTION, "episode", False, "stars from 1 to 5"),
    Measure(ESCALATED, "episode", True, "a person had to take over"),
)
DAILY = (ACCURACY, RESOLUTION, ESCALATED)


@dataclass(frozen=True)
class Figure:
    """One number. `variant` None: of all together; `of` how many answers (or conversations) there were, None where that is not counted.
    `value` is None, with a `reason`, where nobody has said anything; the bounds also where one value is no sample."""

    metric: str
    level: str
    variant: str | None
    n: int
    of: int | None
    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


def measure(store: Store, task: str) -> dict[str, Any]:
    """All figures of a task as plain values: `metrics` (pooled, then by variant), `days`, `variants`. Reads sums, not rows."""
    scores = [score for score in score_of(store, task=task) if not score.shadow]
    traffic = [one for one in traffic_of(store, task=task) if not one.shadow]
    answered = {one.variant: one.requests - one.errors for one in traffic}
    episodes = _episodes(store, task)
    figures: list[Figure] = []
    for variant in (None, *sorted(answered)):
        for one in MEASURES:
            counts = answered if one.level == "inference" else episodes
            figures.append(_figure(one, variant, scores, sum(counts.values()) if variant is None else counts.get(variant, 0)))
    return {
        "task": task,
        "metrics": [asdict(figure) for figure in figures],
        "days": _days(score_series(store, task, DAY)),
        "variants": [_use(one, sum(answered.values()), figures) for one in traffic],
    }


def _figure(measure: Measure, variant: str | None, scores: Iterable[Score], of: int | None) -> Figure:
    """One metric of one variant, or of all: sums are added, never means."""
    mine = [s for s in scores if s.metric == measure.name and variant in (None, s.variant)]
    n = sum(s.n for s in mine)
    if not n:
        return Figure(measure.name, measure.level, variant, 0, of, None, None, None, UNSAID)
    total = sum(s.mean * s.n for s in mine)
    if measure.share:
        return Figure(measure.name, measure.level, variant, n, of, total / n, *wilson(total, n))
    squares = sum((s.sd or 0.0) ** 2 * (s.n - 1) + s.n * s.mean**2 for s in mine)
    low, high = _around(total / n, max(0.0, squares - total * total / n), n)
    return Figure(measure.name, measure.level, variant, n, of, total / n, low, high, "" if n > 1 else "one value is no sample")


def _around(mean: float, squares: float, n: int) -> tuple[float | None, float | None]:
    """Student's interval of a mean; `squares` is the sum of squared deviations."""
    from scipy.stats import t

    if n < 2:
        return None, None
    half = float(t.ppf(0.975, n - 1)) * sqrt(squares / (n - 1) / n)
    return mean - half, mean + half


def _days(series: Iterable[Score]) -> list[dict[str, Any]]:
    """Accuracy, resolution and escalation of each UTC day on which somebody spoke."""
    shown = [score for score in series if not score.shadow and score.metric in DAILY]
    made = []
    for start in sorted({score.start for score in shown}):
        for one in MEASURES:
            if one.name in DAILY:
                figure = _figure(one, None, [score for score in shown if score.start == start], None)
                made.append({"day": datetime.fromtimestamp(start, UTC).date().isoformat(), **asdict(figure)})
    return made


def _use(one: Traffic, answered: int, figures: Iterable[Figure]) -> dict[str, Any]:
    """Use, cost and speed of a variant, with its accuracy. Unpriced answers have no cost, which is not 0."""
    accuracy = next(figure for figure in figures if figure.variant == one.variant and figure.metric == ACCURACY)
    priced = one.requests - one.unpriced
    return {
        "variant": one.variant,
        "requests": one.requests,
        "share": (one.requests - one.errors) / answered if answered else None,
        "errors": one.errors,
        "cost_per_query": None if one.cost is None else one.cost / priced,
        "priced": priced,
        "latency_ms": {"p50": one.quantile(0.5), "p95": one.quantile(0.95)},
        ACCURACY: accuracy.value,
        "n": accuracy.n,
    }


def _episodes(store: Store, task: str) -> dict[str, int]:
    """Conversations by the variant that answered in them; one in which two did counts with either."""
    query = select(served.c.variant, func.count()).where(served.c.task == task, served.c.shadow == 0).group_by(served.c.variant)
    with store.reading() as db:
        return {variant: int(n) for variant, n in db.execute(query)}
