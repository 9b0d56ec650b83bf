"""An A/B test of two systems: who wins, how sure that is, how large the gain is and with which power; and how few items would have told.

The sequential test reveals items in a seeded random order, whole groups in batches, and stops when an interval that holds at all looks
leaves out zero (`stats.sequential`): the chance of a false winner stays under alpha, however often one looks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import scipy

from pp_assets.evaluation.compare import check_same_items
from pp_assets.evaluation.head_to_head import Side, head_to_head
from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scored, Scoring, score_rows
from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.power import POWER, mcnemar_power
from pp_assets.evaluation.stats.sequential import look
from pp_assets.evaluation.tables import lower_is_better
from pp_resources.errors import UserError

BATCHES = 20  # looks, where the caller does not say how many groups a batch has


def ab_test(spec: Any, a: Side, b: Side, metric: str | None = None) -> dict[str, Any]:
    """What `head_to_head` says of `a` and `b` (a name and its rows each), and in short: `winner` (a name or None; `winner_side` is "a",
    "b" or None), `confidence` (1 - p: the highest level at which the tests still exclude that they are equal), `p_value`, `effect_size`
    and `power`, the chance that so many items show an effect as large as the one observed; that one flatters, being chosen by the data."""
    found = head_to_head(spec, a, b, metric)
    c = found["comparison"]
    won = {"a": a[0], "b": b[0]}.get(found["winner"] or "")
    sure = None if c["p_value"] is None else 1 - c["p_value"]
    size = {"risk_difference": c["effect"], "low": c["low"], "high": c["high"], "odds_ratio": c["odds_ratio"]}
    size |= {name: found["effects"][name]["value"] for name in ("cohens_dz", "cliffs_delta")}
    short = {"winner": won, "winner_side": found["winner"], "confidence": sure, "p_value": c["p_value"], "effect_size": size}
    short["power"] = observed_power(c, found["alpha"])
    return dict(rounded({**found, **short}))


def observed_power(comparison: Mapping[str, Any], alpha: float) -> float | None:
    """Power of this comparison (as plain values) for an effect as large as the one observed; None without an effect."""
    effect, detectable = comparison["effect"], comparison["detectable"]
    if not effect or not detectable:
        return None
    if comparison["discordance"] is not None and comparison["effective_n"]:
        return float(mcnemar_power(int(comparison["effective_n"]), comparison["discordance"], abs(effect), alpha))
    reach = scipy.stats.norm.ppf(1 - alpha / 2)
    return float(scipy.stats.norm.cdf(abs(effect) / detectable * (reach + scipy.stats.norm.ppf(POWER)) - reach))


def sequential_test(
    spec: Any, a: Side, b: Side, metric: str | None = None, *, batch: int | None = None, seed: int | None = None
) -> dict[str, Any]:
    """The same question with looks in between: `path` (a look after each batch: n, groups, mean, low, high, p), `stopped` (whether a look
    decided), `needed` items, `of` items in all, `winner` ("a", "b" or None).

    `batch` is in groups, by default a 20th of them; `seed` that of the task. Raises UserError for a metric without a score between 0 and 1
    for each item.
    """
    scoring = Scoring.of(spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    ours, theirs = (score_rows(scoring, rows, reader) for _, rows in (a, b))
    check_same_items(ours, theirs)
    name, clusters = metric or scoring.primary, ours.clusters
    gains = item_gains(ours, theirs, name)
    size, seed = batch or max(1, -(-clusters.count // BATCHES)), scoring.seed if seed is None else seed
    if size < 1:
        raise UserError(f"a batch of {size} groups", where="--batch", how="give 1 or more")
    order = generator(seed, "sequential").permutation(clusters.count)
    place = np.argsort(order)[clusters.codes]  # when each item's group is revealed
    largest, path = int(clusters.sizes.max()), []
    for end in range(size, clusters.count + size, size):
        seen = place < end
        shown = Clusters.of([str(code) for code in clusters.codes[seen]])
        path.append(asdict(look(gains[seen], shown, level=1 - scoring.alpha, largest=largest)))
        if path[-1]["low"] > 0 or path[-1]["high"] < 0:
            break
    last = path[-1]
    won = "a" if last["low"] > 0 else "b" if last["high"] < 0 else None
    told = {"metric": name, "alpha": scoring.alpha, "batch_groups": size, "seed": seed, "path": path, "winner": won}
    return dict(rounded({**told, "stopped": won is not None, "needed": last["n"], "of": len(gains)}))


def item_gains(a: Scored, b: Scored, metric: str) -> np.ndarray:
    """What `a` has more than `b` on each item, (n,) between -1 and 1, more being better."""
    tables = [side.tables.get(metric) for side in (a, b)]
    mine, other = tables
    if mine is None or other is None or any(t.kind != "ratio" or not t.bounded or not (t.counts[:, 1] > 0).all() for t in (mine, other)):
        how = "use a metric that each item has, such as object_exact_match"
        raise UserError(f"{metric} has no score between 0 and 1 for each item", where="metric", how=how)
    x, y = (t.counts[:, 0] / t.counts[:, 1] for t in (mine, other))
    return np.asarray(y - x if lower_is_better(metric) else x - y)


def path_plot(found: Mapping[str, Any], names: Sequence[str]) -> bytes:
    """The path of a sequential test as PNG: the difference and its interval over the items that were revealed."""
    from matplotlib.figure import Figure

    from pp_assets.evaluation.drawing import BLUE, GREY, draw

    path = found["path"]

    def paint(figure: Figure) -> None:
        axes, n = figure.subplots(), [look["n"] for look in path]
        axes.fill_between(n, [look["low"] for look in path], [look["high"] for look in path], color=GREY, alpha=0.6)
        axes.plot(n, [look["mean"] for look in path], color=BLUE, marker="o", markersize=3)
        axes.axhline(0, color="black", linewidth=1)
        axes.set_xlim(0, found["of"])
        axes.set_xlabel(f"items revealed, of {found['of']}")
        axes.set_title(f"{found['metric']}: {names[0]} - {names[1]}, interval that holds at all looks", fontsize=9)

    return draw((6.4, 3.2), paint)
