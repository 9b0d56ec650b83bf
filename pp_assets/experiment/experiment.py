"""What to compute: rows × varied dimensions × trials, through steps and scorers. Nothing is computed twice, and nothing before `run`."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pp_assets.experiment.cells import State, Step
from pp_assets.experiment.grid import KEYS, TRIAL, Grid
from pp_assets.experiment.ops import Price, as_op
from pp_assets.experiment.plan import Plan, make_plan
from pp_assets.experiment.results import Results
from pp_assets.experiment.runner import Limits, Runner
from pp_assets.experiment.store import CellStore
from pp_assets.experiment.values import encode
from pp_resources.errors import UserError, nearest


class Experiment:
    """Rows × dimensions × trials. Every method but `plan`, `run`, `pilot`, `one` and `results` only says what is wanted, and returns the
    experiment.

    `data` is a table (pandas), a list of dicts, or a file of JSON lines, CSV or Parquet; `key` its column of unique ids (rows are numbered
    where there is none). `store` is a file that keeps every cell, and that experiments and processes may share. `prices` by model name,
    for models that have no `price` of their own.

    >>> import tempfile, pathlib
    >>> def answer(text, model): return text.upper() if model == "loud" else text
    >>> def right(answer, wanted): return answer == wanted
    >>> rows = [{"id": "a", "text": "yes", "wanted": "YES"}, {"id": "b", "text": "NO", "wanted": "NO"}]
    >>> exp = Experiment(rows, store=pathlib.Path(tempfile.mkdtemp()) / "cells.db")
    >>> results = exp.vary(model=["plain", "loud"]).step("answer", answer).score(right).run()
    >>> results.summary("right", by="model")["mean"].to_dict()
    {'plain': 0.5, 'loud': 1.0}
    >>> exp.run().computed
    {'answer': 0, 'right': 0}
    """

    def __init__(self, data: Any, *, store: Path | str | CellStore, key: str = "id", prices: Mapping[str, Price] | None = None) -> None:
        self.rows = _rows(data, key)
        self.key = key
        self.store = store if isinstance(store, CellStore) else CellStore(Path(store), len(KEYS))
        self.prices = dict(prices or {})
        self.dims: dict[str, list[Any]] = {}
        self.steps: dict[str, Step] = {}
        self.trial_count = 1

    def vary(self, **dims: Sequence[Any]) -> "Experiment":
        """Every value of each dimension with every value of the others. A dimension that was given before gets the new values."""
        for name, values in dims.items():
            if name in self.rows or name in self.steps or name in (TRIAL, self.key):
                raise UserError("is the name of a column, a step or the trial", where=f"dimension {name!r}", how="give it another name")
            if isinstance(values, str) or not list(values):
                raise UserError("needs a list of values", where=f"dimension {name!r}", how="for one value: vary(name=[value])")
            self.dims[name] = list(values)
        return self

    def step(self, name: str, function: Callable[..., Any], *, inputs: Mapping[str, str] | None = None) -> "Experiment":
        """Call `function` for each cell. Its arguments come from columns, dimensions and earlier steps of the same name, or those that
        `inputs` names by argument. What it gives is the column `name`: JSON values, or `Out` with tokens and cost."""
        return self._add(name, function, inputs, "step")

    def score(self, *functions: Callable[..., Any], inputs: Mapping[str, str] | None = None, **named: Callable[..., Any]) -> "Experiment":
        """Scorers: steps whose answer is a number, a bool, None (no score), or a dict of these. They are asked once for equal values,
        whichever model, trial or row these came from."""
        for name, function in {**{as_op(f).name: f for f in functions}, **named}.items():
            self._add(name, function, inputs, "score")
        return self

    def annotate(self, name: str, function: Callable[..., Any], on: str) -> "Experiment":
        """A column of the rows alone: `function` of the column `on`, once for each different value, in no trial."""
        argument = next(iter(as_op(function).arguments), "")
        return self._add(name, function, {argument: on}, "annotation")

    def trials(self, count: int) -> "Experiment":
        """How often sampled steps are asked: more adds cells and repeats none."""
        if count < 1:
            raise UserError(f"{count} trials", where="trials", how="1 or more")
        self.trial_count = count
        return self

    def plan(self, trials: int | None = None) -> Plan:
        """What is there, what is missing, why, and what it will cost."""
        return make_plan(self.grid(trials), list(self.steps.values()), self.prices)

    def run(
        self,
        *,
        workers: int = 8,
        on_error: str = "keep",
        budget_usd: float | None = None,
        budget_minutes: float | None = None,
        retry: bool = True,
    ) -> Results:
        """Compute what is missing; each cell is on the disk when it is done, so that a run that was killed goes on.

        `on_error` "raise" stops at the first failed call, "keep" leaves it in the table with its message. A budget ends the run before it
        is passed, with everything that was done kept and `Results.left` saying what was not. `retry` asks again where a call failed in an
        earlier run. Raises UserError for a budget in US dollars when a model has no price.
        """
        if on_error not in ("keep", "raise"):
            raise UserError(f"on_error={on_error!r}", where="run", how="'keep' or 'raise'")
        if budget_usd is not None and (unpriced := self.plan().unpriced):
            raise UserError(f"no price is known of {', '.join(unpriced)}", where="budget_usd", how="give prices, or budget_minutes")
        limits = Limits(workers, on_error == "raise", budget_usd, budget_minutes, retry)
        return self._results(Runner(self.grid(), self.prices, limits).run(list(self.steps.values())))

    def results(self) -> Results:
        """What the store has, without computing anything."""
        return self._results(Runner(self.grid(), self.prices, Limits(retry=False, stop=True)).run(list(self.steps.values())))

    def pilot(self, count: int, seed: int = 0, **options: Any) -> "Experiment":
        """Compute so many rows, drawn at random, so that the next plan knows what a call takes."""
        chosen = random.Random(seed).sample(range(len(self)), min(count, len(self)))
        self._of_rows(sorted(chosen)).run(**options)
        return self

    def one(self, id: Any, **dims: Any) -> Results:
        """A single row (and of each named dimension a single value), through the same cells."""
        if id not in self.rows[self.key]:
            raise UserError(f"no row {id!r}", where=self.key, how=nearest(str(id), map(str, self.rows[self.key])))
        part = self._of_rows([self.rows[self.key].index(id)])
        for name, value in dims.items():
            if name not in self.dims:
                raise UserError(f"no dimension {name!r}", where="one", how=nearest(name, self.dims))
            part.dims[name] = [value]
        return part.run()

    def grid(self, trials: int | None = None) -> Grid:
        """The cells as arrays; `trials` instead of the experiment's."""
        return Grid(self.rows, self.dims, trials or self.trial_count, self.store)

    def __len__(self) -> int:
        return len(self.rows[self.key])

    def _add(self, name: str, function: Callable[..., Any], inputs: Mapping[str, str] | None, kind: Any) -> "Experiment":
        if not name.isidentifier() or name in self.rows or name in self.dims or name in (TRIAL, "status"):
            raise UserError(
                "is no name for a step, or taken by a column or a dimension", where=f"step {name!r}", how="give it another name"
            )
        made = Step(name, as_op(function), dict(inputs or {}), kind)
        before = list(self.steps)[: list(self.steps).index(name)] if name in self.steps else list(self.steps)
        made.columns({**self.rows, **self.dims, **dict.fromkeys(before)})
        self.steps[name] = made
        return self

    def _of_rows(self, places: Sequence[int]) -> "Experiment":
        part = Experiment.__new__(Experiment)
        part.__dict__ |= self.__dict__ | {"rows": {n: [v[i] for i in places] for n, v in self.rows.items()}, "dims": dict(self.dims)}
        return part

    def _results(self, ended: tuple[Grid, dict[str, State], dict[str, int], dict[str, int], float]) -> Results:
        grid, states, computed, left, spent = ended
        return Results(grid, states, self.rows, self.key, computed, left, spent, self.store)


