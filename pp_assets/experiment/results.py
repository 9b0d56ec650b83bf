"""What an experiment gave, as a tidy table, and pure functions of it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from pp_assets.experiment.cells import State
from pp_assets.experiment.grid import ROW, TRIAL, Grid
from pp_assets.experiment.store import DONE, CellStore
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd


TAKES = ("seconds", "tokens_in", "tokens_out", "cost_usd")


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

    @property
    def dims(self) -> dict[str, list[Any]]:
        """The varied dimensions and how their values are shown."""
        return self._grid.labels

    @property
    def metrics(self) -> list[str]:
        """Columns of scores."""
        kinds = {name for name, state in self._states.items() if state.step.kind == "score"}
        return [c for c in self.df.columns if c in kinds or c.rpartition(".")[0] in kinds]

    @cached_property
    def df(self) -> "pd.DataFrame":
        """One row for each input × dimensions × trial, indexed so; columns: the data's own, each step, each score (`name.part` where it
        is a dict), `status` ("done", "failed", "refused", "missing"), `error`, and of the steps together `seconds`, `tokens_in`,
        `tokens_out`, `cost_usd` (None where no price is known). Only trials that a step was sampled in."""
        import pandas as pd

        axes = tuple(self._grid.sizes)
        sampled = np.zeros([self._grid.sizes[axis] for axis in axes], dtype=bool)
        sampled[..., 0] = True
        for state in self._states.values():
            sampled |= self._grid.spread(state.trials, state.axes, axes)
        kept = np.flatnonzero(sampled.ravel())
        places = dict(zip(axes, np.unravel_index(kept, sampled.shape)))
        index = {self.key: np.array(self._rows[self.key], dtype=object)[places[ROW]]}
        index |= {name: np.array(shown, dtype=object)[places[name]] for name, shown in self.dims.items()}
        columns: dict[str, Any] = {n: np.array([*v, None], dtype=object)[:-1][places[ROW]] for n, v in self._rows.items() if n != self.key}
        status = np.full(len(kept), DONE, dtype=object)
        error = np.full(len(kept), None, dtype=object)
        takes = np.zeros((len(kept), len(TAKES)))
        for name, state in self._states.items():
            keys = self._grid.spread(state.keys, state.axes, axes).ravel()[kept].tolist()
            values = {key: orjson.loads(value) for key, value in state.done.items()}
            columns |= _columns(name, [values.get(key) for key in keys], state.step.kind == "score")
            facts = self._store.facts(state.op, state.done.keys())
            nothing = (0.0, 0, 0, 0.0)
            took = [facts.get(key, nothing) for key in keys]
            # Without tokens nothing was paid for; with tokens and no price nobody knows how much.
            takes += np.array([t if t[3] is not None else (*t[:3], 0.0 if not t[1] + t[2] else np.nan) for t in took])
            for i, key in enumerate(keys):
                if key not in values and status[i] == DONE:
                    status[i], error[i] = state.ended.get(key, ("missing", None))
        names = [self.key, *self.dims, TRIAL]
        rows = pd.MultiIndex.from_arrays([*index.values(), places[TRIAL]], names=names)
        return pd.DataFrame({**columns, "status": status, "error": error, **dict(zip(TAKES, takes.T))}, index=rows)

    @property
    def errors(self) -> "pd.DataFrame":
        """The rows in which a call failed or was refused."""
        return self.df[self.df["status"].isin(("failed", "refused"))]

    def trials_used(self) -> "pd.Series":
        """Answers by input and dimensions."""
        return self.df[self.df["status"] == DONE].groupby([self.key, *self.dims], observed=True).size()

    def versions(self, step: str) -> list[str]:
        """Digests of all versions of a step whose cells the store keeps, oldest first."""
        return [v.digest for v in self._store.versions(self._known(step))]

    def diff_scores(self, score: str, old: str) -> "pd.DataFrame":
        """Rows whose score differs between an older version (the start of its digest) and this one, with both values."""
        state = self._states[self._known(score)]
        found = [v for v in self._store.versions(score) if v.digest.startswith(old)]
        if len(found) != 1:
            raise UserError(f"{len(found)} versions begin with {old!r}", where=f"score {score!r}", how=nearest(old, self.versions(score)))
        axes = tuple(self._grid.sizes)
        keys = self._grid.spread(state.keys, state.axes, axes).ravel().tolist()
        before = self._store.get(found[0].id, state.places.keys())[0]
        table = self.df[[score]].copy()
        table.insert(0, f"{score} before", _numbers([orjson.loads(before.get(key, b"null")) for key in self._kept(keys)]))
        there = table[f"{score} before"].notna() & table[score].notna()
        return table[there & (table[f"{score} before"] != table[score])]

    def _kept(self, keys: list[Any]) -> list[Any]:
        """Of values by flat place those in the rows of `df`."""
        sizes = list(self._grid.sizes.values())
        ids = {value: i for i, value in enumerate(self._rows[self.key])}
        shown = [{v: i for i, v in enumerate(labels)} for labels in self.dims.values()]
        places = [ids, *shown, {t: t for t in range(sizes[-1])}]
        return [keys[int(np.ravel_multi_index([where[v] for where, v in zip(places, row)], sizes))] for row in self.df.index]

    def _known(self, step: str) -> str:
        if step not in self._states:
            raise UserError(f"no step or score {step!r}", where="results", how=nearest(step, self._states))
        return step


def _columns(name: str, values: list[Any], scores: bool) -> dict[str, np.ndarray]:
    """A step's column; of scores that are dicts one for each part; of bools and numbers as numbers."""
    if not scores:
        return {name: np.array([*values, None], dtype=object)[:-1]}
    parts = {part: None for value in values if isinstance(value, dict) for part in value}
    if parts:
        return {f"{name}.{p}": _numbers([v.get(p) if isinstance(v, dict) else None for v in values]) for p in parts}
    return {name: _numbers(values)}


def _numbers(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if not isinstance(v, bool | int | float) else float(v) for v in values])
