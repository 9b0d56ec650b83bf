"""Starts the processes of jobs that wait, and of those whose process was lost, so that somebody says what became of them.

One gateway of an installation does so at a time, whoever holds the lock. A process of its own and not Dagster's daemon: it needs no server
that loads the code (200 MB), and a job runs the same whether Dagster's pages are open or not. The run is seen there all the same.
"""

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pp_gateway.jobs.records import ERROR, OPEN, begun_elsewhere, end, failure, is_worked_on, lock_of, log_of
from pp_resources.instance import dagster_environment
from pp_resources.settings import PROJECT_ROOT, Settings
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store
from pp_resources.store.read_work import list_jobs
from pp_resources.store.work import JobEvent

if TYPE_CHECKING:
    from pp_gateway.serve.config import Jobs

LOOK = 2.0  # seconds between two looks, where nobody says that there is something
TRIES = 3  # processes that may end before they begin
MANY = 1000


class Launcher:
    """`limits` gives the configuration as it is now."""

    def __init__(self, settings: Settings, store: Store, limits: "Callable[[], Jobs]", store_url: str | None = None) -> None:
        self._settings, self._store, self._limits, self._url = settings, store, limits, store_url
        self._woken = asyncio.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tries: dict[str, int] = {}
        self._lock: FileLock | None = None

    def wake(self) -> None:
        """There is a new job."""
        self._woken.set()

    async def run(self) -> None:
        """Look after jobs, for ever. Those that run go on when this ends."""
        try:
            while True:
                try:
                    await asyncio.to_thread(self._look)
                except StoreUnavailable:
                    pass
                except Exception:  # whatever is wrong with one look, there is another one
                    traceback.print_exc(file=sys.stderr)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), LOOK)
                self._woken.clear()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _look(self) -> None:
        for id in [id for id, process in self._processes.items() if process.poll() is not None]:
            del self._processes[id]
        limits = self._limits()
        if not limits.running or not self._store.exists or not self._is_mine():
            return
        jobs = list_jobs(self._store, MANY, states=OPEN, newest_first=False, payload=False)
        worked_on = {row["id"] for row in jobs if row["id"] in self._processes or is_worked_on(self._settings.home, row["id"])}
        lost = [row["id"] for row in jobs if row["id"] not in worked_on and row["state"] != "queued"]
        elsewhere = begun_elsewhere(self._store, self._settings.home, lost)
        waiting = [row["id"] for row in jobs if row["id"] not in worked_on and row["state"] == "queued"]
        # What was lost takes no place: its process says so and ends.
        for id in [id for id in lost if id not in elsewhere] + waiting[: max(0, limits.running - len(worked_on))]:
            self._start(id, limits)
        self._tries = {id: count for id, count in self._tries.items() if id in {row["id"] for row in jobs}}

    def _is_mine(self) -> bool:
        """Whether this gateway starts jobs; the lock goes with its process."""
        if self._lock is None:
            folder = self._settings.home / "jobs"
            folder.mkdir(parents=True, exist_ok=True)
            # A look is taken in whichever thread is free.
            lock = FileLock(folder / "launcher.lock", timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                return False
            self._lock = lock
        return True

    def _start(self, id: str, limits: "Jobs") -> None:
        self._tries[id] = self._tries.get(id, 0) + 1
        if self._tries[id] > TRIES:
            self._give_up(id)
            return
        file = log_of(self._settings.home, id)
        file.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **dagster_environment(self._settings)} | ({"PP_STORE_URL": self._url} if self._url else {})
        prices = ["" if price is None else str(price) for price in (limits.price_in, limits.price_out)]
        with file.open("ab") as log:
            # A session of its own: what ends the gateway does not end it.
            self._processes[id] = subprocess.Popen(
                [sys.executable, "-m", "pp_gateway.jobs.worker", id, *prices],
                cwd=PROJECT_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _give_up(self, id: str) -> None:
        lock = lock_of(self._settings.home, id)
        try:
            lock.acquire()
        except Timeout:
            return
        with lock:
            what = failure(f"{TRIES} processes ended before they could begin", f"job {id}", "whoever runs the gateway finds why in the log")
            self._store.write(JobEvent(job=id, kind=ERROR, data=what))
            end(self._store, self._settings.home, id, "failed", {"seconds": 0.0})
            self._tries.pop(id)
