"""Tables of counts: one row per test item, whole numbers only, one table per metric.

A metric is a function of the column sums of its table. That one idea gives its value, its bootstrap interval, its paired
interval and its permutation test (`metrics.py`, `compare.py`), for shares, corpus F1 and macro F1 alike, and sums of whole
numbers are exact on every machine.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from pp_assets.evaluation.outputs import Answer, items, right, strings, tokens
from pp_assets.evaluation.predictions import PredictionRow
from pp_resources.json_schema import Field, get_path

INVALID = "(invalid)"
LOWER_IS_BETTER = ("valid_but_wrong_rate", "forbidden_keys_rate", "out_of_enum_rate", "not_in_input_rate", "latency_ms", "length_stop_rate")
TIMED = ("latency_ms", "tokens_per_s")


@dataclass(frozen=True)
class Table:
    """Counts per item, (n, k).

    A "ratio" is column 0 over column 1, times `scale`; "macro_f1" has three columns a class: hits, answered, expected.
    `reason` says why there is no value when nothing was counted; `what` says in words what is counted.
    """

    counts: np.ndarray
    what: str
    reason: str = ""
    kind: Literal["ratio", "macro_f1"] = "ratio"
    scale: float = 1.0
    bounded: bool = True

    def value(self, sums: np.ndarray) -> np.ndarray:
        """Metric from column sums (..., k): (...), nan where there is nothing to divide by."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "ratio":
                return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1] * self.scale, np.nan)
            hits, answered, expected = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
            there = expected > 0
            f1 = np.where(there, 2 * hits / (answered + expected), 0.0)
            return np.where(there.any(-1), f1.sum(-1) / there.sum(-1), np.nan)

    @cached_property
    def n(self) -> int:
        """Items that count."""
        return int(np.sum(self.counts[:, 1] > 0)) if self.kind == "ratio" else len(self.counts)

    @property
    def binary(self) -> bool:
        """Every item counts once, as right or wrong."""
        return self.kind == "ratio" and self.bounded and bool(np.all(self.counts[:, 1] == 1) and np.isin(self.counts[:, 0], (0, 1)).all())

    @property
    def share(self) -> bool:
        """Every item counts once or not at all, as right or wrong; a mean of fractions is no share."""
        hits = self.counts[:, 0]
        return self.kind == "ratio" and self.bounded and bool(np.all(self.counts[:, 1] <= 1) and np.all((hits == 0) | (hits == 1)))


def item_values(table: Table) -> np.ndarray:
    """The score of each item of a ratio, (n,); nan where the item does not count."""
    top, bottom = table.counts[:, 0], table.counts[:, 1]
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)


def lower_is_better(metric: str) -> bool:
    """Whether less of this metric is better."""
    return metric.startswith(LOWER_IS_BETTER)


def of_answers(metric: str) -> str:
    """What a training is judged by whose task has this primary metric: whole objects where it is about time."""
    return "object_exact_match" if metric.startswith(TIMED) else metric


def label(answer: Answer, path: str) -> str:
    """The class that an answer gives to a field, as JSON text; `(invalid)` when there is none to read."""
    return answer.keys.get(path, INVALID)


def metric_tables(
    rows: Sequence[PredictionRow], answers: Sequence[Answer], expected: Sequence[Answer], leaves: Sequence[Field]
) -> dict[str, Table]:
    """Tables of every metric but the quantiles of time."""
    tables = whole_tables(rows, answers, expected, leaves) | timing_tables(rows)
    for leaf in leaves:
        tables[f"field_exact.{leaf.path}"] = exact_table(leaf, answers, expected)
        tables[f"field_f1.{leaf.path}"] = f1_table(leaf, answers, expected)
    return tables


def whole_tables(
    rows: Sequence[PredictionRow], answers: Sequence[Answer], expected: Sequence[Answer], leaves: Sequence[Field]
) -> dict[str, Table]:
    """Tables of the metrics of whole outputs."""
    whole = [right(a, e) for a, e in zip(answers, expected)]
    read = [a.value is not None for a in answers]
    none_read = "no output was a JSON object"
    found = [f.path for f in leaves if f.kind in ("string", "array_string", "number", "integer")]
    quoted = [f.path for f in leaves if f.kind in ("string", "array_string") and (f.verbatim or _always_quoted(f.path, rows, expected))]
    invented = [any(s not in r.input_text for p in quoted for s in strings(get_path(a.value, p))) for a, r in zip(answers, rows)]
    correct = [sum(a.keys.get(f.path) == e.keys[f.path] for f in leaves) for a, e in zip(answers, expected)]
    no_enum = not any(f.kind in ("enum", "array_enum") for f in leaves)
    nothing = np.zeros((len(rows), 2))
    return {
        "object_exact_match": _share(whole, "whole object equal"),
        "field_exact_mean": Table(_counts(correct, [len(leaves)] * len(rows)), "fields equal, mean over items", "the schema has no fields"),
        "value_f1": Table(
            _overlaps(_values(answers, found), _values(expected, found)),
            "extracted values (strings, numbers, items of string arrays) equal, micro F1, null not counted",
            "no extracted value is expected or given" if found else "the schema has no field to extract",
        ),
        "json_valid_rate": _share([a.json_ok for a in answers], "strict JSON"),
        "schema_valid_rate": _share([a.valid for a in answers], "valid against the output schema"),
        "valid_but_wrong_rate": _share([a.valid and not w for a, w in zip(answers, whole)], "schema-valid and not equal, of all items"),
        "forbidden_keys_rate": _share([a.forbidden for a in answers], "a key the schema forbids, of JSON objects", read, none_read),
        "out_of_enum_rate": Table(nothing, "a value outside its enum", "the schema has no enum")
        if no_enum
        else _share([a.out_of_enum for a in answers], "a value outside its enum, of JSON objects", read, none_read),
        "not_in_input_rate": _share(invented, f"a string not found in the input ({', '.join(quoted)}), of JSON objects", read, none_read)
        if quoted
        else Table(nothing, "a string not found in the input", "no field is always quoted from the input"),
        "length_stop_rate": _share([r.finish_reason == "length" for r in rows], "answers cut off by a limit"),
    }


