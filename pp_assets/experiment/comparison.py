"""Two values of a dimension on the same items: what differs, how sure that is, and the rows behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pp_assets.evaluation.compare import Comparison, Items, compare_tables
from pp_assets.evaluation.stats.multiplicity import benjamini_hochberg, holm
from pp_assets.evaluation.tables import Table
from pp_assets.experiment.statistics import clusters_of, matrix
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True)
class Compared:
    """`b` against `a` on one metric, paired by item, trials averaged inside an item. A positive `delta` means that `b` is better.

    `pairs` has a row for each item that both have a score of: its mean under a and under b, and the difference.
    """

    dim: str
    a: Any
    b: Any
    metric: str
    found: Comparison
    pairs: "pd.DataFrame"
    table: "pd.DataFrame"

    @property
    def delta(self) -> float | None:
        """b - a (a - b where less is better)."""
        return self.found.effect

    @property
    def ci(self) -> tuple[float | None, float | None]:
        """Interval of `delta`, 95 % unless `alpha` says otherwise."""
        return self.found.low, self.found.high

    @property
    def p(self) -> float | None:
        """Exact McNemar where each item is right or wrong once, else a paired permutation of items or of whole clusters."""
        return self.found.p_value

    @property
    def n_items(self) -> int:
        """Items that both have a score of."""
        return self.found.n

    @property
    def wins(self) -> int:
        """Items on which b is better."""
        return int((self.pairs["gain"] > 1e-12).sum())

    @property
    def losses(self) -> int:
        """Items on which a is better."""
        return int((self.pairs["gain"] < -1e-12).sum())

    @property
    def ties(self) -> int:
        """The others."""
        return self.n_items - self.wins - self.losses

    @property
    def mde(self) -> float | None:
        """The smallest difference that these items show with 80 % power."""
        return self.found.detectable

    def verdict(self, margin: float = 0.0) -> Verdict:
        """ "better" and "worse" where the interval leaves out 0 on that side, "equivalent" where it lies within ± `margin`."""
        low, high = self.ci
        if low is None or high is None:
            return "undecided"
        if low > 0:
            return "better"
        if high < 0:
            return "worse"
        return "equivalent" if margin > 0 and -margin <= low and high <= margin else "undecided"

    def rows(self, which: Literal["wins", "losses", "ties"]) -> "pd.DataFrame":
        """The rows behind a count, of both sides, worst first."""
        gain = self.pairs["gain"]
        masks = {"wins": gain > 1e-12, "losses": gain < -1e-12, "ties": gain.abs() <= 1e-12}
        if which not in masks:
            raise UserError(f"no rows {which!r}", where="rows", how=nearest(which, masks))
        ids = gain[masks[which]].sort_values(ascending=which != "wins", kind="stable").index
        index = self.table.index
        items, sides = index.get_level_values(str(self.pairs.index.name)), index.get_level_values(self.dim)
        shown = self.table[items.isin(ids) & sides.isin((self.a, self.b))]
        return shown.loc[ids] if len(ids) else shown

    def plot(self, path: Path | str | None = None) -> Any:
        """One point for each item: a across, b up, error bars of one standard error over trials. Returns the figure, and writes it."""
        from pp_assets.experiment.plots import scatter

        return scatter(self.pairs, ("a", "b"), (f"{self.metric}: {self.a}", f"{self.metric}: {self.b}"), path, diagonal=True)

    def __str__(self) -> str:
        if self.delta is None:
            return f"{self.metric}: {self.b} against {self.a}: {self.found.reason}"
        low, high = self.ci
        interval = "no interval" if low is None or high is None else f"[{low:+.4f}, {high:+.4f}]"
        counts = f"{self.wins} wins, {self.losses} losses, {self.ties} ties"
        p = "" if self.p is None else f", p {self.p:.4g} ({self.found.test})"
        return f"{self.metric}: {self.b} against {self.a}: {self.delta:+.4f} {interval} on {self.n_items} items{p}; {counts}"


@dataclass(frozen=True)
class Many:
    """Several comparisons; `df` is their table, p values adjusted for how many they are."""

    each: tuple[Compared, ...]
    df: "pd.DataFrame"


def compare(
    table: "pd.DataFrame",
    key: str,
    dim: str,
    a: Any,
    b: Any,
    metric: str,
    *,
    cluster: str | None,
    higher_is_better: bool,
    alpha: float,
    seed: int,
) -> Compared:
    """See `Results.compare`; `table` holds the rows to be compared."""
    sides = [_side(table, key, dim, value, metric, name) for name, value in (("a", a), ("b", b))]
    pairs = sides[0].join(sides[1], how="inner")
    pairs["gain"] = (pairs["b"] - pairs["a"]) * (1 if higher_is_better else -1)
    bounded = bool(((pairs[["a", "b"]] >= 0) & (pairs[["a", "b"]] <= 1)).all(axis=None))
    ours, theirs = (
        Table(np.stack([pairs[side].to_numpy(), np.ones(len(pairs))], axis=1), metric, "no item has a score of both", bounded=bounded)
        for side in ("b", "a")
    )
    items = Items(clusters_of(table, list(pairs.index), key, cluster), alpha, seed)
    found = compare_tables(metric, ours, theirs, items, higher_is_better=higher_is_better)
    if len(pairs) < 2:
        found = replace(found, low=None, high=None, p_value=None, interval="fewer than two items")
    return Compared(dim, a, b, metric, found, pairs, table)


def _side(table: "pd.DataFrame", key: str, dim: str, value: Any, metric: str, name: str) -> "pd.DataFrame":
    """Of each item the mean over trials and its standard error."""
    import pandas as pd

    part = table[table.index.get_level_values(dim) == value]
    if not len(part):
        known = map(str, table.index.unique(dim))
        raise UserError(f"no rows with {value!r}", where=f"dimension {dim!r}", how=nearest(str(value), known))
    ids, values = matrix(part[part[metric].notna()], metric, key)
    counts = np.isfinite(values).sum(1)
    errors = [np.nanstd(v, ddof=1) / n**0.5 if n > 1 else 0.0 for v, n in zip(values, counts)]
    return pd.DataFrame({name: np.nansum(values, axis=1) / np.maximum(counts, 1), f"{name}_error": errors}, index=pd.Index(ids, name=key))


def many(each: Sequence[tuple[dict[str, Any], Compared]], correct: str) -> Many:
    """A table of comparisons with p values adjusted by "holm" (claims), "bh" (exploration) or not ("none")."""
    import pandas as pd

    adjust: dict[str, Callable[[list[float]], list[float]]] = {"holm": holm, "bh": benjamini_hochberg, "none": list}
    if correct not in adjust:
        raise UserError(f"no correction {correct!r}", where="correct", how=nearest(correct, adjust))
    known = [c.p for _, c in each if c.p is not None]
    adjusted = iter(adjust[correct](known))
    rows = []
    for where, c in each:
        ends = {"low": c.ci[0], "high": c.ci[1], "p": c.p, "p_adjusted": next(adjusted) if c.p is not None else None}
        counts = {"n_items": c.n_items, "wins": c.wins, "losses": c.losses, "ties": c.ties, "mde": c.mde}
        rows.append({**where, "metric": c.metric, "a": c.a, "b": c.b, "delta": c.delta, **ends, **counts, "test": c.found.test})
    return Many(tuple(c for _, c in each), pd.DataFrame(rows))


def pairs_of(values: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Each value with each later one."""
    return list(combinations(values, 2))
