"""Several predictors as one: each text is asked of all members, or of one after the other until one is sure enough."""

import copy
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from pp_resources.json_schema import Field, canonical_output, dump_output, get_path, leaf_fields, output_validator
from pp_resources.models.ensemble.opinions import ABSENT, UNKNOWN, Opinion, Weights, decide, key_of, logit, sigmoid, weights_of
from pp_resources.models.interface import Choice, Prediction, Predictor, ranked

COMBINER, MEMBERS = "combiner.json", "members"  # in the folder of an ensemble: what was fitted, and a folder for each member


@dataclass(frozen=True)
class Combiner:
    """What was fitted on validation rows, as plain values in combiner.json.

    `strategy` is vote, weighted, stack or route. `members` are names, `order` their places from the best on validation rows to the worst.
    `fields` holds the weights by dotted path. To route: `platt` has a (slope, intercept) for each member, which make a probability of being
    right of its confidence, and an answer that reaches `threshold` is taken without asking the next member.
    """

    strategy: str
    members: Sequence[str]
    order: Sequence[int]
    fields: Mapping[str, Weights] = field(default_factory=dict)
    platt: Sequence[Sequence[float]] = field(default_factory=list)
    threshold: float = 1.0

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Combiner":
        return cls(**{**raw, "fields": {path: weights_of(weights) for path, weights in raw["fields"].items()}})

    def right(self, member: int, answer: Prediction) -> float:
        """Probability that a member's answer is right as a whole."""
        slope, intercept = self.platt[member]
        return sigmoid(slope * logit(UNKNOWN if answer.confidence is None else answer.confidence) + intercept)


