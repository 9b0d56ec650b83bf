"""The cells of an experiment as arrays with named axes: rows, the varied dimensions, trials. Keys are made here and nowhere else."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from pp_assets.experiment.cells import Column, State, Step
from pp_assets.experiment.ops import identify, label
from pp_assets.experiment.store import CellStore
from pp_assets.experiment.values import SIZE

ROW, TRIAL = "row", "trial"
KeyOf = Callable[[Sequence[bytes]], bytes]


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
        columns = {argument: self.columns[name] for argument, name in sorted(step.columns(self.columns).items())}
        axes = tuple(axis for axis in self.sizes if any(axis in c.axes for c in columns.values()) or (axis == TRIAL and step.sampled))
        shape = tuple(self.sizes[axis] for axis in axes)
        digests = [self.spread(c.digests, c.axes, axes).ravel().tolist() for c in columns.values()]
        promised = [self.spread(c.promises, c.axes, axes).ravel().tolist() for c in columns.values()]
        trials = self._trials(step, columns, axes, shape)
        if step.sampled:
            marks = np.array([number.to_bytes(4, "little") for number in range(self.sizes[TRIAL])], dtype=object)
            digests.append(np.where(trials, self.spread(marks, (TRIAL,), axes), b"").ravel().tolist())
            promised.append([None] * trials.size)
        op = self.store.op(step.name, step.op.fingerprint())
        keys, promises = _keys(KEYS[-1](step.name, list(columns)), digests, promised, trials.size)
        different = set(keys.tolist())
        different.discard(None)
        done, ended = self.store.get(op, different)
        del different  # of a million keys a tenth of a gigabyte
        for version in range(len(KEYS) - 1, self.store.oldest_keys - 1, -1):
            older = _keys(KEYS[version - 1](step.name, list(columns)), digests, promised, trials.size)[0]
            renamed = {old: new for old, new in zip(older.tolist(), keys.tolist()) if new is not None and new not in done}
            self.store.adopt(op, renamed)
            done |= self.store.get(op, set(renamed.values()))[0]
        return State(step, op, axes, keys.reshape(shape), promises.reshape(shape), trials, columns, done, ended, self.spread)

    def _trials(self, step: Step, columns: Mapping[str, Column], axes: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
        """Where another trial of a step may answer differently."""
        if not isinstance(step.sampled, str):
            return np.full(shape, step.sampled)
        if step.sampled not in columns:
            return np.full(shape, False)
        column = columns[step.sampled]
        hot = np.array([(column.value(i) or 0) > 0 for i in range(column.digests.size)]).reshape(column.digests.shape)
        return self.spread(hot, column.axes, axes)

    def add(self, state: State, steps: Sequence[Step]) -> None:
        """Let later ones of `steps` take what this one gave."""
        name = state.step.name
        after = steps[[step.name for step in steps].index(name) + 1 :]
        if any(name in (step.inputs.get(argument, argument) for argument in step.op.arguments) for step in after):
            self.columns[name] = state.column()

    def spread(self, values: np.ndarray, axes: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
        """An array of `axes` repeated along all `wanted` ones (a view)."""
        shape = [self.sizes[axis] if axis in axes else 1 for axis in wanted]
        return np.broadcast_to(values.reshape(shape), [self.sizes[axis] for axis in wanted])


def _keys(key: KeyOf, digests: list[list[Any]], promised: list[list[Any]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys and promises by flat place, from the digests of the arguments and of the trial, each a list over places."""
    promises = np.empty(count, dtype=object)
    given = zip(*digests) if digests else [()]
    if not any(None in column for column in digests):
        return np.array([*map(key, given), None], dtype=object)[:-1], promises
    keys = np.empty(count, dtype=object)
    for place, parts in enumerate(given):
        if None not in parts:
            keys[place] = key(parts)
            continue
        hoped = [column[place] if part is None else part for part, column in zip(parts, promised)]
        if None not in hoped:
            promises[place] = hashlib.blake2b(b"?".join(hoped), digest_size=SIZE).digest()
    return keys, promises


def _first_keys(step: str, arguments: Sequence[str]) -> KeyOf:
    """Of the step's name, the names of its arguments and their digests. The step's code is not in the key but beside it (`ops`), so that
    all versions of a cell are found together."""
    head = hashlib.blake2b(orjson.dumps([step, list(arguments)]), digest_size=SIZE).digest()
    return lambda given: hashlib.blake2b(head + b"".join(given), digest_size=SIZE).digest()


# What a key is made of, by version; the last one is in force. A change is added at the end, and old cells are found through the others.
KEYS: list[Callable[[str, Sequence[str]], KeyOf]] = [_first_keys]


def _column(name: str, axes: tuple[str, ...], values: Sequence[Any]) -> Column:
    held, digests = (np.empty(len(values), dtype=object) for _ in range(2))
    for i, value in enumerate(values):
        held[i], digests[i] = value, identify(value, f"column {name!r}")
    return Column(axes, digests, np.empty(len(values), dtype=object), held.__getitem__)
