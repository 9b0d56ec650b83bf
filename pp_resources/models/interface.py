"""What every model answers, whatever its family: a batch of inputs in, one Prediction each out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Choice(NamedTuple):
    """One of the values that a field may have, and how likely it is, 0..1."""

    value: Any
    probability: float


@dataclass(frozen=True)
class Prediction:
    """One answer.

    `text` is exactly what the model said (JSON when all is well; the evaluator parses it). `confidence` is a probability in 0..1 for the
    whole object, or None when the model has none; `fields` the same per field, by dotted path. `latency_ms` is the wall time of the batch
    divided by its size. `choices` holds, where asked for, by path of each field with listed values all of them, the likeliest first: their
    probabilities add up to 1, but for an array of listed values, where each is that of being in it. `finish_reason` is "stop", or
    "length" when a limit cut the answer off. `reasoning` are the steps that led to it, where the prompt asked for some.
    """

    text: str
    confidence: float | None = None
    fields: Mapping[str, float] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    latency_ms: float = 0.0
    finish_reason: str = "stop"
    choices: Mapping[str, Sequence[Choice]] = field(default_factory=dict)
    reasoning: tuple[str, ...] = ()


class Predictor(Protocol):
    """A model that turns texts into JSON texts. Same inputs give the same answers on one machine."""

    name: str

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]: ...


def ranked(values: Iterable[Any], probabilities: Iterable[float]) -> list[Choice]:
    """Likeliest first; equal ones in the order given."""
    return sorted(map(Choice, values, probabilities), key=lambda choice: -choice.probability)
