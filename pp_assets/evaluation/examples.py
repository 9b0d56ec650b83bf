"""Single items as a report shows them: the input, what was expected, and what each side said, field by field."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.tables import Table, item_values, lower_is_better
from pp_resources.json_schema import get_path

WORST = 20
ROWS = 5  # of wins, of losses and of items that both have wrong
TEXT_LIMIT = 2000  # characters of an input or output shown in a report; the predictions hold all of it
NAMES = ("candidate", "baseline")


def example(sides: Mapping[str, Scored], i: int) -> dict[str, Any]:
    """Item `i` with what each of `sides` (by name, one or two) answered; `fields` holds those that any side has wrong."""
    first = next(iter(sides.values()))
    said, wrong = {}, {}
    for name, side in sides.items():
        row, answer = side.rows[i], side.answers[i]
        wrong[name] = [leaf.path for leaf in side.fields if answer.keys.get(leaf.path) != side.expected[i].keys[leaf.path]]
        said[name] = {
            "output": cut(row.output),
            "right": bool(side.exact[i]),
            "confidence": row.confidence,
            "problem": answer.problem,
            "wrong_fields": wrong[name],
        }
    paths = [leaf.path for leaf in first.fields if any(leaf.path in some for some in wrong.values())]
    fields = [
        {"path": path, "expected": _shown(first.expected[i].value, path)}
        | {name: _shown(side.answers[i].value, path) for name, side in sides.items()}
        for path in paths
    ]
    row = first.rows[i]
    return {"item_id": row.item_id, "input_text": cut(row.input_text), "expected": cut(row.expected), "fields": fields, "sides": said}


def worst(ours: Scored, theirs: Scored | None) -> list[dict[str, Any]]:
    """The candidate's worst errors: first those that the best baseline avoids, then by number of wrong fields, then by confidence."""
    sides = _named(ours, theirs)
    places = []
    for i in np.flatnonzero(~ours.exact).tolist():
        avoided = theirs is not None and bool(theirs.exact[i])
        wrong = sum(ours.answers[i].keys.get(leaf.path) != ours.expected[i].keys[leaf.path] for leaf in ours.fields)
        places.append((not avoided, -wrong, -_sureness(ours, i), ours.rows[i].item_id, i))
    return [example(sides, place[-1]) for place in sorted(places)[:WORST]]


def outcomes(a: Scored, b: Scored, metric: str, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Items that `a` wins and loses against `b` by `metric`, and ties, with a few rows of each: the largest gaps first, then those of which
    `a` was surest; of the ties those that both have wrong.

    A metric of the whole corpus has no winner of an item: items are then judged by the field that it is of, or as whole objects, and
    `reason` says so.
    """
    used, reason = metric, ""
    if a.tables[metric].kind != "ratio":
        kind, _, path = metric.partition(".")
        used = f"field_exact.{path}" if kind == "field_f1" else "object_exact_match"
        reason = f"{metric} is one of the whole corpus; items are judged by {used}"
    mine, other = (_scores(side.tables[used], used) for side in (a, b))
    gain = mine - other  # nan where a side has no value
    wins, losses, ties = (np.flatnonzero(held).tolist() for held in (gain > 0, gain < 0, gain == 0))
    wrong = [i for i in ties if not a.exact[i] and not b.exact[i]]
    sides = dict(zip(names, (a, b)))

    def rows(places: Sequence[int]) -> list[dict[str, Any]]:
        ranked = sorted(places, key=lambda i: (-abs(gain[i]), -_sureness(a, i), a.rows[i].item_id))
        return [example(sides, i) for i in ranked[:ROWS]]

    counts = {"wins": len(wins), "losses": len(losses), "ties": len(ties), "both_wrong": len(wrong)}
    shown = {"wins": rows(wins), "losses": rows(losses), "both_wrong": rows(wrong)}
    left = int(np.isnan(gain).sum())
    reason = "; ".join(filter(None, (reason, f"{left} items have no value on one side and count neither way" if left else "")))
    return {"metric": used, **counts, "rows": shown, "reason": reason}


def cut(text: str) -> str:
    """At most TEXT_LIMIT characters, and how many there are."""
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}… ({len(text)} characters)"


def _named(ours: Scored, theirs: Scored | None) -> dict[str, Scored]:
    return dict(zip(NAMES, (ours,) if theirs is None else (ours, theirs)))


def _scores(table: Table, metric: str) -> np.ndarray:
    return item_values(table) * (-1 if lower_is_better(metric) else 1)


def _sureness(scored: Scored, i: int) -> float:
    return scored.rows[i].confidence or 0.0


def _shown(value: Mapping[str, Any] | None, path: str) -> str | None:
    return None if value is None else cut(json.dumps(get_path(value, path), ensure_ascii=False))
