"""Guessing one field: logistic regression on any features, and the vote of neighbours. Values are JSON text."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pp_resources.json_schema import Field

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # inverse regularisation to choose from
FOLDS = 4
# Rows that the choice is made on: on banking77 with all 10,003 it would take 16 fits of 16 CPU-seconds.
CHOOSE_ON = 1000


@dataclass(frozen=True)
class Guess:
    """A field's predicted value as JSON text for each test item, with its probability."""

    values: list[str]
    sure: np.ndarray


def fit(leaf: Field, column: list[str], known: Any, groups: Sequence[str] | None = None) -> Callable[[Any], Guess]:
    """Logistic regression on features `known` (rows, width), one model for the field, or one for each value of an array.

    With `groups` (of the rows) the regularisation is chosen by cross-validation over whole groups, else C is 10.
    """

    def classifier(labels: list[Any]) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
        classes = sorted(set(labels))
        if len(classes) == 1:
            return lambda asked: (np.full(asked.shape[0], classes[0], dtype=object), np.ones(asked.shape[0]))
        model = _regression(10.0 if groups is None else strength(known, labels, groups)).fit(known, labels)

        def ask(asked: Any) -> tuple[np.ndarray, np.ndarray]:
            chance = model.predict_proba(asked)
            return model.classes_[chance.argmax(axis=1)].astype(object), chance.max(axis=1)

        return ask

    if leaf.kind != "array_enum":
        whole = classifier(column)

        def guess(asked: Any) -> Guess:
            values, sure = whole(asked)
            return Guess([str(v) for v in values], sure)

        return guess

    sets = [_labels(value) for value in column]
    models = {label: classifier([int(label in found) for found in sets]) for label in sorted({label for found in sets for label in found})}

    def guess_set(asked: Any) -> Guess:
        taken: list[list[str]] = [[] for _ in range(asked.shape[0])]
        sure = np.ones(asked.shape[0])
        for label in _in_schema_order(leaf, models):
            values, chance = models[label](asked)
            sure *= chance
            for row in np.flatnonzero(values == 1):
                taken[row].append(label)
        return Guess([f"[{','.join(labels)}]" for labels in taken], sure)

    return guess_set


def strength(known: np.ndarray, labels: Sequence[Any], groups: Sequence[str]) -> float:
    """The C of STRENGTHS with most rows right in cross-validation over whole groups, the smallest of equals; 1 for a single group."""
    from sklearn.model_selection import GroupKFold

    step = -(-len(labels) // CHOOSE_ON)
    some, names, owners = known[::step], np.asarray(labels)[::step], np.asarray(groups)[::step]
    folds = min(FOLDS, len(set(owners)))
    if folds < 2:
        return 1.0
    right = dict.fromkeys(STRENGTHS, 0)
    for inside, outside in GroupKFold(folds).split(some, groups=owners):
        if len(set(names[inside])) > 1:
            for c in STRENGTHS:
                right[c] += int((_regression(c).fit(some[inside], names[inside]).predict(some[outside]) == names[outside]).sum())
    return max(STRENGTHS, key=lambda c: (right[c], -c))


def _regression(c: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, max_iter=1000, random_state=0)


def vote(leaf: Field, column: list[str], near: np.ndarray, weights: np.ndarray) -> Guess:
    """What the neighbours `near` (items, k) say, by their weights."""
    values, sure = [], np.zeros(len(near))
    for row, (ids, votes) in enumerate(zip(near.tolist(), weights.tolist())):
        total = sum(votes)
        tally: Counter[str] = Counter()
        for i, vote in zip(ids, votes):
            for label in _labels(column[i]) if leaf.kind == "array_enum" else [column[i]]:
                tally[label] += vote  # type: ignore[assignment]
        if leaf.kind == "array_enum":
            taken = {label for label, vote in tally.items() if 2 * vote >= total}
            values.append(f"[{','.join(_in_schema_order(leaf, taken))}]")
            sure[row] = np.prod([max(vote, total - vote) / total for vote in tally.values()])
        else:
            best = max(tally, key=lambda label: (tally[label], label))
            values.append(best)
            sure[row] = tally[best] / total
    return Guess(values, sure)


def _labels(column_value: str) -> list[str]:
    found = json.loads(column_value or "null")
    return [_dump(v) for v in found] if isinstance(found, list) else []


def _in_schema_order(leaf: Field, labels: Any) -> list[str]:
    known = [_dump(v) for v in leaf.values]
    return [label for label in known if label in labels]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
