"""Numbers of a table of results, each with its interval: over items, with the trials of an item inside it."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.evaluation.stats.design import Advice, half_width_advice
from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.nested import nested_mean
from pp_assets.evaluation.stats.resampling import bca_interval, bootstrap_weights
from pp_resources.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES, BLOCKS = 1000, 200  # of a statistic of the user's own, which is called for each


@dataclass(frozen=True)
class Stat:
    """A statistic of the items' trials, (items, trials) with NaN where there is none: a number for each item, and what their mean is
    called."""

    name: str
    per_item: Callable[[np.ndarray], np.ndarray]


def pass_all(k: int) -> Stat:
    """The chance that `k` trials of an item are all right (pass^k), without bias from n >= k trials: C(right, k) / C(n, k).

    Yao et al. 2024 (tau-bench). Items with fewer trials do not count.
    """

    def per_item(table: np.ndarray) -> np.ndarray:
        made, right = np.isfinite(table).sum(1), np.nansum(table, axis=1)
        return np.array([math.comb(round(r), k) / math.comb(n, k) if n >= k else np.nan for r, n in zip(right, made)])

    return Stat(f"pass^{k}", per_item)


@dataclass(frozen=True)
class Quantile:
    """A quantile of all values, such as quantile(.95) of seconds."""

    q: float

    @property
    def name(self) -> str:
        return f"q{100 * self.q:g}"


def quantile(q: float) -> Quantile:
    """The q-quantile over all trials of all items, with an interval by resampling items."""
    return Quantile(q)


def matrix(frame: "pd.DataFrame", metric: str, key: str) -> tuple[list[Hashable], np.ndarray]:
    """(items, values (items, trials)) of a metric, NaN where there is no score."""
    values = frame[metric].astype(float)
    grouped = values.groupby(level=key, sort=False)
    place = grouped.cumcount()
    ids = list(grouped.groups)
    table = np.full((len(ids), int(place.max()) + 1 if len(place) else 1), np.nan)
    where = {name: i for i, name in enumerate(ids)}
    rows = [where[name] for name in frame.index.get_level_values(key)]
    table[rows, place.to_numpy()] = values.to_numpy()
    return ids, table


def summarise(frame: "pd.DataFrame", metric: str, key: str, stat: Any, level: float, seed: int) -> dict[str, Any]:
    """One line of a summary: the value under the name of the statistic, low, high, n_items, n_trials, and how the interval was made."""
    if callable(stat) and not isinstance(stat, Stat):
        return _own(frame, key, stat, level, seed)
    ids, table = matrix(frame, metric, key)
    if stat == "sum":
        return {"sum": float(np.nansum(table)), "n_items": len(ids), "n_trials": int(np.isfinite(table).sum())}
    if isinstance(stat, Quantile):
        return _quantile(table, stat, level, seed)
    name = stat.name if isinstance(stat, Stat) else "mean"
    found = nested_mean(stat.per_item(table) if isinstance(stat, Stat) else table, level)
    made = {"low": found.low, "high": found.high, "n_items": found.items, "n_trials": int(np.isfinite(table).sum())}
    return {name: found.value, **made, "method": found.method or found.reason}


def precision(frame: "pd.DataFrame", metric: str, key: str, level: float) -> dict[str, Any]:
    """One line: the mean, how well it is known, and how much of the variance of a trial lies between items."""
    found = nested_mean(matrix(frame, metric, key)[1], level)
    half = None if found.low is None or found.high is None else (found.high - found.low) / 2
    counts = {"n_items": found.items, "n_trials": found.values, "share_between_items": found.share_between}
    return {"mean": found.value, "half_width": half, **counts}


def needed(frame: "pd.DataFrame", metric: str, key: str, half_width: float, level: float) -> Advice:
    """How many trials of these items, or how many items, give an interval no wider than ± `half_width`."""
    if not half_width > 0:
        raise UserError(f"a half-width of {half_width}", where="needed", how="give a number above 0")
    table = matrix(frame, metric, key)[1]
    found = nested_mean(table, level)
    if found.items < 2:
        raise UserError("fewer than two items", where=f"metric {metric!r}", how="nothing is known of how items differ: add some")
    trials = max(1, round(np.isfinite(table).sum() / found.items))
    between, within = found.between, found.within
    if between is None or within is None:  # one trial each: what one differs from the next cannot be parted
        between, within = float(np.nanvar(np.nanmean(table, axis=1), ddof=1)), 0.0
    return half_width_advice(found.items, between, within, half_width, trials, level)


def clusters_of(frame: "pd.DataFrame", ids: Sequence[Hashable], key: str, column: str | None) -> Clusters:
    """Which items belong together by a column of the data; each alone without one."""
    if column is None:
        return Clusters(np.arange(len(ids)), len(ids))
    family: Mapping[Hashable, Any] = frame[column].groupby(level=key, sort=False).first().to_dict()
    return Clusters.of([str(family[name]) for name in ids])


def _quantile(table: np.ndarray, stat: Quantile, level: float, seed: int) -> dict[str, Any]:
    items = [row[np.isfinite(row)] for row in table if np.isfinite(row).any()]
    known = {"n_items": len(items), "n_trials": sum(map(len, items))}
    if len(items) < 2:
        return {stat.name: None, "low": None, "high": None, **known, "method": "fewer than two items"}
    values, owner = np.concatenate(items), np.repeat(np.arange(len(items)), [len(i) for i in items])
    order = np.argsort(values, kind="stable")
    values, owner = values[order], owner[order]

    def of(weights: np.ndarray) -> np.ndarray:
        reached = np.cumsum(weights[:, owner], axis=1)
        return values[(reached >= stat.q * reached[:, -1:] - 1e-9).argmax(axis=1)]

    boot = of(bootstrap_weights(len(items), generator(seed, "quantile"), RESAMPLES))
    low, high = np.quantile(boot, [(1 - level) / 2, 0.5 + level / 2])
    value = float(np.quantile(values, stat.q))
    return {stat.name: value, "low": float(min(low, value)), "high": float(max(high, value)), **known, "method": "bootstrap over items"}


def _own(frame: "pd.DataFrame", key: str, stat: Callable[["pd.DataFrame"], float], level: float, seed: int) -> dict[str, Any]:
    """A function of the rows, such as a precision: its interval by resampling whole items and calling it again."""
    name = getattr(stat, "__name__", "value").replace("<lambda>", "value")
    places = list(frame.groupby(level=key, sort=False).indices.values())
    value, n = float(stat(frame)), len(places)
    known = {"n_items": n, "n_trials": len(frame)}
    if n < 2:
        return {name: value, "low": None, "high": None, **known, "method": "fewer than two items"}

    def of(weights: np.ndarray) -> float:
        return float(stat(frame.iloc[np.concatenate([np.tile(rows, int(w)) for rows, w in zip(places, weights) if w])]))

    boot = np.array([of(weights) for weights in bootstrap_weights(n, generator(seed, name), RESAMPLES)])
    blocks = np.arange(n) % BLOCKS
    without = np.array([of((blocks != block).astype(float)) for block in range(min(n, BLOCKS))])
    found = bca_interval(boot, value, without, level)
    return {name: value, "low": found.low, "high": found.high, **known, "method": found.method}
