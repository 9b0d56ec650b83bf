"""Computes what is missing, step by step, with several workers; other processes may be doing the same."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from pp_assets.experiment.calls import Caller
from pp_assets.experiment.cells import State, Step
from pp_assets.experiment.grid import Grid
from pp_assets.experiment.store import FAILED, REFUSED, Cell
from pp_resources.errors import UserError
from pp_resources.progress import steps as progress

ALIVE_EVERY = 30.0
NOTED = 20_000  # different values of an argument of which the plan can say later whether they are new
QUICK = 0.05  # seconds of scoring in one task: a scorer takes microseconds, handing it to a worker fifty


@dataclass(frozen=True)
class Limits:
    """Of one run. `stop` computes nothing."""

    workers: int = 8
    raise_errors: bool = False
    budget_usd: float | None = None
    budget_minutes: float | None = None
    retry: bool = True
    stop: bool = False


class _Enough(Exception):
    """The budget would be passed."""


class Runner:
    """One run of an experiment. `callers` say by step where it is called."""

    def __init__(self, grid: Grid, callers: Mapping[str, Caller], limits: Limits) -> None:
        self.grid, self.store, self.callers, self.limits = grid, grid.store, callers, limits
        self.began = time.monotonic()
        self.spent = self.dearest = 0.0
        self.calls: dict[str, int] = {}
        self._ready: list[Caller] = []

    def run(self, todo: Sequence[Step]) -> tuple[Grid, dict[str, State], dict[str, int], dict[str, int], float]:
        """(grid, state by step, calls made, calls left, US dollars spent)."""
        states: dict[str, State] = {}
        left: dict[str, int] = {}
        enough = self.limits.stop
        try:
            for step in todo:
                state = self.grid.look(step)
                self.calls[step.name] = 0
                try:
                    if not enough:
                        self._compute(state, todo)
                except _Enough:
                    enough = True
                left[step.name] = len(state.missing(retry=False)) + len(state.waiting)
                self.grid.add(state, todo)
                states[step.name] = state
        finally:
            self.store.release()
        return self.grid, states, self.calls, left, self.spent

    def _compute(self, state: State, todo: Sequence[Step]) -> None:
        pending = dict.fromkeys(state.missing(self.limits.retry))
        if not pending:
            return
        caller = self.callers[state.step.name]
        if not any(ready is caller for ready in self._ready):
            # All of its steps, before the first is paid for.
            caller.prepare([step for step in todo if self.callers[step.name] is caller])
            self._ready.append(caller)
        self._note(state, pending)
        size = max(1, state.step.op.batch[1] if state.step.op.batch else 1)
        chunk = max(4 * self.limits.workers * size, 20_000 if state.step.kind == "score" else 0)
        with progress(state.step.name, len(pending)) as advance, ThreadPoolExecutor(self.limits.workers) as pool:
            while pending:
                mine = self.store.claim(state.op, pending, chunk)
                if mine:
                    self._share(state, mine, pool, advance)
                for key in mine:
                    pending.pop(key)
                if pending:
                    # Those that another process has put meanwhile are done; those that it has in hand are worth waiting for.
                    done, ended = self.store.get(state.op, set(pending)) if not mine else ({}, {})
                    state.done |= done
                    state.ended |= ended
                    for key in done.keys() | {key for key, (status, _) in ended.items() if status == REFUSED}:
                        pending.pop(key)
                        advance("")
                    if not mine and not done:
                        time.sleep(0.1)

    def _share(self, state: State, keys: Sequence[bytes], pool: ThreadPoolExecutor, advance: Any) -> None:
        """Have the workers make these calls; every result is on the disk before more are handed out."""
        tasks = self._tasks(state, keys)
        running: set[Future[dict[bytes, Cell]]] = set()
        alive = time.monotonic()
        stopped: BaseException | None = None
        while True:
            while stopped is None and len(running) < 2 * self.limits.workers and (task := next(tasks, None)) is not None:
                try:
                    self._afford(state, len(running))
                except _Enough as enough:
                    stopped = enough
                    break
                # The context goes with it, for whoever watches the progress of what is called.
                running.add(pool.submit(copy_context().run, task))
                if self.limits.budget_usd is not None and not self.dearest:
                    break  # until one call has ended nobody knows what a call costs
            if not running:
                break
            try:
                ended, running = wait(running, timeout=ALIVE_EVERY, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt as interrupt:
                stopped = interrupt
                self.callers[state.step.name].hurry()
                continue
            cells: dict[bytes, Cell] = {}
            for future in ended:
                try:
                    cells |= future.result()
                except UserError as error:
                    stopped = error
                    self.callers[state.step.name].hurry()
            if cells:
                self.store.put(state.op, cells)
            for key, cell in cells.items():
                state.take(key, cell)
                self.calls[state.step.name] += 1
                self.spent += cell.cost_usd or 0.0
                self.dearest = max(self.dearest, cell.cost_usd or 0.0)
                advance("")
                if self.limits.raise_errors and cell.status == FAILED and stopped is None:
                    stopped = UserError(
                        cell.value.decode(), where=f"step {state.step.name!r}", how="run again to go on, or on_error='keep'"
                    )
            if time.monotonic() - alive > ALIVE_EVERY:
                self.store.alive()
                alive = time.monotonic()
        if stopped is not None:
            raise stopped

    def _tasks(self, state: State, keys: Sequence[bytes]) -> "Iterator[Callable[[], dict[bytes, Cell]]]":
        step, caller = state.step, self.callers[state.step.name]
        if step.op.batch is None:
            took = [QUICK]  # seconds of a call; scorers that are quick are called many times in one task

            def calls(part: Sequence[bytes]) -> dict[bytes, Cell]:
                began = time.perf_counter()
                cells = dict(zip(part, caller.each(step, [state.call(state.places[key]) for key in part])))
                took[0] = (time.perf_counter() - began) / len(part)
                return cells

            start = 0
            while start < len(keys):
                size = 1 if step.kind == "step" else min(5000, max(1, int(QUICK / took[0])))
                yield partial(calls, keys[start : start + size])
                start += size
            return

        def batch(part: Sequence[bytes]) -> dict[bytes, Cell]:
            return dict(zip(part, caller.together(step, [state.call(state.places[key]) for key in part])))

        many, most = step.op.batch
        alike: dict[tuple[bytes | None, ...], list[bytes]] = {}
        for key in keys:
            others = tuple(state.digest(name, state.places[key]) for name in state.columns if name != many)
            alike.setdefault(others, []).append(key)
        for group in alike.values():
            for start in range(0, len(group), most):
                yield partial(batch, group[start : start + most])

    def _afford(self, state: State, running: int) -> None:
        """Raises _Enough when the next call, with those that are running, would pass a budget."""
        limits = self.limits
        if limits.budget_minutes is not None and time.monotonic() - self.began >= 60 * limits.budget_minutes:
            raise _Enough
        if limits.budget_usd is not None:
            size = state.step.op.batch[1] if state.step.op.batch else 1
            if self.spent + size * (running + 1) * self.dearest > limits.budget_usd:
                raise _Enough

    def _note(self, state: State, keys: Iterable[bytes]) -> None:
        for argument in state.columns:
            values = {state.digest(argument, state.places[key]) for key in keys}
            if len(values) <= NOTED:
                self.store.note(state.op, [(argument, value) for value in values if value is not None])
