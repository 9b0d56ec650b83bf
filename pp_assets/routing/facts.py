"""The facts that the next step rests on, from what the store and the stages know of the variant that answers."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy

from pp_assets import pipeline as stages
from pp_assets.champion import standing
from pp_assets.evaluation.stats.intervals import mid_p
from pp_assets.routing.next_step import Facts, Known, Standards
from pp_assets.routing.stage import last_decision
from pp_assets.serving.spec import Package
from pp_assets.task.spec import Task
from pp_resources.store.ids import MICRO, iso, now
from pp_resources.store.read_use import handed_over, latest_costs
from pp_resources.store.statistics import Score, score_of, traffic_of

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

DAY = 86400
NOTHING = Known(value=None)


class About(NamedTuple):
    """Facts, and of what: the variant that answers, the metric, and from when on (ISO)."""

    facts: Facts
    variant: str
    metric: str
    since: str


def facts_of(p: "Pipeline", task: Task, standards: Standards) -> About:
    """Raises StoreUnavailable where the store cannot be read: what is not known then is not nothing."""
    serving, store = task.spec.serving, p.inbox.store
    routing = serving.routing if serving else None
    metric = standards.metric or (routing.metric if routing else "")
    variant = standing(p.settings.home, task, serving.variants if serving else {})
    last = last_decision(store, task.name)
    winner = last.data.get("winner")
    # Another model, or another question, is judged by what came since.
    began = float((last.data.get("state") or {}).get("since", 0.0))
    since = max(now() / MICRO - standards.days * DAY, began)
    values: dict[str, Any] = {"quality": NOTHING}
    if store.exists:
        scores = [one for one in score_of(store, task=task.name, since=int(since)) if one.variant == variant and not one.shadow]
        mirror = routing.low + routing.high if routing and metric == routing.metric and not routing.higher_is_better else None
        values["quality"] = next((quality(one, mirror) for one in scores if one.metric == metric), NOTHING)
        at = int(since) // 60 * 60 * MICRO
        values["cost"] = mean_of(latest_costs(store, task.name, variant, at))
        traffic = traffic_of(store, task=task.name, since=int(since))
        answers = sum(one.requests for one in traffic if one.variant == variant and not one.shadow)
        values["escalated"] = share(handed_over(store, task.name, variant, at), answers)
    drift = p.store.current(stages.DRIFTS, task.name)
    values["drift"] = bool(drift and drift.metadata["newest_drifts"])
    values["new_examples"] = new_examples(p, task, variant)
    found = Facts(better=winner if winner != variant else None, **values)
    return About(found, variant, metric, iso(round(since * MICRO)))


def quality(score: Score, mirror: float | None = None) -> Known:
    """The mean of a metric with its 95 % interval: exact where all values are 0 or 1, else by t; mirrored where less is better."""
    n, mean = score.n, score.mean
    if score.sd is None:
        low = high = None
    elif math.isclose(score.sd**2 * (n - 1), n * mean * (1 - mean), rel_tol=1e-4, abs_tol=1e-6) and 0 <= mean <= 1:
        low, high = mid_p(mean * n, float(n))
    else:
        half = float(scipy.stats.t.ppf(0.975, n - 1)) * score.sd / math.sqrt(n)
        low, high = mean - half, mean + half
    if mirror is not None:
        mean, low, high = mirror - mean, None if high is None else mirror - high, None if low is None else mirror - low
    return _known(mean, low, high, n)


def share(hits: int, n: int) -> Known:
    """A share with its exact interval (mid-p)."""
    return _known(hits / n, *mid_p(float(hits), float(n)), n) if n else NOTHING


def mean_of(values: Sequence[float]) -> Known:
    """A mean with its interval by t; none for it below two values."""
    n = len(values)
    if n < 2:
        return _known(values[0], None, None, 1) if n else NOTHING
    mean = float(np.mean(values))
    half = float(scipy.stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return _known(mean, mean - half, mean + half, n)


def new_examples(p: "Pipeline", task: Task, variant: str) -> int:
    """Demonstrations that came after the data was read which the variant's model was trained on; all of them where it was not trained."""
    serving = task.spec.serving
    named = serving.variants.get(variant) if serving else None
    recipe = variant if named is None else named.recipe if isinstance(named, Package) else None
    trained = p.store.current(stages.ADAPTERS, f"{task.name}/{recipe}") if recipe else None
    read = [one for one in p.store.versions(stages.DATASETS, task.name) if trained and one.created_at <= trained.created_at]
    since = datetime.fromisoformat(read[-1].created_at) if read else None
    return sum(since is None or datetime.fromisoformat(one.at) > since for one in p.inbox.demonstrations(task.name))


def _known(value: float, low: float | None, high: float | None, n: int) -> Known:
    rounded = [None if one is None else round(one, 9) for one in (value, low, high)]
    return Known(value=rounded[0], low=rounded[1], high=rounded[2], n=n)
