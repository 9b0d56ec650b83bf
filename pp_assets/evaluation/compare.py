"""Paired comparison of two systems on the same items: effect, interval, p value, and what the comparison could have shown at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.scoring import BLOCKS, Scored, resampling_weights, score_rows
from pp_assets.evaluation.stats.effects import bonett_price, odds_ratio
from pp_assets.evaluation.stats.groups import Clusters, effective_n, generator
from pp_assets.evaluation.stats.margins import ONE_SIDED, non_inferiority
from pp_assets.evaluation.stats.multiplicity import holm
from pp_assets.evaluation.stats.paired import mcnemar, sign_flip_exact, swap_test
from pp_assets.evaluation.stats.power import WORST_DISCORDANCE, mean_detectable_effect, minimum_detectable_effect, required_items
from pp_assets.evaluation.stats.resampling import resampled_interval
from pp_assets.evaluation.tables import Table, lower_is_better
from pp_resources.errors import UserError, nearest


@dataclass(frozen=True)
class Comparison:
    """Candidate against other on one metric; a positive `effect` means that the candidate is better, also where less is better.

    `low`, `high` bound the effect at confidence `level`; `p_value` is the larger of the tests that were made. For metrics that are
    right or wrong per item, `only_candidate` and `only_other` count the items that just one side has right and `odds_ratio` is their
    ratio. `detectable` is the smallest effect found with 80 % power at the observed disagreement, `detectable_worst` the same at a
    disagreement of one half. `effect` is None with a `reason` when either side has no value.
    """

    metric: str
    n: int
    groups: int
    value: float | None
    other_value: float | None
    level: float
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    p_value: float | None = None
    p_holm: float | None = None
    test: str = ""
    mcnemar_p: float | None = None
    mcnemar_mid_p: float | None = None
    clustered_p: float | None = None
    only_candidate: int | None = None
    only_other: int | None = None
    discordance: float | None = None
    odds_ratio: float | None = None
    odds_low: float | None = None
    odds_high: float | None = None
    effective_n: float | None = None
    detectable: float | None = None
    detectable_worst: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Items:
    """The items that two systems answered: which belong together, the error rate of tests on them, and the seed of what is drawn."""

    clusters: Clusters
    alpha: float = 0.05
    seed: int = 0

    @property
    def blocks(self) -> Clusters:
        """What is resampled."""
        return self.clusters.pooled(BLOCKS)

    @property
    def weights(self) -> np.ndarray:
        """Bootstrap weights (resamples, blocks)."""
        return resampling_weights(self.blocks.count, self.seed)


def compare_systems(spec: Any, rows_a: Sequence[PredictionRow], rows_b: Sequence[PredictionRow], metric: str | None = None) -> Comparison:
    """Compare system a (the candidate) with system b by `metric`, default the primary one. Both must have answered the same items."""
    return compare_scored(score_rows(spec, rows_a), score_rows(spec, rows_b), metric)


def compare_scored(a: Scored, b: Scored, metric: str | None = None, *, level: float | None = None) -> Comparison:
    """Like `compare_systems`, on rows that have been read. `level` is the interval's confidence, default 1 - alpha."""
    scoring = a.scoring
    metric = metric or scoring.primary
    check_same_items(a, b)
    if metric not in a.tables:
        raise UserError(f"{metric!r} has no paired test", where=f"{scoring.task}: metric", how=nearest(metric, a.tables))
    level = 1 - scoring.alpha if level is None else level
    higher = scoring.higher_is_better if metric == scoring.primary else not lower_is_better(metric)
    items = Items(a.clusters, scoring.alpha, scoring.seed)
    return compare_tables(metric, a.tables[metric], b.tables[metric], items, higher_is_better=higher, level=level)


def compare_tables(
    metric: str, table: Table, other: Table, items: Items, *, higher_is_better: bool = True, level: float | None = None
) -> Comparison:
    """Like `compare_systems`, of counts of the same items in the same order."""
    value, other_value = (_number(t.value(t.counts.sum(0))) for t in (table, other))
    level = 1 - items.alpha if level is None else level
    found = Comparison(metric, len(table.counts), items.clusters.count, value, other_value, level)
    if value is None or other_value is None:
        return replace(found, reason=table.reason if value is None else other.reason)
    sign = 1.0 if higher_is_better else -1.0
    found = replace(found, effect=sign * (value - other_value))
    if table.binary and other.binary:
        return _binary(found, items, table, other, sign)
    return _general(found, items, table, other, sign)


def check_same_items(a: Scored, b: Scored) -> None:
    """Raise UserError when two systems did not answer the same questions."""
    ids, others = ([(row.item_id, row.expected, row.group) for row in s.rows] for s in (a, b))
    if ids != others:
        differ = sorted({i[0] for i in ids} ^ {i[0] for i in others}) or [x[0] for x, y in zip(ids, others) if x != y]
        raise UserError(
            f"the systems answered different items ({len(differ)} differ, first {differ[0]!r})",
            where=a.scoring.task,
            how="evaluate both on the same dataset version",
        )


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's adjustment over those that have a p value."""
    adjusted = iter(holm([c.p_value for c in comparisons if c.p_value is not None]))
    return [replace(c, p_holm=next(adjusted)) if c.p_value is not None else c for c in comparisons]