@dataclass(frozen=True)
class FieldCombiner:
    """Answers of all members to one text, made into one."""

    schema: Mapping[str, Any]
    combiner: Combiner

    @cached_property
    def leaves(self) -> list[Field]:
        return leaf_fields(self.schema)

    @cached_property
    def _validator(self) -> Any:
        return output_validator(self.schema)

    def read(self, answer: Prediction) -> dict[str, Any] | None:
        """The canonical object of an answer that the schema allows, else None."""
        try:
            value = json.loads(answer.text)
            valid = isinstance(value, dict) and self._validator.is_valid(value)
        except (ValueError, RecursionError):
            return None
        return canonical_output(self.schema, value) if valid else None

    def answer(self, answers: Sequence[Prediction]) -> Prediction:
        """What the ensemble says, from what all members say."""
        return self.routed(answers)[0] if self.combiner.strategy == "route" else self.combine(answers)

    def combine(self, answers: Sequence[Prediction]) -> Prediction:
        """One answer for one text. Valid against the schema where any member's is: what the fields make together and the schema does not
        allow gives way to the best member's answer. Tokens and latency are those of all members."""
        values = [self.read(answer) for answer in answers]
        cost = whole_cost(answers)
        sound = [member for member in self.combiner.order if values[member] is not None]
        if not sound:
            return replace(answers[self.combiner.order[0]], **cost)
        best = answers[sound[0]]
        winners = {leaf.path: decide(opinions_of(leaf.path, values, answers), self.combiner.fields[leaf.path]) for leaf in self.leaves}
        value = canonical_output(self.schema, self._assembled(values, sound, {path: won for path, (won, _) in winners.items()}))
        if not self._validator.is_valid(value):
            return replace(best, **cost)
        fields = {path: sure for path, (_, sure) in winners.items()}
        return Prediction(dump_output(self.schema, value), math.prod(fields.values()), fields, choices=pooled(answers), **cost)

    def trust(self, answers: Sequence[Prediction]) -> list[tuple[bool, float]]:
        """Of the first members' answers to one text: whether it is valid, and the probability that it is right."""
        return [(self.read(a) is not None, round(self.combiner.right(i, a), 6)) for i, a in enumerate(answers)]

    def settles(self, member: int, answer: Prediction) -> bool:
        """Whether no further member has to be asked."""
        return self.read(answer) is not None and round(self.combiner.right(member, answer), 6) >= self.combiner.threshold

    def routed(self, answers: Sequence[Prediction]) -> tuple[Prediction, int]:
        """(the answer that the cascade takes, at the cost of all that it asked; how many that were)."""
        sure = self.trust(answers)
        at, asked = route(sure, self.combiner.threshold)
        return replace(answers[at], confidence=sure[at][1], **whole_cost(answers[:asked])), asked

    def _assembled(self, values: Sequence[Any], sound: Sequence[int], winners: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the member that agrees with most winners, with the winners put in: what is no field stays as one member said it."""

        def agreed(member: int) -> int:
            return sum(key_of(get_path(values[member], path, ABSENT)) == key_of(won) for path, won in winners.items())

        made: dict[str, Any] = copy.deepcopy(values[max(sound, key=agreed)])
        for path, won in winners.items():
            _put(made, path.split("."), won)
        return made


def opinions_of(path: str, values: Sequence[dict[str, Any] | None], answers: Sequence[Prediction]) -> list[Opinion]:
    """What each member with a sound answer says at a path."""
    said = [(i, value, answers[i]) for i, value in enumerate(values) if value is not None]
    return [Opinion(i, get_path(value, path, ABSENT), round(_sure(answer, path), 6)) for i, value, answer in said]


def route(trust: Sequence[tuple[bool, float]], threshold: float) -> tuple[int, int]:
    """(which answer is taken, how many are asked): the first valid one that is sure enough ends the asking, then the surest is taken."""
    asked = next((i + 1 for i, (sound, p) in enumerate(trust) if sound and p >= threshold), len(trust))
    return max(range(asked), key=lambda i: trust[i]), asked


def thresholds(reached: Iterable[float], most: int) -> list[float]:
    """What is tried as a threshold, ascending: 0, at most so many of the confidences that occur, evenly by rank, and 1."""
    ranked = sorted(set(map(float, reached)))
    return [0.0, *(ranked[i] for i in np.unique(np.linspace(0, len(ranked) - 1, most).astype(int)) if ranked), 1.0]


def pooled(answers: Sequence[Prediction]) -> dict[str, list[Choice]]:
    """Mean probability of each value of a field over the members that give one (a linear opinion pool)."""
    found: dict[str, list[Choice]] = {}
    for path in dict.fromkeys(path for answer in answers for path in answer.choices):
        given = [{key_of(c.value): c for c in answer.choices[path]} for answer in answers if path in answer.choices]
        values = {key: choice.value for one in given for key, choice in one.items()}
        means = [sum(one[key].probability for one in given if key in one) / len(given) for key in values]
        found[path] = ranked(values.values(), means)
    return found


def whole_cost(answers: Sequence[Prediction]) -> dict[str, Any]:
    """Tokens and latency of several answers together, and whether one of them was cut off."""
    cut = any(answer.finish_reason == "length" for answer in answers)
    return {
        "tokens_in": sum(a.tokens_in for a in answers),
        "tokens_out": sum(a.tokens_out for a in answers),
        "latency_ms": sum(a.latency_ms for a in answers),
        "finish_reason": "length" if cut else "stop",
    }


class EnsemblePredictor:
    """Members behind one combiner. `choices` are the mean of the members' (routed: those of the member that answers), so that where members
    disagree the answer may be another value than the first of them."""

    def __init__(self, name: str, members: Sequence[Predictor], schema: Mapping[str, Any], combiner: Combiner) -> None:
        self.name, self.members, self.combiner = name, members, combiner
        self.fields = FieldCombiner(schema, combiner)

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        if self.combiner.strategy == "route":
            return self._routed(inputs, distributions)
        said = [member.predict(inputs, distributions=distributions) for member in self.members]
        return [self.fields.combine(answers) for answers in zip(*said)]

    def _routed(self, inputs: Sequence[str], distributions: bool) -> list[Prediction]:
        asked: list[list[Prediction]] = [[] for _ in inputs]
        waiting = list(range(len(inputs)))
        for place, member in enumerate(self.members):
            for i, answer in zip(waiting, member.predict([inputs[i] for i in waiting], distributions=distributions)):
                asked[i].append(answer)
            waiting = [i for i in waiting if not self.fields.settles(place, asked[i][-1])]
            if not waiting:
                break
        return [self.fields.routed(answers)[0] for answers in asked]


def _sure(answer: Prediction, path: str) -> float:
    found = answer.fields.get(path, answer.confidence)
    return UNKNOWN if found is None else found


def _put(made: dict[str, Any], parts: list[str], value: Any) -> None:
    """Set or take away what stands at a path; an object that has to hold it is made."""
    inner: Any = made
    for part in parts[:-1]:
        if not isinstance(inner.get(part), dict):
            if value is ABSENT:
                return
            inner[part] = {}
        inner = inner[part]
    if value is ABSENT:
        inner.pop(parts[-1], None)
    else:
        inner[parts[-1]] = value
