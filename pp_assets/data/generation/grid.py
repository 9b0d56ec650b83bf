"""The coverage grid: label x difficulty x length x style x what a row is made to be hard for, and how many rows each cell has."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pp_assets.data.generation.slots import Slots
from pp_assets.task.examples import Example
from pp_resources.json_schema import dump_output, get_path

NOTHING = "nothing"  # a row that is hard for nothing on purpose
MANY = 24  # combinations of all labels; with more of them the first label alone is the axis
_GREETING = ("hi", "hello", "dear", "good morning", "good afternoon", "good evening", "hey")


class Cell(NamedTuple):
    """`against`: the field, or dimension of the contract, that the row is made to be hard for."""

    label: str
    difficulty: str
    length: str
    style: str
    against: str = NOTHING

    def __str__(self) -> str:
        return " / ".join(self)


class Grid:
    """The axes as the training rows have them. Lengths are thirds of theirs; difficulty and style are what `meta` says of most rows
    (`difficulty`, `style` or `channel`), else the number of copied values, and how a text is written."""

    def __init__(self, slots: Slots) -> None:
        self.slots, rows = slots, slots.rows
        sizes = [len(row.input_text) for row in rows] or [1]
        self.short, self.long = (float(x) for x in np.quantile(sizes, (1 / 3, 2 / 3)))
        filled = [len(slots.values(row)) for row in rows] or [0]
        self.usual = float(np.median(filled))
        said = {name: sum(isinstance(row.meta.get(name), str) for row in rows) for name in ("difficulty", "style", "channel")}
        self._told = {name for name, count in said.items() if 2 * count >= len(rows) > 0}
        joint = {tuple(_label(get_path(row.output, leaf.path)) for leaf in slots.labels) for row in rows}
        self.labels = slots.labels if len(joint) <= MANY else slots.labels[:1]
        self.counts = Counter(self.cell(row) for row in rows)

    def cell(self, row: Example, like: Example | None = None, against: str = NOTHING) -> Cell:
        """Where a row belongs. A generated one has what `meta` says from the row that it was made `like`."""
        meta = (like or row).meta
        length = "short" if len(row.input_text) <= self.short else "long" if len(row.input_text) > self.long else "middle"
        difficulty = meta.get("difficulty") if "difficulty" in self._told else self._difficulty(row)
        named = next((meta.get(name) for name in ("style", "channel") if name in self._told), None)
        return Cell(self.label(row.output), str(difficulty), length, str(named or _style(row.input_text)), against)

    def label(self, output: Mapping[str, Any]) -> str:
        """The label of an output, that of all its choices where they are few; of an output without choices which fields are filled."""
        if self.labels:
            return ", ".join(_label(get_path(output, leaf.path)) for leaf in self.labels)
        filled = [leaf.path for leaf in self.slots.fields if get_path(output, leaf.path)]
        return "+".join(filled) or "nothing filled"

    def axes(self) -> dict[str, list[str]]:
        """The values of each axis that some row has."""
        return {name: sorted({cell[i] for cell in self.counts}) for i, name in enumerate(Cell._fields)}

    def table(self, made: Mapping[Cell, int]) -> dict[str, Any]:
        """How many cells there are, how many have rows before and after, the empty ones by label, and each cell with its counts."""
        axes = self.axes()
        total = int(np.prod([len(values) for name, values in axes.items() if name != "against"]))
        plain = lambda cells: {cell._replace(against=NOTHING) for cell in cells}  # noqa: E731
        before, after = plain(self.counts), plain([*self.counts, *made])
        cells = [
            {**cell._asdict(), "written": self.counts.get(cell, 0), "generated": made.get(cell, 0)}
            for cell in sorted({*self.counts, *made})
        ]
        empty = Counter(label for label in axes["label"] for _ in range(total // max(1, len(axes["label"]))))
        empty.subtract(cell.label for cell in after)
        return {
            "axes": axes,
            "cells": total,
            "covered_before": len(before),
            "covered_after": len(after),
            "empty_by_label": {label: n for label, n in sorted(empty.items()) if n > 0},
            "entropy_before": entropy(self.counts.values()),
            "entropy_after": entropy((Counter(self.counts) + Counter(made)).values()),
            "rows": cells,
        }

    def attempts(self, total: int) -> dict[Cell, int]:
        """So many attempts by cell, the emptiest first; each has as many as the root of its rows, so that an empty one grows most."""
        roots = {cell: count**0.5 for cell, count in self.counts.items()}
        whole = sum(roots.values())
        order = sorted(self.counts, key=lambda cell: (self.counts[cell], cell))
        shares = np.cumsum([0.0, *(total * roots[cell] / whole for cell in order)]).round().astype(int)
        return {cell: int(b - a) for cell, a, b in zip(order, shares, shares[1:])}

    def _difficulty(self, row: Example) -> str:
        count = len(self.slots.values(row))
        return "easy" if count < self.usual else "hard" if count > self.usual else "medium"


def entropy(counts: Iterable[int]) -> float | None:
    """Of the shares, in bits; None without a row."""
    found = np.array([c for c in counts if c > 0], dtype=float)
    if not len(found):
        return None
    shares = found / found.sum()
    return round(float(-(shares * np.log2(shares)).sum()) + 0.0, 4)


def outputs_of(slots: Slots, rows: Sequence[Example]) -> list[str]:
    """Canonical outputs as text: rows with the same one say the same."""
    return [dump_output(slots.schema, row.output) for row in rows]


def _label(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _style(text: str) -> str:
    if text.lower().startswith(_GREETING):
        return "with a greeting"
    return "careless" if text == text.lower() or text == text.upper() else "plain"