def timing_tables(rows: Sequence[PredictionRow]) -> dict[str, Table]:
    """Tables of speed, from the latency and token counts stored with the rows."""
    micros = [round(r.latency_ms * 1000) for r in rows]
    made = [r.tokens_out for r in rows]
    timed = any(micros)
    spent = micros if any(made) else [0] * len(rows)
    once = [int(timed)] * len(rows)
    why = "no time was stored" if not timed else "the system generates no tokens"
    return {
        "latency_ms_mean": Table(_counts(micros, once), "milliseconds an item", "no time was stored", scale=1e-3, bounded=False),
        "tokens_per_s": Table(_counts(made, spent), "tokens generated a second", why, scale=1e6, bounded=False),
    }


def exact_table(leaf: Field, answers: Sequence[Answer], expected: Sequence[Answer]) -> Table:
    """Whether a field is equal under its rule."""
    return _share([a.keys.get(leaf.path) == e.keys[leaf.path] for a, e in zip(answers, expected)], "field equal")


def f1_table(leaf: Field, answers: Sequence[Answer], expected: Sequence[Answer]) -> Table:
    """F1 of a field: macro over expected classes for enums and booleans, micro over words or items for strings and arrays."""
    if leaf.kind in ("enum", "boolean"):
        truth, said = [label(e, leaf.path) for e in expected], [label(a, leaf.path) for a in answers]
        classes = {name: i for i, name in enumerate(sorted(set(truth)))}
        counts = np.zeros((len(truth), 3 * len(classes)))
        for row, (t, s) in enumerate(zip(truth, said)):
            counts[row, 3 * classes[t] + 2] = 1
            if s in classes:
                counts[row, 3 * classes[s] + 1] = 1
                counts[row, 3 * classes[s]] = t == s
        return Table(counts, f"macro F1 over the {len(classes)} classes that are expected", kind="macro_f1")
    split = {"string": tokens, "array_string": items, "array_enum": items}.get(leaf.kind)
    if split is None and "array" in (leaf.schema.get("type") or ()):  # of objects or numbers: an item counts when it is equal as a whole
        split = items
    if split is None:
        return Table(np.zeros((len(answers), 2)), "F1", f"a field of kind {leaf.kind} has exact match only")
    unit = "words" if leaf.kind == "string" else "items"
    folded = [split(get_path(a.value, leaf.path)) for a in answers], [split(get_path(e.value, leaf.path)) for e in expected]
    return Table(_overlaps(*folded), f"micro F1 over {unit}, null not counted", "no value is expected or given")


def _always_quoted(path: str, rows: Sequence[PredictionRow], expected: Sequence[Answer]) -> bool:
    values = [(s, r.input_text) for r, e in zip(rows, expected) for s in strings(get_path(e.value, path))]
    return bool(values) and all(s in text for s, text in values)


def _values(answers: Sequence[Answer], paths: Sequence[str]) -> list[list[str]]:
    return [[f"{path} {value}" for path in paths for value in items(get_path(a.value, path))] for a in answers]


def _overlaps(said: Sequence[list[str]], truth: Sequence[list[str]]) -> np.ndarray:
    shared = [2 * sum((Counter(a) & Counter(b)).values()) if a and b else 0 for a, b in zip(said, truth)]
    return _counts(shared, [len(a) + len(b) for a, b in zip(said, truth)])


def _share(hits: Sequence[bool], what: str, counted: Sequence[bool] | None = None, reason: str = "") -> Table:
    mask = np.ones(len(hits)) if counted is None else np.asarray(counted, dtype=float)
    return Table(np.stack([np.asarray(hits, dtype=float) * mask, mask], axis=1), what, reason)


def _counts(top: Sequence[float], bottom: Sequence[float]) -> np.ndarray:
    return np.stack([np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)], axis=1)