def items_needed(found: Comparison, effect: float, alpha: float) -> int | None:
    """Test items on which an effect of this size would be found with 80 % power, grouped as these are. None when it cannot be said."""
    if not effect > 0 or not found.detectable:
        return None
    if found.discordance is not None and found.effective_n:
        pairs = required_items(effect, found.discordance, alpha)
        return None if pairs is None else int(np.ceil(pairs * found.n / found.effective_n))
    return int(np.ceil(found.n * (found.detectable / effect) ** 2))


@dataclass(frozen=True)
class MarginTest:
    """Whether a challenger is no worse than a champion by more than a margin: the verdict, why, and the `items_needed` for another."""

    verdict: str
    reason: str
    items_needed: int | None
    comparison: Comparison


def within_margin(challenger: Scored, champion: Scored, margin: float, metric: str | None = None) -> MarginTest:
    """The one-sided question of non-inferiority by `metric`, default the primary one.

    PASS: the one-sided 95 % lower bound of challenger - champion is at least -margin. FAIL: the challenger is shown to be worse
    (upper bound under 0) and not shown to be within the margin. INCONCLUSIVE: neither, with the `items_needed` that would decide.
    """
    if not margin > 0:
        raise UserError(f"a margin of {margin} is not positive", where="margin", how="give the loss you can accept, such as 0.02")
    found = compare_scored(challenger, champion, metric, level=1 - 2 * ONE_SIDED)
    if found.effect is None or found.low is None or found.high is None:
        return MarginTest("INCONCLUSIVE", f"{found.metric} cannot be compared: {found.reason or found.interval}", None, found)
    verdict, reason = non_inferiority(found.effect, found.low, found.high, margin)
    if verdict != "INCONCLUSIVE":
        return MarginTest(verdict, reason, None, found)
    room = margin + min(0.0, found.effect)
    needed = items_needed(found, room if room > 0 else -found.effect, 2 * ONE_SIDED)
    return MarginTest(verdict, reason + (f"; about {needed} test items would tell" if needed else ""), needed, found)


def _binary(found: Comparison, items: Items, table: Table, other: Table, sign: float) -> Comparison:
    gain = sign * (table.counts[:, 0] - other.counts[:, 0])
    b, c = int(np.sum(gain > 0)), int(np.sum(gain < 0))
    alpha, clusters = items.alpha, items.clusters
    exact = mcnemar(b, c)
    size = effective_n(gain, clusters)
    sums = items.blocks.sums(np.stack([gain, np.ones(found.n)], axis=1))
    boot = resampled_interval(lambda s: s[..., 0] / s[..., 1], sums, items.weights, found.level, -1.0)
    shrink = size / found.n
    low, high = bonett_price(b * shrink, c * shrink, size, found.level)
    grouped = None if clusters.single else sign_flip_exact(clusters.sums(gain[:, None])[:, 0])
    ratio = odds_ratio(b, c, found.level)
    return replace(
        found,
        low=low if boot.low is None else min(low, boot.low),
        high=high if boot.high is None else max(high, boot.high),
        interval=f"the wider of {boot.method} and Bonett-Price on {size:.1f} effective items",
        p_value=max(exact.p, grouped or 0.0),
        test="exact McNemar" if grouped is None else "larger p of exact McNemar and exact sign-flip of whole groups",
        mcnemar_p=exact.p,
        mcnemar_mid_p=exact.mid_p,
        clustered_p=grouped,
        only_candidate=b,
        only_other=c,
        discordance=(b + c) / found.n,
        odds_ratio=ratio.value,
        odds_low=ratio.low,
        odds_high=ratio.high,
        effective_n=size,
        detectable=minimum_detectable_effect(size, (b + c) / found.n, alpha),
        detectable_worst=minimum_detectable_effect(size, WORST_DISCORDANCE, alpha),
    )


def _general(found: Comparison, items: Items, table: Table, other: Table, sign: float) -> Comparison:
    clusters, alpha, width = items.clusters, items.alpha, table.counts.shape[1]
    ours, theirs = items.blocks.sums(table.counts), items.blocks.sums(other.counts)

    def gap(sums: np.ndarray) -> np.ndarray:
        return sign * (table.value(sums[..., :width]) - other.value(sums[..., width:]))

    both = np.hstack([ours, theirs])
    interval = resampled_interval(gap, both, items.weights, found.level, -1.0 if table.bounded else None)
    spread = float(np.nanstd(gap(items.weights @ both), ddof=1))
    p, patterns = swap_test(table.value, ours, theirs, generator(items.seed, "swap", found.metric))
    return replace(
        found,
        low=interval.low,
        high=interval.high,
        interval=interval.method,
        p_value=p,
        test=f"paired permutation of {'items' if clusters.single else 'whole groups'} ({patterns})",
        clustered_p=p,
        detectable=mean_detectable_effect(spread, alpha) if spread > 0 else None,
        detectable_worst=mean_detectable_effect((WORST_DISCORDANCE / clusters.count) ** 0.5, alpha) if table.bounded else None,
    )


def _number(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
