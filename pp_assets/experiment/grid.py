"""The cells of an experiment as arrays with named axes: rows, the varied dimensions, trials. Keys are made here and nowhere else."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson

from pp_assets.experiment.ops import Op, identify, label
from pp_assets.experiment.store import DONE, FAILED, Cell, CellStore
from pp_assets.experiment.values import SIZE
from pp_resources.errors import UserError, nearest

ROW, TRIAL = "row", "trial"
KeyOf = Callable[[Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Column:
    """Values along `axes`, each with its digest; None for one that is not there. `promises` name those that a step has yet to give."""

    axes: tuple[str, ...]
    values: np.ndarray
    digests: np.ndarray
    promises: np.ndarray


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
    """Where a step stands. `keys` by place on its `axes`, None where an input is not there, and there `promises` where it will be; `cells`
    what the store has; `trials` where another trial may answer differently; `arguments` values and digests by name, along the axes."""

    step: Step
    op: int
    axes: tuple[str, ...]
    keys: np.ndarray
    promises: np.ndarray
    trials: np.ndarray
    arguments: Mapping[str, tuple[np.ndarray, np.ndarray]]
    cells: dict[bytes, Cell] = field(default_factory=dict)

    def places(self) -> dict[bytes, int]:
        """One flat place for each different key, in order."""
        found: dict[bytes, int] = {}
        for place, key in enumerate(self.keys.ravel().tolist()):
            if key is not None and key not in found:
                found[key] = place
        return found

    def call(self, place: int) -> dict[str, Any]:
        """The arguments of the call at a flat place."""
        return {name: values.flat[place] for name, (values, _) in self.arguments.items()}

    def column(self) -> Column:
        """What the step gave, as a column for later steps: values and their digests where it is done."""
        known: dict[bytes, tuple[Any, bytes]] = {}
        for key, cell in self.cells.items():
            if cell.status == DONE:
                known[key] = (orjson.loads(cell.value), hashlib.blake2b(cell.value, digest_size=SIZE).digest())
        values, digests = (np.empty(self.keys.size, dtype=object) for _ in range(2))
        promises = self.promises.ravel().copy()
        for place, key in enumerate(self.keys.ravel().tolist()):
            if key in known:
                values[place], digests[place] = known[key]
            elif key is not None and (key not in self.cells or self.cells[key].status == FAILED):
                promises[place] = key
        shape = self.keys.shape
        return Column(self.axes, values.reshape(shape), digests.reshape(shape), promises.reshape(shape))


class Grid:
    """All columns of an experiment: those of its data and dimensions, and step by step what the store has."""

    def __init__(self, rows: Mapping[str, Sequence[Any]], dims: Mapping[str, Sequence[Any]], trials: int, store: CellStore) -> None:
        self.store = store
        self.sizes = {ROW: len(next(iter(rows.values()))), **{name: len(values) for name, values in dims.items()}, TRIAL: trials}
        self.columns = {name: _column(name, (ROW,), values) for name, values in rows.items()}
        self.columns |= {name: _column(name, (name,), values) for name, values in dims.items()}
        self.labels = {name: [label(v) for v in values] for name, values in dims.items()}

    def look(self, step: Step) -> State:
        """The keys of a step, given what is known of those before it, and what the store has."""
        sources = step.columns(self.columns)
        columns = {argument: self.columns[name] for argument, name in sources.items()}
        axes = tuple(axis for axis in self.sizes if any(axis in c.axes for c in columns.values()) or (axis == TRIAL and step.sampled))
        shape = tuple(self.sizes[axis] for axis in axes)
        arguments = {name: (self.spread(c.values, c.axes, axes), self.spread(c.digests, c.axes, axes)) for name, c in columns.items()}
        trials = np.full(shape, bool(step.sampled))
        if isinstance(step.sampled, str):
            temperatures = arguments[step.sampled][0] if step.sampled in arguments else np.full(shape, 0.0)
            trials = np.vectorize(lambda t: t is not None and t > 0, otypes=[bool])(temperatures)
        op = self.store.op(step.name, step.op.fingerprint())
        promised = [self.spread(columns[name].promises, columns[name].axes, axes).ravel().tolist() for name in sorted(columns)]
        digests = [arguments[name][1].ravel().tolist() for name in sorted(columns)]
        if step.sampled:
            marks = np.array([number.to_bytes(4, "little") for number in range(self.sizes[TRIAL])], dtype=object)
            digests.append(np.where(trials, self.spread(marks, (TRIAL,), axes), b"").ravel().tolist())
            promised.append([None] * trials.size)
        keys, promises = _keys(KEYS[-1](step.name, sorted(columns)), digests, promised, trials.size)
        state = State(step, op, axes, keys.reshape(shape), promises.reshape(shape), trials, arguments)
        state.cells = self.store.get(op, [key for key in keys.tolist() if key is not None])
        for version in range(len(KEYS) - 1, self.store.oldest_keys - 1, -1):
            self._adopt(state, _keys(KEYS[version - 1](step.name, sorted(columns)), digests, promised, trials.size)[0])
        return state

    def _adopt(self, state: State, older: np.ndarray) -> None:
        """Cells that lie under the keys of an older version, under today's: an update computes nothing again."""
        renamed = {old: new for old, new in zip(older.tolist(), state.keys.ravel().tolist()) if new is not None and new not in state.cells}
        found = {renamed[old]: cell for old, cell in self.store.get(state.op, list(renamed)).items()}
        self.store.put(state.op, found)
        state.cells |= found

    def add(self, state: State) -> None:
        """Let later steps take what this one gave."""
        self.columns[state.step.name] = state.column()

    def spread(self, values: np.ndarray, axes: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
        """An array of `axes` repeated along all `wanted` ones (a view)."""
        shape = [self.sizes[axis] if axis in axes else 1 for axis in wanted]
        return np.broadcast_to(values.reshape(shape), [self.sizes[axis] for axis in wanted])


def _keys(key: KeyOf, digests: list[list[Any]], promised: list[list[Any]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys and promises by flat place, from the digests of the arguments and of the trial, each a list over places."""
    keys, promises = np.empty(count, dtype=object), np.empty(count, dtype=object)
    for place, given in enumerate(zip(*digests) if digests else [()]):
        if None not in given:
            keys[place] = key(given)
            continue
        hoped = [column[place] if value is None else value for value, column in zip(given, promised)]
        if None not in hoped:
            promises[place] = hashlib.blake2b(b"?".join(hoped), digest_size=SIZE).digest()
    return keys, promises


def _first_keys(step: str, arguments: Sequence[str]) -> KeyOf:
    """Of the step's name, the names of its arguments and their digests. The step's code is not in the key but beside it (`ops`), so that
    all versions of a cell are found together."""
    head = hashlib.blake2b(orjson.dumps([step, list(arguments)]), digest_size=SIZE)

    def key(given: Sequence[bytes]) -> bytes:
        made = head.copy()
        made.update(b"".join(given))
        return made.digest()

    return key


# What a key is made of, by version; the last one is in force. A change is added at the end, and old cells are found through the others.
KEYS: list[Callable[[str, Sequence[str]], KeyOf]] = [_first_keys]


def missing(state: State, retry: bool) -> Iterator[bytes]:
    """Keys that have no cell, and with `retry` those whose call failed."""
    for key in state.places():
        cell = state.cells.get(key)
        if cell is None or (retry and cell.status == FAILED):
            yield key


def _column(name: str, axes: tuple[str, ...], values: Sequence[Any]) -> Column:
    held, digests = (np.empty(len(values), dtype=object) for _ in range(2))
    for i, value in enumerate(values):
        held[i], digests[i] = value, identify(value, f"column {name!r}")
    return Column(axes, held, digests, np.empty(len(values), dtype=object))
