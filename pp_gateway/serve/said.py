"""What goes between routes and variants: what was asked, what was said, and why there is no answer."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Failed(Exception):
    """There is no answer. `status` is that of HTTP, `code` a word for programs, `retry_after` seconds where waiting may help. `again`:
    another variant might answer."""

    def __init__(self, status: int, code: str, what: str, *, how: str = "", retry_after: float | None = None, again: bool = True) -> None:
        super().__init__(what)
        self.status, self.code, self.what, self.how, self.retry_after, self.again = status, code, what, how, retry_after, again


class Refused(Failed):
    """The request is at fault: no variant is asked, and none is tried after it."""

    def __init__(
        self, status: int, code: str, what: str, *, how: str = "", param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(status, code, what, how=how, retry_after=retry_after, again=False)
        self.param = param


@dataclass(slots=True)
class Asked:
    """One question. `schema` is the form that the caller wants instead of the task's; `params` go on to remote models alone. `ends` is the
    moment (`time.monotonic`) until which an answer is of use; `low` marks what nobody waits for."""

    text: str
    ends: float
    schema: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    low: bool = False
    seed: int = 0

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()


@dataclass(slots=True)
class Said:
    """One answer of a variant. `cost` in US dollars, None where it has no price; `reasoning` the steps that led to it, where the variant is
    asked for some: they are stored, and not part of the answer."""

    text: str
    confidence: float | None = None
    fields: Mapping[str, float] = field(default_factory=dict)
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    finish_reason: str = "stop"
    parts: Sequence[str] = ()
    reasoning: Sequence[str] = ()


class Answerer(Protocol):
    """A variant."""

    async def ask(self, asked: Asked) -> Said:
        """Raises Failed."""
        ...

    def stream(self, asked: Asked) -> AsyncIterator[str | Said]:
        """Pieces of the text, then the whole answer. Raises Failed, at the first step where another variant may be tried."""
        ...
