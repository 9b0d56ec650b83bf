"""What to compute: rows × varied dimensions × trials, through steps and scorers. Nothing is computed twice, and nothing before `run`."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pp_assets.evaluation.stats.nested import nested_mean
from pp_assets.experiment.calls import Caller
from pp_assets.experiment.cells import State, Step
from pp_assets.experiment.data import read_rows
from pp_assets.experiment.grid import KEYS, TRIAL, Grid
from pp_assets.experiment.ops import as_op, label
from pp_assets.experiment.plan import Plan, make_plan
from pp_assets.experiment.remote import LOCAL, callers_of
from pp_assets.experiment.results import Results
from pp_assets.experiment.runner import Limits, Runner
from pp_assets.experiment.statistics import matrix
from pp_assets.experiment.store import CellStore
from pp_resources.errors import UserError, nearest
from pp_resources.models.price import Price


@dataclass(frozen=True)
class HalfWidth:
    """See `half_width`."""

    metric: str
    width: float

    def reached(self, results: Results, looks: int) -> bool:
        """Whether the metric's mean over items is known so well under all dimensions, at the `looks`-th look.

        A look may find a narrow interval by luck, and there are many: the k-th spends alpha / (k (k + 1)) of the 5 %, which add up to them.
        """
        for _, part in results.groups():
            found = nested_mean(matrix(part, self.metric, results.key)[1], 1 - 0.05 / (looks * (looks + 1)))
            if found.low is None or found.high is None or found.high - found.low > 2 * self.width:
                return False
        return True


def half_width(metric: str, width: float) -> HalfWidth:
    """A rule to stop by: the mean of a score in 0..1 is known to ± `width`. Items that trials cannot make surer need more items, which
    `Results.needed` tells."""
    if not width > 0:
        raise UserError(f"a half-width of {width}", where="half_width", how="give a number above 0")
    return HalfWidth(metric, width)


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
        self.rows = read_rows(data, key)
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
            shown = [label(value) for value in values]
            if twice := [word for i, word in enumerate(shown) if word in shown[:i]]:
                # In a table they would be one, and a comparison of them one of a thing with itself.
                raise UserError(f"two values are shown as {twice[0]!r}", where=f"dimension {name!r}", how="give each a `name` of its own")
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
        until: "HalfWidth | None" = None,
        max_trials: int = 30,
        where: str | Mapping[str, str] = LOCAL,
    ) -> Results:
        """Compute what is missing; each cell is on the disk when it is done, so that a run that was killed goes on.

        `where` is the address of a server (`pp experiment serve`) that makes the calls instead of this process, or one for each step that
        is named, the others being called here. Cells are the same, and in the same store, wherever they were computed.

        `on_error` "raise" stops at the first failed call, "keep" leaves it in the table with its message. A budget ends the run before it
        is passed, with everything that was done kept and `Results.left` saying what was not. `retry` asks again where a call failed in an
        earlier run. `until` = `half_width(metric, .02)` adds trials, at most `max_trials`, until the metric is known as well as
        that, by intervals which hold at all looks together. Raises UserError for a budget in US dollars when
        a model has no price.
        """
        if on_error not in ("keep", "raise"):
            raise UserError(f"on_error={on_error!r}", where="run", how="'keep' or 'raise'")
        if budget_usd is not None and (unpriced := self.plan().unpriced):
            raise UserError(f"no price is known of {', '.join(unpriced)}", where="budget_usd", how="give prices, or budget_minutes")
        limits = Limits(workers, on_error == "raise", budget_usd, budget_minutes, retry)
        callers = callers_of(self.steps, where, self.prices)
        results = self._results(Runner(self.grid(), callers, limits).run(list(self.steps.values())))
        if until is None:
            return results
        return self._until(until, max_trials, limits, callers, results)

    def _until(self, until: "HalfWidth", most: int, limits: Limits, callers: Mapping[str, Caller], results: Results) -> Results:
        began, looks = time.monotonic(), 1
        while not until.reached(results, looks) and self.trial_count < most and not any(results.left.values()):
            self.trials(self.trial_count + 1)
            looks += 1
            minutes = None if limits.budget_minutes is None else limits.budget_minutes - (time.monotonic() - began) / 60
            money = None if limits.budget_usd is None else limits.budget_usd - results.spent_usd
            runner = Runner(self.grid(), callers, replace(limits, budget_minutes=minutes, budget_usd=money))
            more = self._results(runner.run(list(self.steps.values())))
            more.spent_usd += results.spent_usd
            more.computed = {name: count + results.computed[name] for name, count in more.computed.items()}
            if not sum(more.computed.values()) > sum(results.computed.values()):
                return more  # nothing is sampled: another trial says nothing new
            results = more
        return results

    def results(self) -> Results:
        """What the store has, without computing anything."""
        return self._results(Runner(self.grid(), {}, Limits(retry=False, stop=True)).run(list(self.steps.values())))

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
