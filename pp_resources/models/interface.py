"""What every model answers, whatever its family: a batch of inputs in, one Prediction each out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Prediction:
    """One answer.

    `text` is exactly what the model said (JSON when all is well; the evaluator parses it). `confidence` is a probability in 0..1 for the
    whole object, or None when the model has none; `fields` the same per field, by dotted path. `latency_ms` is the wall time of the batch
    divided by its size. `choices` holds, where asked for, the probability of each listed value of a field (strings as they are, other
    values as JSON). `finish_reason` is "stop", or "length" when a limit cut the answer off.
    """

    text: str
    confidence: float | None = None
    fields: Mapping[str, float] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    latency_ms: float = 0.0
    finish_reason: str = "stop"
    choices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Predictor(Protocol):
    """A model that turns texts into JSON texts. Same inputs give the same answers on one machine."""

    name: str

    def predict(self, inputs: Sequence[str]) -> list[Prediction]: ...
