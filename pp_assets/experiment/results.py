"""What an experiment gave, as a tidy table, and pure functions of it."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from pp_assets.experiment.cells import State
from pp_assets.experiment.comparison import Many, compare, many, pairs_of
from pp_assets.experiment.frame import build_frame, kept_places, numbers
from pp_assets.experiment.grid import Grid
from pp_assets.experiment.plots import scatter
from pp_assets.experiment.statistics import needed, precision, summarise
from pp_assets.experiment.store import DONE, CellStore
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd


SEED = 0  # of what the statistics draw: the same results give the same intervals


class Results:
    """`computed` calls by step that this run made, `left` those that it did not, `spent_usd` what they cost.

    Everything else is read from the cells: no model and no scorer is called here.
    """

    def __init__(
        self,
        grid: Grid,
        states: Mapping[str, State],
        rows: Mapping[str, Sequence[Any]],
        key: str,
        computed: dict[str, int],
        left: dict[str, int],
        spent_usd: float,
        store: CellStore,
    ) -> None:
        self._grid, self._states, self._rows, self._store = grid, states, rows, store
        self.key, self.computed, self.left, self.spent_usd = key, computed, left, spent_usd
        self._whole = self  # of which this is a part, see `where`

    @property
    def dims(self) -> dict[str, list[Any]]:
        """The varied dimensions and how their values are shown."""
        return self._grid.labels

    @property
    def metrics(self) -> list[str]:
        """Columns of scores."""
        kinds = {name for name, state in self._states.items() if state.step.kind == "score"}
        return [c for c in self.df.columns if c in kinds or c.partition(".")[0] in kinds]

    @cached_property
    def df(self) -> "pd.DataFrame":
        """One row for each input × dimensions × trial, indexed so; columns: the data's own, each step, each score (`name.part` where it
        is a dict), `status` ("done", "failed", "refused", "missing"), `error`, and of the steps together `seconds`, `tokens_in`,
        `tokens_out`, `cost_usd` (None where no price is known). Only trials that a step was sampled in."""
        return build_frame(self._grid, self._states, self._rows, self.key, self._store)

    @property
    def errors(self) -> "pd.DataFrame":
        """The rows in which a call failed or was refused."""
        return self.df[self.df["status"].isin(("failed", "refused"))]

    def summary(
        self,
        metric: str | Sequence[str] | Mapping[str, Any],
        by: str | Sequence[str] | None = None,
        *,
        stat: Any = "mean",
        level: float = 0.95,
    ) -> "pd.DataFrame":
        """Value, interval, n_items and n_trials of a metric (a column of numbers), by dimensions and columns; by default by every
        dimension with several values.

        `stat`: "mean" over items of their means over trials, "sum", `pass_all(k)`, `quantile(q)`, or a function of the rows, whose interval
        resamples items and calls it again. Several metrics, or {metric: stat}, give a line for each. No interval is ever 0 wide for want
        of items: with fewer than two it is None.
        """
        import pandas as pd

        wanted = dict.fromkeys([metric] if isinstance(metric, str) else metric, stat) if not isinstance(metric, Mapping) else dict(metric)
        names = self._by(by)
        lines = []
        for column, how in wanted.items():
            self._number(column)
            for group, part in self.groups(names):
                head = {"metric": column} if len(wanted) > 1 else {}
                lines.append({**group, **head, **summarise(part, column, self.key, how, level, SEED)})
        table = pd.DataFrame(lines)
        index = [*names, *(["metric"] if len(wanted) > 1 else [])]
        return table.set_index(index) if index else table

    def compare(
        self,
        dim: str,
        a: Any,
        b: Any,
        metric: str,
        *,
        by: str | Sequence[str] | None = None,
        cluster: str | None = None,
        correct: str = "holm",
        higher_is_better: bool = True,
        alpha: float = 0.05,
    ) -> Any:
        """`b` against `a`, values of a dimension as they are shown in the table; other dimensions count as trials.

        `cluster` names a column whose equal values belong together (a source document, a family of phrasings). With `by` a `Many`: one
        comparison a group, p values adjusted by `correct`.
        """
        self._dim(dim)
        self._number(metric)
        options: dict[str, Any] = {"cluster": cluster, "higher_is_better": higher_is_better, "alpha": alpha, "seed": SEED}
        if cluster is not None:
            self._column(cluster)
        if by is None:
            return compare(self.df, self.key, dim, a, b, metric, **options)
        return many([(g, compare(part, self.key, dim, a, b, metric, **options)) for g, part in self.groups(self._by(by))], correct)

    def compare_all(self, dim: str, metrics: Sequence[str], *, correct: str = "holm", **options: Any) -> Many:
        """Every value of a dimension with every later one, on each metric; p values adjusted over all of them."""
        pairs = pairs_of(self._dim(dim))
        return many([({}, self.compare(dim, a, b, metric, **options)) for metric in metrics for a, b in pairs], correct)

    def groupby(self, by: str | Sequence[str]) -> "Groups":
        """The rows in groups, which keep them: `.summary(metric)`, and `.drill(value)` for the rows of one."""
        return Groups(self, self._by(by))

    def where(self, rows: Any) -> "Results":
        """The same with fewer rows: a mask over `df`."""
        part = copy(self)
        part._whole = self._whole
        part.__dict__["df"] = self.df[rows]
        return part

    def scatter(self, x: str, y: str, *, each: str | None = None, path: Path | str | None = None) -> Any:
        """One point for each value of `each` (default: each input), with error bars of one standard error in both directions."""
        for metric in (x, y):
            self._number(metric)
        grouped = self.df.groupby(each or self.key, sort=False)
        means, errors = grouped[[x, y]].mean(), grouped[[x, y]].sem().fillna(0.0)
        return scatter(means.join(errors, rsuffix="_error"), (x, y), (x, y), path)

    def precision(self, metric: str, by: str | Sequence[str] | None = None, *, level: float = 0.95) -> "pd.DataFrame":
        """How well the mean is known, and in `share_between_items` how much of a trial's variance more trials cannot reduce."""
        return self._lines(metric, by, lambda part: precision(part, metric, self.key, level))

    def needed(self, metric: str, half_width: float, by: str | Sequence[str] | None = None, *, level: float = 0.95) -> "pd.DataFrame":
        """Whether more trials or more items give an interval no wider than ± `half_width`, and how many: `trials` None, where none do."""
        return self._lines(metric, by, lambda part: needed(part, metric, self.key, half_width, level)._asdict())

    def report(self, path: Path | str, *, title: str = "Experiment", margin: float = 0.0) -> Path:
        """One self-contained page: what is decided, every metric with its interval, all comparisons, the rows behind them."""
        from pp_assets.experiment.page import write_page

        return write_page(self, Path(path), title, margin=margin)

    def log(self, name: str, *, task: str = "experiments", title: str = "", margin: float = 0.0) -> str | None:
        """A run in MLflow, under the parent run `name` of the experiment `task`: what was varied, the mean of every metric with its
        interval, all comparisons as a table, their plots, the page. Returns its address; None where `PP_TRACKING` is off, and then nothing
        is written."""
        from pp_assets.experiment.tracked import log_results
        from pp_resources.settings import Settings
        from pp_resources.tracking import open_tracker

        return log_results(self, open_tracker(Settings.from_env()), task, name, title or name, margin)

    def trials_used(self) -> "pd.Series":
        """Answers by input and dimensions."""
        return self.df[self.df["status"] == DONE].groupby([self.key, *self.dims], observed=True).size()

    @property
    def codes(self) -> dict[str, str]:
        """The digest of each step's code, as it is in force here."""
        found = {name: {v.id: v.digest for v in self._store.versions(name)} for name in self._states}
        return {name: found[name][state.op] for name, state in self._states.items()}

    def versions(self, step: str) -> list[str]:
        """Digests of all versions of a step whose cells the store keeps, oldest first."""
        return [v.digest for v in self._store.versions(self._known(step))]

    def diff_scores(self, score: str, old: str) -> "pd.DataFrame":
        """Rows whose score differs between an older version (the start of its digest) and this one, with both values."""
        import pandas as pd

        state = self._states[self._known(score)]
        found = [v for v in self._store.versions(score) if v.digest.startswith(old)]
        if len(found) != 1:
            raise UserError(f"{len(found)} versions begin with {old!r}", where=f"score {score!r}", how=nearest(old, self.versions(score)))
        kept, _ = kept_places(self._grid, self._states)
        keys = self._grid.spread(state.keys, state.axes, tuple(self._grid.sizes)).ravel()[kept].tolist()
        before = self._store.get(found[0].id, state.places.keys())[0]
        earlier = pd.Series(numbers([orjson.loads(before.get(key, b"null")) for key in keys]), index=self._whole.df.index)
        table = self.df[[score]].copy()
        table.insert(0, f"{score} before", earlier.reindex(table.index))
        there = table[f"{score} before"].notna() & table[score].notna()
        return table[there & (table[f"{score} before"] != table[score])]

    def _known(self, step: str) -> str:
        if step not in self._states:
            raise UserError(f"no step or score {step!r}", where="results", how=nearest(step, self._states))
        return step

    def _lines(self, metric: str, by: str | Sequence[str] | None, line: "Callable[[pd.DataFrame], Mapping[str, Any]]") -> "pd.DataFrame":
        import pandas as pd

        self._number(metric)
        table = pd.DataFrame([{**group, **line(part)} for group, part in self.groups(by)])
        return table.set_index(names) if (names := self._by(by)) else table

    def _dim(self, dim: str) -> list[Any]:
        if dim not in self.dims:
            raise UserError(f"no dimension {dim!r}", where="results", how=nearest(dim, self.dims))
        return self.dims[dim]

    def _column(self, name: str) -> str:
        if name not in self.df.columns and name not in self.df.index.names:
            raise UserError(f"no column {name!r}", where="results", how=nearest(name, map(str, [*self.df.columns, *self.df.index.names])))
        return name

    def _number(self, metric: str) -> None:
        import pandas as pd

        if not pd.api.types.is_numeric_dtype(self.df[self._column(metric)]):
            raise UserError(f"{metric!r} holds no numbers", where="metric", how=nearest(metric, self.metrics))

    def _by(self, by: str | Sequence[str] | None) -> list[str]:
        if by is None:
            return [name for name, values in self.dims.items() if len(values) > 1]
        return [self._column(name) for name in ([by] if isinstance(by, str) else by)]

    def groups(self, by: str | Sequence[str] | None = None) -> "list[tuple[dict[str, Any], pd.DataFrame]]":
        """The rows in groups with what they have in common; by default by every dimension with several values."""
        names = self._by(by)
        if not names:
            return [({}, self.df)]
        return [(dict(zip(names, group)), part) for group, part in self.df.groupby(names, sort=False, dropna=False)]


class Groups:
    """Rows in groups; see `Results.groupby`."""

    def __init__(self, results: Results, by: list[str]) -> None:
        self.results, self.by = results, by

    def summary(self, metric: str | Sequence[str] | Mapping[str, Any], **options: Any) -> "pd.DataFrame":
        """`Results.summary` by these groups."""
        return self.results.summary(metric, by=self.by, **options)

    def drill(self, *values: Any) -> Results:
        """The results of one group."""
        frame = self.results.df.reset_index()
        mask = np.ones(len(frame), dtype=bool)
        for name, value in zip(self.by, values, strict=True):
            mask &= (frame[name] == value).to_numpy()
        if not mask.any():
            known = sorted(map(str, frame[self.by[-1]].unique()))
            raise UserError(f"no rows with {' and '.join(map(repr, values))}", where="drill", how=nearest(str(values[-1]), known))
        return self.results.where(mask)
