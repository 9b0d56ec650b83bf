"""What a flow works with, and the way from a Dagster run to the work that somebody asked for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pp_assets.pipeline import Pipeline
from pp_resources.errors import UserError
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.execute import Runner


class Report(Protocol):
    """Where a flow tells what it does, and gives its rows as soon as they are there."""

    def message(self, text: str) -> None: ...

    def row(self, value: Mapping[str, Any]) -> None: ...


@dataclass
class Kept:
    """A report for who waits for the answer."""

    rows: list[Mapping[str, Any]] = field(default_factory=list)

    def message(self, text: str) -> None:
        """Nobody reads along."""

    def row(self, value: Mapping[str, Any]) -> None:
        self.rows.append(value)


@dataclass
class Work:
    """`doer` runs stages as Dagster runs; None where the answer is given at once, and no stage is run."""

    settings: Settings
    report: Report
    doer: "Runner | None" = None

    @property
    def runner(self) -> "Runner":
        assert self.doer is not None
        return self.doer

    @cached_property
    def pipeline(self) -> Pipeline:
        return self.doer.pipeline if self.doer else Pipeline(self.settings)


Flow = Callable[[Work, Any], Mapping[str, Any]]
_doing: ContextVar[Callable[[str], None] | None] = ContextVar("pp_doing", default=None)


@contextmanager
def doing(what: Callable[[str], None]) -> Iterator[None]:
    """In this context a run of the job `asked_for` calls `what` with the job's id."""
    before = _doing.set(what)
    try:
        yield
    finally:
        _doing.reset(before)


def perform(job: str) -> None:
    """Called by the run."""
    what = _doing.get()
    if what is None:
        raise UserError("is started by the gateway alone", where=f"job {job}", how="ask the gateway: POST /jobs")
    what(job)
