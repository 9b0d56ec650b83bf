"""A prompt that a search may choose, where it comes from, and what its makers know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pp_assets.prompts.wording import Wording
from pp_assets.task.contract.spec import Contract
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.models.chat import ChatModel
from pp_resources.models.interface import Prediction


@dataclass(frozen=True)
class Origin:
    """Who made a candidate: `source` ("seed", "operator:shorter", "grounded", "reflection", "feedback", "demonstrations:knn", …), from
    which others (ids), why in one line, and by the answer of which model (its identity; empty where none was asked)."""

    source: str
    parents: tuple[str, ...] = ()
    note: str = ""
    by: str = ""


@dataclass(frozen=True)
class Candidate:
    """`id` is the beginning of the digest of what a model reads: the same words are one candidate, whoever made them."""

    id: str
    wording: Wording
    origin: Origin

    @classmethod
    def of(cls, spec: TaskSpec, wording: Wording, origin: Origin) -> "Candidate":
        return cls(wording.digest(spec)[:12], wording, origin)


@dataclass(frozen=True)
class Judged:
    """A candidate with its answers to some training or validation rows, their score by the primary metric (0..1, more is better) and, by
    contract dimension, what each row scored (NaN where it has none)."""

    candidate: Candidate
    rows: Sequence[Example]
    answers: Sequence[Prediction]
    scores: np.ndarray
    dimensions: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The mean over its rows; there is at least one."""
        return float(self.scores.mean())

    @property
    def tokens(self) -> float:
        """Of an answer, read and written, on average."""
        return float(np.mean([said.tokens_in + said.tokens_out for said in self.answers]))


@dataclass(frozen=True)
class Ground:
    """What proposers may look at: training rows alone, never held-out ones. `model` writes where one is there; `complaints` are what
    people said, by topic, the most frequent first; `embed` gives unit vectors, (n, size)."""

    spec: TaskSpec
    train: Sequence[Example]
    contract: Contract | None = None
    model: ChatModel | None = None
    complaints: Sequence[str] = ()
    embed: Callable[[Sequence[str]], np.ndarray] | None = None
    count_tokens: Callable[[str], int] = len
    options: Mapping[str, Any] = field(default_factory=dict)


class Proposer(Protocol):
    """Makes candidates. The same arguments give the same ones (a model's answers are kept). It may give fewer than asked, or none."""

    @property
    def source(self) -> str: ...

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        """Up to `count` new candidates from `parents`, the best first, judged on training rows."""
        ...
