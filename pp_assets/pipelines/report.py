"""How every pipeline ends: what was asked, each step with what it found and made, the figures, the outcome."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pp_resources.artifacts import Artifact
from pp_resources.progress import steps

Kind = Literal["ship", "stop", "wait"]


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval and how many items it is of; None with a `reason` where it could not be computed."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass
class Step:
    """One step of a run. `said` is its result in a sentence; `made` are the artifacts that it made or found ready; `calls` counts the texts
    or messages that models were asked, kept answers left out."""

    name: str
    said: str = ""
    made: list[Artifact] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)  # by name, put into the report's folder; those that end in .png are shown
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)  # plain values, for who reads the JSON
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0  # what stands here when the step ends is added to the time that it took


@dataclass
class Report:
    """What a run found. `kind` colours the outcome as in every report: "ship" is good, "stop" is bad, "wait" is not decided or nothing to
    decide."""

    steps: list[Step] = field(default_factory=list)
    kind: Kind = "wait"
    outcome: str = ""
    reasons: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """A step that is under way: whoever watches hears of it, and it is timed."""
        made, began = Step(name), time.perf_counter()
        with steps(name, 1) as advance:
            yield made
            advance(made.said)
        made.seconds = round(made.seconds + time.perf_counter() - began, 2)
        self.steps.append(made)

    def end(self, kind: Kind, outcome: str, reasons: Sequence[str]) -> "Report":
        """The outcome in a few words, and the sentences that carry it."""
        self.kind, self.outcome, self.reasons = kind, outcome, list(reasons)
        return self


def used(step: Step, made: Artifact) -> Artifact:
    """The artifact, told in the step."""
    step.made.append(made)
    return made
