"""What members of an ensemble say of each field, and which value wins.

Every combination here is one linear rule: a member that supports a value adds `own + slope * logit(confidence)` to its score, and the value
with the highest score wins. Own 1 and slope 0 is a majority vote; own the log odds of being right, slope 0, the best weighting of
independent voters (Nitzan and Paroush 1982); both fitted, stacking by logistic regression (Wolpert 1992).
"""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SURE = 1e-4  # confidences are kept this far from 0 and 1, so that one certain model does not outweigh any number of others
UNKNOWN = 0.5  # what a model that gives no confidence is taken for
ABSENT = object()


@dataclass(frozen=True)
class Weights:
    """The rule of one field: `own` and `slope` of each member, and a `bias` that turns a score into a log odds of being right.

    `logistic` is false where scores are no log odds; a confidence is then the members' own, weighted.
    """

    own: Sequence[float]
    slope: Sequence[float]
    bias: float = 0.0
    logistic: bool = False

    def of(self, member: int, confidence: float) -> float:
        """What a member's support is worth."""
        return self.own[member] + self.slope[member] * logit(confidence)


@dataclass(frozen=True)
class Opinion:
    """One member's value of one field, and how sure it is."""

    member: int
    value: Any
    confidence: float = UNKNOWN


@dataclass
class Candidate:
    """A value of a field with those who say so."""

    value: Any
    said_by: list[Opinion] = field(default_factory=list)

    @property
    def members(self) -> set[int]:
        return {opinion.member for opinion in self.said_by}


def logit(confidence: float) -> float:
    """Log odds of a probability that is kept away from 0 and 1."""
    kept = min(max(confidence, SURE), 1 - SURE)
    return math.log(kept / (1 - kept))


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, score))))


def candidates(opinions: Iterable[Opinion]) -> list[Candidate]:
    """The different values, in the order in which they are first said."""
    found: dict[Hashable, Candidate] = {}
    for opinion in opinions:
        found.setdefault(key_of(opinion.value), Candidate(opinion.value)).said_by.append(opinion)
    return list(found.values())


def listed(opinions: Iterable[Opinion]) -> list[Candidate]:
    """The different items of arrays, each with those whose array holds it; an item that stands twice is two."""
    found: dict[Hashable, Candidate] = {}
    for opinion in opinions:
        seen: dict[str, int] = {}
        for item in opinion.value:
            seen[key_of(item)] = seen.get(key_of(item), 0) + 1
            at = (key_of(item), seen[key_of(item)])
            found.setdefault(at, Candidate(item)).said_by.append(Opinion(opinion.member, item, opinion.confidence))
    return list(found.values())


def decide(opinions: Sequence[Opinion], weights: Weights) -> tuple[Any, float]:
    """(the value that wins, its confidence 0..1). Arrays are decided item by item, once most members say an array at all.

    Equal scores go to the more confident members, then to the member that stands first.
    """
    arrays = [opinion for opinion in opinions if isinstance(opinion.value, list)]
    shape = _best(candidates([Opinion(o.member, isinstance(o.value, list), o.confidence) for o in opinions]), weights)
    if shape.value and len(arrays) > 1:
        return _decide_items(arrays, weights)
    alike = [opinion for opinion in opinions if isinstance(opinion.value, list) is shape.value]
    won = _best(candidates(alike), weights)
    return won.value, _confidence(won, opinions, weights)


def item_score(candidate: Candidate, opinions: Sequence[Opinion], weights: Weights) -> tuple[float, float]:
    """(score, how much surer those are who list an item than those who do not); it is in where this is above (0, 0)."""
    sign = {opinion.member: 1 if opinion.member in candidate.members else -1 for opinion in opinions}
    score = weights.bias + sum(sign[o.member] * weights.of(o.member, o.confidence) for o in opinions)
    return round(score, 9), sum(sign[o.member] * o.confidence for o in opinions)


def _decide_items(opinions: Sequence[Opinion], weights: Weights) -> tuple[list[Any], float]:
    kept, sure = [], 1.0
    for candidate in _in_order(listed(opinions), opinions):
        score = item_score(candidate, opinions, weights)
        if score > (0.0, 0.0):
            kept.append(candidate.value)
        if weights.logistic:
            sure *= max(sigmoid(score[0]), 1 - sigmoid(score[0]))
    if weights.logistic:
        return kept, sure
    agreed = [o for o in opinions if [key_of(v) for v in o.value] == [key_of(v) for v in kept]]
    return kept, _share(agreed, opinions, weights)


def _in_order(found: list[Candidate], opinions: Sequence[Opinion]) -> list[Candidate]:
    """By the mean place among those who list them, so that the order of most members stays."""
    places: dict[Hashable, list[float]] = {}
    for opinion in opinions:
        for at, item in enumerate(opinion.value):
            places.setdefault(key_of(item), []).append(at)
    return sorted(found, key=lambda c: sum(places[key_of(c.value)]) / len(places[key_of(c.value)]))


def _best(found: Sequence[Candidate], weights: Weights) -> Candidate:
    def worth(candidate: Candidate) -> tuple[float, float]:
        score = sum(weights.of(o.member, o.confidence) for o in candidate.said_by)
        return round(score, 9), round(sum(o.confidence for o in candidate.said_by), 6)

    return max(found, key=worth)  # the first of equals


def _confidence(won: Candidate, opinions: Sequence[Opinion], weights: Weights) -> float:
    if weights.logistic:
        return sigmoid(weights.bias + sum(weights.of(o.member, o.confidence) for o in won.said_by))
    return _share(won.said_by, opinions, weights)


def _share(said_by: Iterable[Opinion], opinions: Sequence[Opinion], weights: Weights) -> float:
    """The weighted mean of the probabilities that members give to a value; those who say another one give it 0."""
    total = sum(weights.own[o.member] for o in opinions)
    return min(1.0, sum(weights.own[o.member] * o.confidence for o in said_by) / total) if total > 0 else 0.0


def key_of(value: Any) -> str:
    """Equal for equal values."""
    return "absent" if value is ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)


def weights_of(raw: Mapping[str, Any]) -> Weights:
    """Weights as they are stored."""
    return Weights(raw["own"], raw["slope"], raw["bias"], raw["logistic"])
