"""What an experiment would compute, why, and what that takes: told before anything is spent."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from pp_assets.experiment.cells import State, Step
from pp_assets.experiment.grid import Grid
from pp_assets.experiment.ops import label, price_of
from pp_assets.experiment.store import FAILED, REFUSED
from pp_resources.errors import UserError, nearest
from pp_resources.models.price import Price

Z = 1.96  # two-sided 95 %


class Span(NamedTuple):
    """A low and a high figure, 95 %; None where nothing is known."""

    low: float | None
    high: float | None

    def __add__(self, other: "Span") -> "Span":  # type: ignore[override]
        return Span(*(None if a is None or b is None else a + b for a, b in zip(self, other)))


@dataclass(frozen=True)
class StepPlan:
    """One step. `cells` places on its axes, `duplicate` those that share a key with another, `cached` different ones that are done,
    `refused` and `failed` ones, and `compute` those to be called; `waiting` of them are at most so many, since they depend on what is not
    there yet. `reasons` say why. Seconds are of one worker."""

    name: str
    cells: int
    duplicate: int
    cached: int
    refused: int
    failed: int
    compute: int
    waiting: int
    reasons: tuple[str, ...]
    seconds: Span
    tokens: Span
    cost_usd: Span
    unpriced: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All steps of an experiment, in order."""

    steps: tuple[StepPlan, ...]
    states: Sequence[State]

    @property
    def counts(self) -> dict[str, int]:
        """Calls to make by step; where a step waits for another, at most so many."""
        return {step.name: step.compute for step in self.steps}

    @property
    def calls(self) -> int:
        """Calls to make in all."""
        return sum(self.counts.values())

    @property
    def cost_usd(self) -> Span:
        """US dollars of all steps with a priced model; unpriced ones are in `unpriced`, never counted as 0."""
        return sum((step.cost_usd for step in self.steps), Span(0.0, 0.0))

    @property
    def seconds(self) -> Span:
        """Of one worker."""
        return sum((step.seconds for step in self.steps), Span(0.0, 0.0))

    @property
    def unpriced(self) -> list[str]:
        """Models to be called of which no price is known."""
        return sorted({name for step in self.steps for name in step.unpriced})

    def explain(self, step: str) -> list[str]:
        """Why the cells of a step are to be computed, in words."""
        found = {s.name: list(s.reasons) for s in self.steps}
        if step not in found:
            raise UserError(f"no step {step!r}", where="plan", how=nearest(step, found))
        return found[step]

    def to_jsonl(self, path: Path | str) -> Path:
        """Write the calls that can be made now, one JSON object a line: step, key, arguments."""
        out = Path(path)
        with out.open("wb") as lines:
            for state in self.states:
                for key in state.missing(retry=True):
                    call = {"step": state.step.name, "key": key.hex(), "arguments": state.call(state.places[key])}
                    lines.write(orjson.dumps(call, default=lambda value: str(label(value))) + b"\n")
        return out

    def __str__(self) -> str:
        head = ["step", "cells", "duplicate", "cached", "to compute", "minutes", "tokens", "US dollars"]
        rows = [head]
        for s in self.steps:
            many = f"{s.compute:,}" if not s.waiting else f"up to {s.compute:,}"
            minutes = Span(*(None if v is None else v / 60 for v in s.seconds))
            money = "no price" if s.unpriced else _range(s.cost_usd, "{:,.2f}")
            counts = [f"{s.cells:,}", f"{s.duplicate:,}", f"{s.cached:,}", many]
            rows.append([s.name, *counts, _range(minutes, "{:,.1f}"), _range(s.tokens, "{:,.0f}"), money])
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip() for row in rows]
        lines += [f"{s.name}: {reason}" for s in self.steps for reason in s.reasons]
        if self.unpriced:
            lines.append(f"no price is known of: {', '.join(self.unpriced)}")
        return "\n".join(lines)


def make_plan(grid: Grid, steps: Sequence[Step], prices: Mapping[str, Price]) -> Plan:
    """Look every step up; nothing is computed or written but the versions of the steps."""
    states = []
    for step in steps:
        states.append(grid.look(step))
        grid.add(states[-1], steps)
    return Plan(tuple(_step_plan(grid, state, prices) for state in states), tuple(states))


def _step_plan(grid: Grid, state: State, prices: Mapping[str, Price]) -> StepPlan:
    todo, waiting = state.missing(retry=True), state.waiting
    statuses = Counter(status for status, _ in state.ended.values())
    count = len(todo) + len(waiting)
    seconds, tokens, cost, unpriced = _takes(grid, state, todo, count, prices)
    return StepPlan(
        state.step.name,
        cells=state.keys.size,
        duplicate=state.keys.size - state.keys.ravel().tolist().count(None) - len(state.places),
        cached=len(state.done),
        refused=statuses[REFUSED],
        failed=statuses[FAILED],
        compute=count,
        waiting=len(waiting),
        reasons=tuple(_reasons(grid, state, todo)),
        seconds=seconds,
        tokens=tokens,
        cost_usd=cost,
        unpriced=unpriced,
    )


