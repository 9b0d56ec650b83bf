"""Runs jobs in this process and shows each stage as it goes: reused or computed, why, and how long it took."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pp_gateway.cli.environment import log_to_file
from pp_gateway.cli.output import console
from pp_resources.errors import UserError
from pp_resources.progress import watched_by
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.execute import Runner
    from pp_resources.artifacts import Artifact

LOG = logging.getLogger("pp.stages")


@dataclass
class Stage:
    """One stage of one task, or of one variant (`key` is task or task/variant)."""

    stage: str
    key: str
    reused: bool
    reason: str
    path: str
    seconds: float = 0.0

    @property
    def line(self) -> str:
        said = "unchanged" if self.reused else f"computed ({self.reason})"
        return f"  {self.stage:<17} {self.key:<32} {self.seconds:7.1f} s  {said}"


class Shown(Protocol):
    """Where the lines of stages go."""

    def now(self, stage: str) -> None: ...

    def say(self, line: str) -> None: ...


@dataclass
class StageLog:
    """Hears Dagster's events and prints a line for each stage that is done."""

    terminal: Shown
    stages: list[Stage] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def hear(self, event: Any) -> None:
        """One entry of Dagster's event log, as it is stored."""
        LOG.info("%s %s: %s", event.job_name, event.step_key or "", event.user_message)
        happened = event.dagster_event
        if happened is None:
            return
        if happened.event_type_value == "STEP_START":
            self.terminal.now(event.step_key)
        elif happened.event_type_value == "ASSET_MATERIALIZATION":
            self.stages.append(_stage(happened))
        elif happened.event_type_value == "STEP_SUCCESS" and self.stages and self.stages[-1].stage == event.step_key:
            self.stages[-1].seconds = round(happened.step_success_data.duration_ms / 1000, 2)
            self.terminal.say(self.stages[-1].line)

    def add(self, stage: str, made: "Artifact", seconds: float) -> None:
        """A stage that was done here, beside Dagster's."""
        reason = f"changed: {', '.join(made.stale_because)}" if made.stale_because else "first version"
        self.stages.append(Stage(stage, made.key, made.reused, reason, str(made.path), round(seconds, 2)))
        self.terminal.say(self.stages[-1].line)

    def said(self) -> str:
        """One sentence on all of it."""
        reused = sum(stage.reused for stage in self.stages)
        return summary(len(self.stages) - reused, reused, time.monotonic() - self.began)

    def as_dict(self) -> dict[str, Any]:
        reused = sum(stage.reused for stage in self.stages)
        return {"recomputed": len(self.stages) - reused, "unchanged": reused, "stages": [asdict(stage) for stage in self.stages]}


def summary(recomputed: int, unchanged: int, seconds: float) -> str:
    """One sentence on what a command had to do."""
    total = recomputed + unchanged
    if not recomputed:
        return f"nothing recomputed: {unchanged} of {total} stages unchanged ({seconds:.1f} s)"
    return f"recomputed {recomputed} of {total} stages, {unchanged} unchanged ({seconds:.1f} s)"


@contextmanager
def running(settings: Settings) -> Iterator[tuple["Runner", StageLog]]:
    """A runner whose stages are shown. Its errors come out; where the log is, is said with them."""
    with logged(settings) as log:
        from pp_assets.execute import Runner

        with Runner(settings, on_event=log.hear) as runner:
            yield runner, log


@contextmanager
def logged(settings: Settings) -> Iterator[StageLog]:
    """The same for work that is no stage of the pipeline: whoever does it adds its stages."""
    file = log_to_file(settings)
    with _terminal() as terminal:
        log = StageLog(terminal)
        try:
            with watched_by(terminal.progressed):
                yield log
        except BaseException as error:
            # Dagster takes Ctrl-C while a job runs and raises an error of its own for it.
            ended = type(error).__name__ == "DagsterExecutionInterruptedError"
            # Bad input that was refused before any stage is told in one line.
            if log.stages or not isinstance(error, UserError):
                on = "; the same command goes on from there" if ended or isinstance(error, KeyboardInterrupt) else ""
                terminal.say(f"  stopped after {len(log.stages)} stages{on}; log: {file}")
            if ended:
                raise KeyboardInterrupt from error
            raise


@contextmanager
def watching(work: str) -> Iterator[None]:
    """Shows the progress of work that is no stage, in a terminal."""
    with _terminal() as terminal, watched_by(terminal.progressed):
        terminal.now(work)
        yield


class _Terminal:
    """Lines for the person who waits, and under them what is worked on and for how long; the latter not in a pipe or a log.

    It writes to standard error as it was: while a job runs, Dagster sends the process's own to the run's log and mirrors it, late or never.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.console = console(stream)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), TimeRemainingColumn())
        columns += (TextColumn("{task.fields[detail]}"),)  # type: ignore[assignment]
        options: dict[str, Any] = {"transient": True, "redirect_stdout": False, "redirect_stderr": False}
        self.progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal, **options)
        self.stage = "starting"
        self.shown = self.progress.add_task(self.stage, total=None, detail="")
        self.work = ""

    def now(self, stage: str) -> None:
        """A stage begins, of which nothing is known but the time."""
        self.stage, self.work = stage, ""
        self.progress.reset(self.shown, total=None, description=stage, detail="")

    def progressed(self, work: str, done: int, total: int, detail: str) -> None:
        """The stage says how far a part of it is."""
        if work != self.work:
            self.work = work
            self.progress.reset(self.shown, total=total, description=f"{self.stage}: {work}", detail="")
        self.progress.update(self.shown, completed=done, detail=detail)

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)


@contextmanager
def _terminal() -> Iterator[_Terminal]:
    try:
        handle = os.dup(sys.stderr.fileno())
    except OSError:
        handle = os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
        terminal = _Terminal(stream)
        with terminal.progress:
            yield terminal


def _stage(happened: Any) -> Stage:
    made = happened.step_materialization_data.materialization
    values = {name: made.metadata[name].value for name in ("reused", "stale_because", "path")}
    changed = values["stale_because"]
    reason = changed if changed in ("first version", "nothing changed") else f"changed: {changed}"
    key = str(happened.partition).replace("|", "/")
    return Stage(made.asset_key.to_user_string(), key, bool(values["reused"]), reason, str(values["path"]))
