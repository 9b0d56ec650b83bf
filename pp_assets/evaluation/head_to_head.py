"""Two systems on the same items, told in full: values, effect, tests, who wins how many items, and a sentence on what that means."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pp_assets.evaluation.compare import Comparison, compare_scored, items_needed, within_margin
from pp_assets.evaluation.metrics import table_metric
from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scored, Scoring, score_rows
from pp_assets.evaluation.stats.effects import Effect, cliffs_delta, cohens_dz
from pp_assets.evaluation.stats.power import POWER
from pp_assets.evaluation.tables import item_values, lower_is_better
from pp_assets.evaluation.verdict import format_p

Side = tuple[str, Sequence[PredictionRow]]


def head_to_head(spec: Any, a: Side, b: Side, metric: str | None = None, margin: float | None = None) -> dict[str, Any]:
    """Compare system `a` with system `b` (a name and its rows each) by `metric`, default the task's primary one.

    Plain values: `a` and `b` (value, interval), `comparison`, `wins`, `losses`, `ties` of a per item, `effects`, `winner` ("a", "b" or
    None), `conclusion` in a sentence, and with `margin` (the loss that is acceptable) `non_inferiority` of a against b.
    """
    scoring = Scoring.of(spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    ours, theirs = (score_rows(scoring, rows, reader) for _, rows in (a, b))
    found = compare_scored(ours, theirs, metric)
    both = {"a": (a[0], ours), "b": (b[0], theirs)}
    sides = {key: {"name": name, **asdict(table_metric(s, s.tables[found.metric]))} for key, (name, s) in both.items()}
    won = winner(found, scoring.alpha)
    told: dict[str, Any] = {"task": scoring.task, "metric": found.metric, "n": found.n, "groups": found.groups, **sides}
    told |= {"comparison": asdict(found), **_per_item(ours, theirs, found.metric), "alpha": scoring.alpha, "winner": won}
    told["conclusion"] = conclusion(found, won, a[0], b[0], scoring.alpha)
    told["non_inferiority"] = None
    if margin is not None:
        judged = within_margin(ours, theirs, margin, found.metric)
        bounds = {"low": judged.comparison.low, "high": judged.comparison.high, "level": judged.comparison.level}
        said = {"verdict": judged.verdict, "reason": judged.reason, "items_needed": judged.items_needed}
        told["non_inferiority"] = {"margin": margin, **said, **bounds}
    return dict(rounded(told))


def winner(found: Comparison, alpha: float) -> str | None:
    """ "a" or "b" where the test rejects and the interval leaves out zero, else None: a claim needs both."""
    if found.effect is None or found.low is None or found.high is None or found.p_value is None or found.p_value >= alpha:
        return None
    return "a" if found.low > 0 else "b" if found.high < 0 else None


def conclusion(found: Comparison, won: str | None, a: str, b: str, alpha: float) -> str:
    """What the comparison shows, in a sentence or two."""
    if found.effect is None or found.low is None or found.high is None:
        return f"{found.metric} cannot be compared: {found.reason or found.interval}."
    told = f"by {abs(found.effect):.4f} of {found.metric} ({found.level:.0%} interval {found.low:+.4f} to {found.high:+.4f}, "
    told += f"p {format_p(found.p_value)}, n = {found.n})"
    if won:
        better, worse = (a, b) if won == "a" else (b, a)
        return f"{better} is better than {worse} {told}."
    ahead = "they are equal" if found.effect == 0 else f"{a if found.effect > 0 else b} is ahead"
    said = f"Not decided: {ahead} {told}."
    if found.detectable:
        said += f" These items could show an effect of {found.detectable:.3f} or more with {POWER:.0%} power"
        needed = items_needed(found, abs(found.effect), alpha) if abs(found.effect) >= 0.005 else None
        said += f"; about {needed} would show the one observed, which flatters." if needed else "."
    return said


def _per_item(a: Scored, b: Scored, metric: str) -> dict[str, Any]:
    """Wins, losses and ties of a over the items on which both have a value, and sizes of the effect per item."""
    mine, other = a.tables[metric], b.tables[metric]
    if mine.kind != "ratio":
        why = f"{metric} is one of the whole corpus: items have no value of their own"
        none = {name: Effect(None, None, None, why)._asdict() for name in ("cohens_dz", "cliffs_delta")}
        return {"wins": None, "losses": None, "ties": None, "effects": none, "reason": why}
    values = np.stack([item_values(t) * (-1 if lower_is_better(metric) else 1) for t in (mine, other)])
    both = ~np.isnan(values).any(0)
    clusters, (x, y) = a.clusters.subset(both), values[:, both]
    gain = x - y
    # Of a group its mean is one value: groups are independent of each other, items of one are not.
    means = clusters.sums(gain[:, None])[:, 0] / clusters.sizes
    return {
        "wins": int((gain > 0).sum()),
        "losses": int((gain < 0).sum()),
        "ties": int((gain == 0).sum()),
        "effects": {
            "cohens_dz": cohens_dz(means, 1 - a.scoring.alpha)._asdict(),
            "cliffs_delta": cliffs_delta(x, y, clusters, seed=a.scoring.seed, level=1 - a.scoring.alpha)._asdict(),
        },
        "reason": "" if both.all() else f"{int((~both).sum())} items have no value on one side and count neither way",
    }
