"""Confidences that can be believed: a temperature for each head, and the confidence above which answers are right often enough.

Both are found on validation rows only. Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

# A grid in place of a descent: the same everywhere, and both halves are read off one table. It ends at twice as sure: where no validation
# row is wrong, as with fields that are rarely given, surer would always look better.
TEMPERATURES = tuple(round(2 ** (step / 4), 4) for step in range(-4, 13))
MIN_ROWS = 20  # fewer say nothing about how sure a head may be
ECE_BINS = 10


class Fit(NamedTuple):
    """`before` and `after` are mean losses on rows that the temperature was not chosen on, None where there were too few."""

    temperature: float
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Point:
    """Of the answers with at least this confidence: their share of all, and the share of them that is right."""

    threshold: float
    coverage: float
    accuracy: float


def fit_temperature(table: Sequence[Sequence[float]], rows: Sequence[int]) -> Fit:
    """The temperature with the least loss. `table` has the mean loss of each of two halves at each of `TEMPERATURES`, `rows` their sizes.

    Each half is judged at the temperature of the other one; where that is no better than none, or rows are few, 1 is kept.
    """
    if sum(rows) < MIN_ROWS or not all(rows):
        return Fit(1.0)
    neutral = TEMPERATURES.index(1.0)
    mean = [sum(n * row[i] for n, row in zip(rows, table)) / sum(rows) for i in range(len(TEMPERATURES))]
    crossed = sum(rows[half] * table[half][_least(table[1 - half])] for half in (0, 1)) / sum(rows)
    best = TEMPERATURES[_least(mean)] if crossed < mean[neutral] else 1.0
    return Fit(best, mean[neutral], crossed if best != 1.0 else mean[neutral])


def binary_losses(confidences: Sequence[float], right: Sequence[bool]) -> list[float]:
    """For each of `TEMPERATURES`, which divides the log of the confidences: mean of minus log the probability of being right, or wrong, as
    came true."""
    found = []
    for temperature in TEMPERATURES:
        sure = [min(max(confidence ** (1 / temperature), 1e-6), 1 - 1e-6) for confidence in confidences]
        found.append(-sum(math.log(p if hit else 1 - p) for p, hit in zip(sure, right)) / len(sure))
    return found


def coverage_curve(confidences: Sequence[float], right: Sequence[bool]) -> list[Point]:
    """One point for each confidence that occurs, the highest first."""
    ranked = sorted(zip(confidences, right), key=lambda pair: -pair[0])
    points: list[Point] = []
    hits = 0
    for n, (confidence, hit) in enumerate(ranked, 1):
        hits += hit
        if n == len(ranked) or ranked[n][0] < confidence:
            points.append(Point(confidence, n / len(ranked), hits / n))
    return points


def abstain_threshold(curve: Sequence[Point], target: float) -> Point | None:
    """The point of most coverage at which answers are right as often as `target`, None when there is none."""
    return max((point for point in curve if point.accuracy >= target), key=lambda point: point.coverage, default=None)


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Mean distance of confidence and accuracy over bins with equal numbers of answers, 0..1."""
    ranked = sorted(zip(confidences, right), key=lambda pair: pair[0])
    size = len(ranked)
    bins = [ranked[size * i // ECE_BINS : size * (i + 1) // ECE_BINS] for i in range(ECE_BINS)]
    return sum(abs(sum(c for c, _ in part) - sum(hit for _, hit in part)) for part in bins) / size


def _least(losses: Sequence[float]) -> int:
    return min(range(len(losses)), key=losses.__getitem__)
