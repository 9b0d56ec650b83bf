"""The steps of an experiment, the columns that they take and give, and where each stands."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import orjson

from pp_assets.experiment.ops import Op
from pp_assets.experiment.store import DONE, FAILED, Cell
from pp_assets.experiment.values import SIZE
from pp_resources.errors import UserError, nearest


@dataclass(frozen=True)
class Column:
    """Values along `axes`, each with its digest; None for one that is not there. `promises` name those that a step has yet to give; `value`
    is asked for the value at a flat place, since of cells that are all known nobody reads one."""

    axes: tuple[str, ...]
    digests: np.ndarray
    promises: np.ndarray
    value: Callable[[int], Any]


@dataclass(frozen=True)
class Step:
    """A function of an experiment. `inputs` says, by argument, which column it takes where the names differ."""

    name: str
    op: Op
    inputs: Mapping[str, str]
    kind: Literal["step", "score", "annotation"] = "step"

    def columns(self, known: Mapping[str, Any]) -> dict[str, str]:
        """Column by argument. Raises UserError for one that is neither known nor optional."""
        arguments = self.op.arguments
        for name in (*self.inputs, *([self.op.batch[0]] if self.op.batch else [])):
            if name not in arguments:
                raise UserError(f"takes no argument {name!r}", where=f"step {self.name!r}", how=nearest(name, arguments))
        found = {}
        for argument, needed in arguments.items():
            column = self.inputs.get(argument, argument)
            if column in known:
                found[argument] = column
            elif needed or argument in self.inputs:
                raise UserError(f"no column {column!r} for argument {argument!r}", where=f"step {self.name!r}", how=nearest(column, known))
        return found

    @property
    def sampled(self) -> bool | str:
        """Whether it answers differently each time: always, never, or where this argument is above 0."""
        if self.op.sampled is not None:
            return self.op.sampled
        if self.kind != "step":
            return False
        return "temperature" if "temperature" in self.op.arguments else True


@dataclass
class State:
    """Where a step stands. `keys` by place on its `axes`, None where an input is not there, and there `promises` where it will be. Of the
    store: `done`, the JSON of values by key, and `ended`, the status and message of calls that gave none. `trials` where another trial may
    answer differently; `columns` by argument."""

    step: Step
    op: int
    axes: tuple[str, ...]
    keys: np.ndarray
    promises: np.ndarray
    trials: np.ndarray
    columns: Mapping[str, Column]
    done: dict[bytes, bytes]
    ended: dict[bytes, tuple[str, str]]
    spread: Callable[[np.ndarray, Sequence[str], Sequence[str]], np.ndarray]

    @cached_property
    def places(self) -> dict[bytes, int]:
        """One flat place, the first, for each different key, in order."""
        flat = self.keys.ravel().tolist()
        last = dict(zip(flat, range(len(flat))))
        if len(last) == len(flat) and None not in last:
            return last
        first = dict(zip(reversed(flat), range(len(flat) - 1, -1, -1)))
        return {key: first[key] for key in last if key is not None}

    def missing(self, retry: bool) -> list[bytes]:
        """Keys that have no cell, and with `retry` those whose call failed."""
        if len(self.done) == len(self.places):
            return []
        given_up = {key for key, (status, _) in self.ended.items() if not (retry and status == FAILED)}
        return [key for key in self.places if key not in self.done and key not in given_up]

    def take(self, key: bytes, cell: Cell) -> None:
        """Count a cell that was computed among those that are there."""
        if cell.status == DONE:
            self.done[key] = cell.value
            self.ended.pop(key, None)
        else:
            self.ended[key] = (cell.status, cell.value.decode())

    @cached_property
    def waiting(self) -> set[bytes]:
        """Calls whose inputs are promised."""
        return set(self.promises.ravel().tolist()) - {None}

    @cached_property
    def _sources(self) -> dict[str, tuple[Column, np.ndarray]]:
        # Of each argument the flat places of its column, along the axes of this step.
        found = {}
        for name, column in self.columns.items():
            places = np.arange(column.digests.size).reshape(column.digests.shape)
            found[name] = column, self.spread(places, column.axes, self.axes)
        return found

    def call(self, place: int) -> dict[str, Any]:
        """The arguments of the call at a flat place."""
        return {name: column.value(int(places.flat[place])) for name, (column, places) in self._sources.items()}

    def known(self, place: int) -> dict[str, Any]:
        """Those arguments of that call that are there."""
        return {name: c.value(i) for name, (c, p) in self._sources.items() if c.digests.flat[i := int(p.flat[place])] is not None}

    def digest(self, argument: str, place: int) -> bytes | None:
        """The digest of an argument of that call."""
        column, places = self._sources[argument]
        found: bytes | None = column.digests.flat[int(places.flat[place])]
        return found

    def column(self) -> Column:
        """What the step gave, as a column for later steps."""
        flat = self.keys.ravel().tolist()
        known = {key: hashlib.blake2b(value, digest_size=SIZE).digest() for key, value in self.done.items()}
        digests = np.array([*map(known.get, flat), None], dtype=object)[:-1]
        promises = self.promises
        if open_keys := set(self.missing(retry=True)):
            hoped = [key if key in open_keys else promise for key, promise in zip(flat, promises.ravel().tolist())]
            promises = np.array([*hoped, None], dtype=object)[:-1]
        shape = self.keys.shape
        return Column(self.axes, digests.reshape(shape), promises.reshape(shape), lambda place: orjson.loads(self.done[flat[place]]))