def _takes(
    grid: Grid, state: State, todo: Sequence[bytes], count: int, prices: Mapping[str, Price]
) -> tuple[Span, Span, Span, tuple[str, ...]]:
    """Seconds, tokens, US dollars and the models without a price, from what the calls of this step have taken so far."""
    seen = np.array([row[:3] for row in grid.store.measured(state.step.name)], dtype=float).reshape(-1, 3)
    seconds = _sum_of(seen[:, 0], count)
    if not is_of_model(state):
        return seconds, Span(0.0, 0.0), Span(0.0, 0.0), ()
    tokens = _sum_of(seen[:, 1] + seen[:, 2], count)
    # Where an input is not there yet, the model is still known: it is a dimension.
    models = Counter[str]()
    known: dict[str, Price | None] = {}
    for name, price, share in _models(state, todo):
        models[name] += share
        known[name] = price or prices.get(name)
    unpriced = tuple(sorted(name for name, price in known.items() if price is None))
    cost = Span(0.0, 0.0)
    for name, price in known.items():
        if price is not None:
            cost += _sum_of(np.array([price.of(*took) for took in seen[:, 1:]]), models[name])
    return seconds, tokens, cost, unpriced


def is_of_model(state: State) -> bool:
    """Whether a step calls a model: an argument is one (it has a `price`), or is called so."""
    if "model" in state.columns:
        return True
    places = list(state.places.values())[:1]
    return any(hasattr(value, "price") for place in places for value in state.call(place).values())


def _models(state: State, todo: Sequence[bytes]) -> list[tuple[str, Price | None, int]]:
    """(name, price, calls) of each model to be called."""
    found: Counter[str] = Counter()
    price_by_name: dict[str, Price | None] = {}
    promised = {promise: place for place, promise in enumerate(state.promises.ravel().tolist()) if promise is not None}
    for place in [*(state.places[key] for key in todo), *promised.values()]:
        call = state.known(place)
        name, price = price_of(call)
        name = str(label(call.get("model", "model"))) if name is None else name
        found[name] += 1
        price_by_name[name] = price
    return [(name, price_by_name[name], n) for name, n in found.items()]


def _reasons(grid: Grid, state: State, todo: Sequence[bytes]) -> list[str]:
    """Why cells are to be computed: other code than when they were, or arguments that are new."""
    said, left = [], list(todo)
    versions = grid.store.versions(state.step.name)
    now = next(v for v in versions if v.id == state.op)
    failed = sum(key in state.ended for key in left)
    if failed:
        said.append(f"{failed:,} failed before and are asked again")
        left = [key for key in left if key not in state.ended]
    for before in sorted((v for v in versions if v.id != now.id), key=lambda v: -v.at):
        if not left:
            break
        stale = grid.store.there(before.id, set(left))
        if stale:
            changed = state.step.op.fingerprint().changed(before.parts)
            said.append(f"{len(stale):,} were computed by other code: {'; '.join(changed)}")
            left = [key for key in left if key not in stale]
    if not left:
        return said
    new = False
    for argument in state.columns:
        known = grid.store.noted(state.op, argument)
        fresh = {state.digest(argument, state.places[key]): key for key in left}
        fresh = {value: key for value, key in fresh.items() if value not in known}
        if fresh:
            new = True
            shown = sorted({_short(state.call(state.places[key])[argument]) for key in list(fresh.values())[:3]})
            more = ", …" if len(fresh) > len(shown) else ""
            said.append(f"{len(fresh):,} new {'value' if len(fresh) == 1 else 'values'} of {argument} ({', '.join(shown)}{more})")
    if not new:
        said.append(f"{len(left):,} are further trials or combinations of known values")
    return said


def _short(value: Any) -> str:
    text = str(label(value))
    return text if len(text) <= 24 else f"{text[:23]}…"


def _sum_of(seen: np.ndarray, count: int) -> Span:
    """What so many more calls take together, given what these took: the mean is uncertain, and so is each call."""
    if not count:
        return Span(0.0, 0.0)
    if len(seen) < 2:
        return Span(None, None)
    mean, spread = float(seen.mean()), float(seen.std(ddof=1))
    half = Z * spread * math.sqrt(count + count * count / len(seen))
    return Span(max(0.0, count * mean - half), count * mean + half)


def _range(span: Span, form: str) -> str:
    if span.low is None or span.high is None:
        return "not known yet"
    low, high = form.format(span.low), form.format(span.high)
    return low if low == high else f"{low} to {high}"
