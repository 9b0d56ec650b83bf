"""Lists and nested objects, item by item: the best assignment between what was answered and what was expected, with partial credit."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pp_assets.evaluation.metrics import table_metric
from pp_assets.evaluation.outputs import tokens
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.tables import Table
from pp_resources.json_schema import get_path

WHOLE = "(whole object)"


def matching(scored: Scored) -> list[dict[str, Any]]:
    """Precision, recall and F1 over matched items: of the whole object, whose items are its values, and of each list in it."""
    pairs = [(dict(_values(a.value)), dict(_values(e.value))) for a, e in zip(scored.answers, scored.expected)]
    counts = [
        (sum(similarity(said[p], expected[p]) for p in said.keys() & expected.keys()), len(said), len(expected)) for said, expected in pairs
    ]
    found = [_entry(scored, WHOLE, counts)]
    for leaf in scored.fields:
        if leaf.schema.get("type") == "array":
            lists = [
                (_list(get_path(a.value, leaf.path)), _list(get_path(e.value, leaf.path))) for a, e in zip(scored.answers, scored.expected)
            ]
            found.append(_entry(scored, leaf.path, [(credit(said, expected), len(said), len(expected)) for said, expected in lists]))
    return found


def credit(answered: Sequence[Any], expected: Sequence[Any]) -> float:
    """The sum of similarities under the assignment of answered to expected items that makes it largest."""
    from scipy.optimize import linear_sum_assignment

    if not answered or not expected:
        return 0.0
    table = np.array([[similarity(a, e) for e in expected] for a in answered])
    return float(table[linear_sum_assignment(table, maximize=True)].sum())


def similarity(a: Any, b: Any) -> float:
    """0..1. Texts: F1 of their words; objects: mean over their keys; lists: matched credit over their mean length; else equal or not."""
    if isinstance(a, str) and isinstance(b, str):
        shared = sum((Counter(tokens(a)) & Counter(tokens(b))).values())
        return 1.0 if a == b else min(0.99, 2 * shared / max(1, len(tokens(a)) + len(tokens(b))))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        keys = a.keys() | b.keys()
        return sum(similarity(a[k], b[k]) for k in keys if k in a and k in b) / len(keys) if keys else 1.0
    if isinstance(a, list) and isinstance(b, list):
        return 2 * credit(a, b) / (len(a) + len(b)) if a or b else 1.0
    return float(a == b and isinstance(a, bool) == isinstance(b, bool))


def _entry(scored: Scored, path: str, counts: Sequence[tuple[float, int, int]]) -> dict[str, Any]:
    matched, answered, expected = np.array(counts, dtype=float).T
    reasons = {"precision": "nothing was answered", "recall": "nothing is expected", "f1": "nothing is answered or expected"}
    parts = {"precision": (matched, answered), "recall": (matched, expected), "f1": (2 * matched, answered + expected)}
    tables = {
        name: Table(np.stack(part, axis=1), f"{name} over matched items, partial credit", reasons[name]) for name, part in parts.items()
    }
    return {"field": path, **{name: asdict(table_metric(scored, table)) for name, table in tables.items()}}


def _values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of an object that are not null, by path; a list is one value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _values(inner, f"{path}.{name}")
    elif value is not None and value != []:
        yield path, value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
