"""A head of neighbours for encoder variants: what the nearest examples say is blended with the classifier's probabilities.

p = (1 - w) p_classifier + w p_neighbours, as in nearest-neighbour language models (Khandelwal et al. 2020). The weight w is fitted on
validation rows by log loss, and is 0 unless rows that it was not fitted on show that it helps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pp_assets.prompts.dicl.index import Index
from pp_resources.fingerprint import canonical_json
from pp_resources.json_schema import get_path
from pp_resources.models.interface import Choice, Prediction, ranked

NEIGHBOURS = 20
WEIGHTS = tuple(step / 20 for step in range(21))
SHARPNESS = (5.0, 10.0, 20.0, 40.0, 80.0)  # of cosines: a neighbour that is .1 nearer counts exp(.1 s) times as much
UNSEEN = 0.01  # share of the probability that values without a neighbour have together
LEAST = 1e-6
LEAST_ROWS = 20
ONE_SIDED = 1.645  # standard errors: a gain must be above 0 with 95 %


@dataclass(frozen=True)
class Blend:
    """How much the neighbours have to say in one field: weight 0 is the classifier alone. `gain` is the mean log loss (nats a row) that
    the blend saves out of fold over `rows` validation rows, `low` its one-sided 95 % bound, None where it could not be computed; `why`
    says what was decided."""

    path: str
    weight: float
    sharpness: float
    rows: int
    gain: float | None
    low: float | None
    why: str


def neighbour_chances(index: Index, path: str, values: Sequence[Any], near: tuple[np.ndarray, np.ndarray], sharpness: float) -> np.ndarray:
    """Probability of each value (values,) by the nearest examples (`Index.nearest`), nearer ones counting more. Without one of them that
    has such a value all are equally likely."""
    numbers = {canonical_json(value): i for i, value in enumerate(values)}
    mass = np.zeros(len(values))
    for place, cosine in zip(*near):
        i = numbers.get(canonical_json(get_path(index.examples[place].output, path)))
        if i is not None:
            mass[i] += math.exp(sharpness * (float(cosine) - 1.0))
    if not mass.sum():
        return np.full(len(values), 1 / len(values))
    return (1 - UNSEEN) * mass / mass.sum() + UNSEEN / len(values)


def fit_blends(
    index: Index,
    paths: Sequence[str],
    texts: Sequence[str],
    vectors: np.ndarray,
    outputs: Sequence[Any],
    said: Sequence[Prediction],
    groups: Sequence[str],
) -> dict[str, Blend]:
    """By path a blend for every of these enum and boolean fields that the predictions have `choices` of. All are of validation rows, which
    the classifier did not learn from: texts, unit vectors (rows, size), expected outputs, answers with distributions, and groups."""
    paths = [path for path in paths if any(path in one.choices for one in said)]
    near = [index.nearest(vector, NEIGHBOURS, text) for text, vector in zip(texts, vectors)]
    # Which half a row is in rests on its group alone.
    order = {group: i for i, group in enumerate(sorted(set(groups)))}
    halves, codes = np.array([order[group] % 2 for group in groups]), np.array([order[group] for group in groups])
    found = {}
    for path in paths:
        ours = np.array([_chance(one.choices.get(path, ()), get_path(output, path)) for one, output in zip(said, outputs)])
        theirs = np.array(
            [_neighbours(index, path, one.choices.get(path, ()), get_path(output, path), k) for one, output, k in zip(said, outputs, near)]
        )
        found[path] = _fit(path, ours, theirs.reshape(len(ours), len(SHARPNESS)), halves, codes)
    return found


def blended(index: Index, blend: Blend, listed: Sequence[Choice], near: tuple[np.ndarray, np.ndarray]) -> list[Choice]:
    """The values of a field with their probabilities after the blend, the likeliest first."""
    if not blend.weight:
        return list(listed)
    values = [choice.value for choice in listed]
    theirs = neighbour_chances(index, blend.path, values, near, blend.sharpness)
    ours = np.array([choice.probability for choice in listed])
    return ranked(values, ((1 - blend.weight) * ours + blend.weight * theirs).tolist())


def _fit(path: str, ours: np.ndarray, theirs: np.ndarray, halves: np.ndarray, codes: np.ndarray) -> Blend:
    """From the chance of the right value by the classifier (rows,) and by the neighbours (rows, sharpness)."""
    rows = len(ours)
    if rows < LEAST_ROWS or len(set(codes.tolist())) < 2:
        return Blend(path, 0.0, SHARPNESS[0], rows, None, None, f"{rows} validation rows are too few to tell")
    plain, losses = -np.log(ours.clip(LEAST)), _losses(ours, theirs)
    saved = np.zeros(rows)
    for half in (0, 1):
        inside, outside = halves != half, halves == half
        w, s = _best(losses[:, :, inside].sum(2))
        saved[outside] = (plain - losses[w, s])[outside]
    gain = float(saved.mean())
    # Rows of a group err together: the spread is that of groups.
    spread = float(np.sqrt((np.bincount(codes, saved - gain) ** 2).sum())) / rows
    low = gain - ONE_SIDED * spread
    w, s = _best(losses.sum(2))
    if low <= 0 or not w:
        return Blend(path, 0.0, SHARPNESS[0], rows, gain, low, "not shown to be better than the classifier alone")
    return Blend(path, WEIGHTS[w], SHARPNESS[s], rows, gain, low, "better than the classifier alone")


def _losses(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Log losses (weights, sharpness, rows)."""
    return np.stack([-np.log(((1 - w) * ours[None, :] + w * theirs.T).clip(LEAST)) for w in WEIGHTS])


def _best(sums: np.ndarray) -> tuple[int, int]:
    """The place of the least sum (weights, sharpness), of equal ones the smallest weight."""
    w, s = divmod(int(np.round(sums, 9).argmin()), sums.shape[1])
    return w, s


def _neighbours(index: Index, path: str, listed: Sequence[Choice], right: Any, near: tuple[np.ndarray, np.ndarray]) -> list[float]:
    values = [choice.value for choice in listed]
    names = [canonical_json(value) for value in values]
    if canonical_json(right) not in names:
        return [LEAST] * len(SHARPNESS)
    place = names.index(canonical_json(right))
    return [float(neighbour_chances(index, path, values, near, sharpness)[place]) for sharpness in SHARPNESS]


def _chance(listed: Sequence[Choice], right: Any) -> float:
    name = canonical_json(right)
    return next((choice.probability for choice in listed if canonical_json(choice.value) == name), LEAST)


def told(blends: Mapping[str, Blend]) -> list[dict[str, Any]]:
    """The fits as plain values."""
    return [blend.__dict__.copy() for blend in blends.values()]
