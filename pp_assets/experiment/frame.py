"""The tidy table of an experiment: one row for each input × dimensions × trial."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from pp_assets.experiment.cells import State
from pp_assets.experiment.grid import ROW, TRIAL, Grid
from pp_assets.experiment.store import DONE, CellStore

if TYPE_CHECKING:
    import pandas as pd

TAKES = ("seconds", "tokens_in", "tokens_out", "cost_usd")


def build_frame(grid: Grid, states: Mapping[str, State], rows: Mapping[str, Sequence[Any]], key: str, store: CellStore) -> "pd.DataFrame":
    """See `Results.df`."""
    import pandas as pd

    axes = tuple(grid.sizes)
    kept, places = kept_places(grid, states)
    index = {key: np.array(rows[key], dtype=object)[places[ROW]]}
    index |= {name: np.array(shown, dtype=object)[places[name]] for name, shown in grid.labels.items()}
    columns: dict[str, Any] = {n: np.array([*v, None], dtype=object)[:-1][places[ROW]] for n, v in rows.items() if n != key}
    status = np.full(len(kept), DONE, dtype=object)
    error = np.full(len(kept), None, dtype=object)
    takes = np.zeros((len(kept), len(TAKES)))
    for name, state in states.items():
        keys = grid.spread(state.keys, state.axes, axes).ravel()[kept].tolist()
        values = {key: orjson.loads(value) for key, value in state.done.items()}
        columns |= _columns(name, [values.get(key) for key in keys], state.step.kind == "score")
        facts = store.facts(state.op, state.done.keys())
        nothing = (0.0, 0, 0, 0.0)
        took = [facts.get(key, nothing) for key in keys]
        # Without tokens nothing was paid for; with tokens and no price nobody knows how much.
        takes += np.array([t if t[3] is not None else (*t[:3], 0.0 if not t[1] + t[2] else np.nan) for t in took])
        for i, each in enumerate(keys):
            if each not in values and status[i] == DONE:
                status[i], error[i] = state.ended.get(each, ("missing", None))
    names = [key, *grid.labels, TRIAL]
    rows_index = pd.MultiIndex.from_arrays([*index.values(), places[TRIAL]], names=names)
    return pd.DataFrame({**columns, "status": status, "error": error, **dict(zip(TAKES, takes.T))}, index=rows_index)


def kept_places(grid: Grid, states: Mapping[str, State]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Flat places of the rows of the table, and their place on each axis: trials after the first only where a step was sampled."""
    axes = tuple(grid.sizes)
    sampled = np.zeros([grid.sizes[axis] for axis in axes], dtype=bool)
    sampled[..., 0] = True
    for state in states.values():
        sampled |= grid.spread(state.trials, state.axes, axes)
    kept = np.flatnonzero(sampled.ravel())
    return kept, dict(zip(axes, np.unravel_index(kept, sampled.shape)))


def _columns(name: str, values: list[Any], scores: bool) -> dict[str, np.ndarray]:
    """A step's column; of scores that are dicts one for each part; of bools and numbers as numbers."""
    if not scores:
        return {name: np.array([*values, None], dtype=object)[:-1]}
    parts = {part: None for value in values if isinstance(value, dict) for part in value}
    if parts:
        return {f"{name}.{p}": numbers([v.get(p) if isinstance(v, dict) else None for v in values]) for p in parts}
    return {name: numbers(values)}


def numbers(values: list[Any]) -> np.ndarray:
    """Bools and numbers as numbers, anything else as NaN."""
    return np.array([np.nan if not isinstance(v, bool | int | float) else float(v) for v in values])