def _rows(data: Any, key: str) -> dict[str, list[Any]]:
    import pandas as pd

    table = _read(data) if isinstance(data, str | Path) else data
    if isinstance(table, pd.DataFrame):
        columns = {str(name): [None if _nothing(v) else v for v in table[name].tolist()] for name in table.columns}
    else:
        rows = list(table)
        names = {name: None for row in rows for name in row}
        columns = {name: [row.get(name) for row in rows] for name in names}
    count = len(next(iter(columns.values()), []))
    if not count:
        raise UserError("has no rows", where="data", how="give a table with at least one row")
    if key not in columns:
        columns = {key: list(range(count)), **columns}
    # The same row twice is no second item; two rows of one id would be one item with two truths.
    first: dict[bytes, int] = {}
    kept = []
    for place, name in enumerate(columns[key]):
        before = first.setdefault(encode(name), place)
        if before == place:
            kept.append(place)
        elif any(encode(values[before]) != encode(values[place]) for values in columns.values()):
            raise UserError(
                f"{name!r} stands there twice, with other values", where=f"data: column {key!r}", how="give each row an id of its own"
            )
    return columns if len(kept) == count else {name: [values[i] for i in kept] for name, values in columns.items()}


def _read(file: Path | str) -> Any:
    import pandas as pd

    path = Path(file)
    readers: dict[str, Callable[..., Any]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix in (".jsonl", ".json", ".ndjson"):
        import orjson

        try:
            return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        except (OSError, orjson.JSONDecodeError) as error:
            raise UserError(f"cannot be read ({error})", where=str(path), how="one JSON object a line") from error
    if path.suffix not in readers:
        raise UserError(f"a file of kind {path.suffix!r}", where=str(path), how="use .jsonl, .csv or .parquet")
    try:
        return readers[path.suffix](path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error})", where=str(path), how="check the path and the content") from error


def _nothing(value: Any) -> bool:
    return isinstance(value, float) and value != value
