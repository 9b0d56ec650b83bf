"""The process of one job: does it as a Dagster run, or says of one whose process was lost that it has ended.

`python -m pp_gateway.jobs.worker ID PRICE_IN PRICE_OUT` (US dollars a million tokens, or empty), in a session of its own, so that it
outlives whoever started it. It prints to the job's log.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from pp_gateway.cli.environment import quiet_environment
from pp_gateway.jobs.records import (
    CANCEL,
    ERROR,
    OPEN,
    RESULT,
    STATE,
    begun_elsewhere,
    earlier_seconds,
    end,
    failure,
    lock_of,
    place_of,
    without_paths,
)
from pp_resources.errors import UserError
from pp_resources.settings import Settings
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store, open_store
from pp_resources.store.read_work import job as read_job
from pp_resources.store.read_work import job_events_after

if TYPE_CHECKING:
    from pp_assets.execute import Runner
    from pp_gateway.jobs.report import Events

LOCK = 5.0  # seconds: somebody may be looking whether the lock is free
LOOK = 1.0  # seconds between two looks whether it is to end
GRACE = 20.0  # seconds in which it may end by itself
LOST = "its process ended, and nobody knows why"


def main(id: str, prices: tuple[float | None, float | None] = (None, None)) -> int:
    """Do the job, or bury it; the exit code says whether the process could do what it was started for."""
    settings = Settings.from_env()
    store = open_store(settings.home, settings.store_url)
    lock = lock_of(settings.home, id)
    try:
        lock.acquire(timeout=LOCK)
    except Timeout:
        return 0
    with lock:
        row = read_job(store, id)
        if row is None or row["state"] not in OPEN:
            return 0
        begun = bool(job_events_after(store, id, kinds=[STATE]))
        if begun_elsewhere(store, settings.home, [id]):
            return 0
        if begun:
            bury(store, settings, id)
        elif row["state"] == "cancelling":
            end(store, settings.home, id, "cancelled", {"seconds": 0.0})
        else:
            _Doing(store, settings, row, prices).run()
    return 0


def bury(store: Store, settings: Settings, id: str) -> None:
    """End a job whose process was lost, and its Dagster runs. The lock must be held."""
    from pp_assets.execute import end_runs
    from pp_resources.store.work import JobEvent

    cancelled = bool(job_events_after(store, id, kinds=[CANCEL]))
    end_runs(settings, id, canceled=cancelled)
    seconds = {"seconds": _since_begin(store, id)}
    if not cancelled:
        store.write(JobEvent(job=id, kind=ERROR, data=failure(LOST, f"job {id}", "see the job's log, and ask for it again")))
    end(store, settings.home, id, "cancelled" if cancelled else "failed", seconds)


@dataclass
class _Doing:
    store: Store
    settings: Settings
    row: dict[str, Any]
    prices: tuple[float | None, float | None]

    def run(self) -> None:
        from pp_gateway.jobs.report import Events
        from pp_resources.spending import metered

        began, id = time.monotonic(), self.row["id"]
        with metered() as meter:
            events = Events(
                self.store,
                id,
                meter,
                earlier=earlier_seconds(self.store, self.row),
                prices=self.prices,
                clean=lambda text: without_paths(text, self.settings),
            )
            events.write(STATE, {"run": id, "place": place_of(self.settings.home)}, "running")
            events.tell()
            state, error = self._done(events)
            events.flush()
        if error is not None:
            events.write(ERROR, error)
        end(self.store, self.settings.home, id, state, {"seconds": round(time.monotonic() - began, 3)})

    def _done(self, events: "Events") -> tuple[str, dict[str, Any] | None]:
        """How it ended, and why it failed."""
        from pp_assets.execute import Runner, end_runs
        from pp_assets.flows.work import doing
        from pp_assets.names import NO_RETRY, TAG_JOB
        from pp_gateway.cli.stages import StageLog
        from pp_resources.progress import watched_by

        id, watch = self.row["id"], _Watch(self.store, self.settings, self.row["id"])
        try:
            log = StageLog(_Lines(events))
            with (
                Runner(self.settings, on_event=log.hear, tags={TAG_JOB: id, **NO_RETRY}) as runner,
                watch.until_done(runner),
                watched_by(events.hear),
                doing(lambda _job: self._flow(runner, events)),
            ):
                runner.asked_for(id, self.row["kind"])
        except UserError as error:
            told = [without_paths(text, self.settings) for text in (error.what, error.where, error.how)]
            return "failed", failure(*told)
        except BaseException as error:
            traceback.print_exc()
            if watch.stopping:
                end_runs(self.settings, id, canceled=True)
                return "cancelled", None
            if type(error).__name__ == "DagsterExecutionInterruptedError" or isinstance(error, KeyboardInterrupt):
                return "failed", failure("its process was told to end", f"job {id}", "ask for it again")
            # The words of an error may hold what somebody wrote; its name does not.
            return "failed", failure(
                f"an error of ours: {type(error).__name__}", f"job {id}", "whoever runs the gateway finds it in the log"
            )
        return "done", None

    def _flow(self, runner: "Runner", events: "Events") -> None:
        from pp_assets.flows.catalogue import KINDS
        from pp_assets.flows.work import Work

        kind = KINDS[self.row["kind"]]
        request = kind.model.model_validate(self.row["payload"])
        result = kind.run(Work(self.settings, events, runner), request)
        events.write(RESULT, result)


@dataclass
class _Lines:
    """Where the lines of `StageLog` go."""

    events: "Events"

    def now(self, stage: str) -> None:
        """What begins is told when it is done."""

    def say(self, line: str) -> None:
        self.events.message(" ".join(line.split()))


@dataclass
class _Watch:
    """Looks whether the job is to end, and ends it: politely, then for good."""

    store: Store
    settings: Settings
    id: str
    stopping: bool = False

    @contextmanager
    def until_done(self, runner: "Runner") -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self._look, args=(runner, done), name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _look(self, runner: "Runner", done: threading.Event) -> None:
        while not done.wait(LOOK):
            if self._to_end(runner):
                break
        else:
            return
        self.stopping = True
        # Dagster makes an error of it where the work is; one that comes between two of its steps does the same.
        os.kill(os.getpid(), signal.SIGTERM)
        if not done.wait(GRACE):
            self._end_for_good()

    def _to_end(self, runner: "Runner") -> bool:
        from pp_assets.execute import stopped_in_dagster

        with suppress(StoreUnavailable):
            if job_events_after(self.store, self.id, kinds=[CANCEL], limit=1):
                return True
        return stopped_in_dagster(runner.instance, self.id)

    def _end_for_good(self) -> None:
        """The work is somewhere where no signal reaches it."""
        from pp_assets.execute import end_runs

        end_runs(self.settings, self.id, canceled=True)
        end(self.store, self.settings.home, self.id, "cancelled", {"seconds": _since_begin(self.store, self.id)})
        os._exit(1)


def _since_begin(store: Store, id: str) -> float:
    from pp_resources.store.ids import MICRO, now

    begun = job_events_after(store, id, kinds=[STATE], limit=1)
    return round((now() - begun[0]["at"]) / MICRO, 3) if begun else 0.0


if __name__ == "__main__":
    quiet_environment()
    price_in, price_out = (float(text) if text else None for text in sys.argv[2:])
    sys.exit(main(sys.argv[1], (price_in, price_out)))
