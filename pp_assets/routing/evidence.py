"""What feedback says of variants, as sums that a database keeps: each target counted once, by its last word; what is missing is not 0.

**Cohorts.** Evidence comes in cohorts: all inferences of a stretch of time with the same weights, cut by their number (`cohort` of the
policy), never by what they brought. Variants are compared within a cohort only. So it does no harm when the traffic gets harder for all of
them while weights move, which turns pooled rates around (Simpson's paradox).

**Late feedback.** A value counts when it came within the horizon after its inference, and a cohort is looked at when its last inference
is older than that. Every inference has had the same time, and a variant whose bad words come later than another's gains nothing by it.
What has no value is left out of the sums and counted beside them in `asked`, so that unlike shares of answers are seen.

**Units.** Words on inferences of one episode are not independent: the unit is the episode where there is one, with the mean of its values.
It belongs to the variant and the cohort of its first inference.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Stats(NamedTuple):
    """Sums over units: how many have a value, of the values, of their squares. `n` is whole."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    def plus(self, other: "Stats") -> "Stats":
        return Stats(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @classmethod
    def of(cls, values: Iterable[float]) -> "Stats":
        kept = list(values)
        return cls(len(kept), float(sum(kept)), float(sum(value * value for value in kept)))


@dataclass(frozen=True)
class Cohort:
    """Inferences that began in [start, end), seconds since 1970, all under the same weights.

    `stats` by variant, then by metric: "objective" and the names of the guards, in the values that the policy counts (`Routing.objective`,
    `Guard.counted`). `asked` by variant: how many units there were, with feedback or without.
    """

    start: float
    end: float
    stats: Mapping[str, Mapping[str, Stats]]
    asked: Mapping[str, int] = field(default_factory=dict)


class Word(NamedTuple):
    """One row of feedback: `value` of `metric` on `target` (an inference), which `variant` answered at `asked_at`; said at `at`, both in
    seconds. `episode` is the target itself where there is none."""

    target: str
    episode: str
    variant: str
    metric: str
    value: float
    asked_at: float
    at: float


def last_words(words: Iterable[Word], horizon: float) -> list[Word]:
    """The last word on each target and metric within the horizon: corrections supersede, retries count once, the order given does not
    matter. Equal times: the larger value, so that the choice depends on nothing but the rows."""
    last: dict[tuple[str, str], Word] = {}
    for word in words:
        if word.at - word.asked_at > horizon:
            continue
        key = (word.target, word.metric)
        if key not in last or (word.at, word.value) > (last[key].at, last[key].value):
            last[key] = word
    return [last[key] for key in sorted(last)]


def collect(words: Iterable[Word], horizon: float) -> dict[str, dict[str, Stats]]:
    """Stats by variant and metric of the words of one cohort, recounted from rows: what a store's sums must be equal to."""
    units: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for word in last_words(words, horizon):
        units[word.variant, word.metric, word.episode].append(word.value)
    means: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (variant, metric, _), values in sorted(units.items()):
        means[variant, metric].append(sum(values) / len(values))
    found: dict[str, dict[str, Stats]] = defaultdict(dict)
    for (variant, metric), values in means.items():
        found[variant][metric] = Stats.of(values)
    return dict(found)


def scaled(cohort: Cohort, metric: str, variants: Sequence[str], low: float, high: float, higher_is_better: bool) -> np.ndarray:
    """(variants, 3): n, sum and sum of squares of the values in 0..1 with 1 the best. ValueError where sums cannot come from values in
    the range: what counts values outside of it would break the tests in silence."""
    span = high - low
    rows = []
    for variant in variants:
        n, total, squares = cohort.stats.get(variant, {}).get(metric, Stats())
        lifted, square = (total - n * low) / span, (squares - 2 * low * total + n * low * low) / span**2
        slack = 1e-6 * max(1, n)
        if not (-slack <= lifted <= n + slack and lifted * lifted <= n * square + n * slack and square <= lifted + slack):
            raise ValueError(f"{metric} of {variant}: {n} values that sum to {total:g} are not all between {low:g} and {high:g}")
        rows.append((n, lifted, square) if higher_is_better else (n, n - lifted, n - 2 * lifted + square))
    return np.array(rows, dtype=float).reshape(-1, 3)
