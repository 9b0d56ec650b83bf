"""What the routes answer with, put together from the store, the artifacts and the gateway itself."""

import os
import time
from functools import partial
from typing import Any

from pp_gateway.dashboard.beside import complaints, decided, drift
from pp_gateway.dashboard.overview import RANGES, Declared, Question, begin, moment, overview
from pp_gateway.dashboard.snapshots import Snapshots
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import nearest
from pp_resources.settings import Settings
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store
from pp_resources.store.overview import waiting
from pp_resources.store.statistics import tasks_of

RETRY = 5.0


class Reader:
    """Reads for all who look at the dashboard of one gateway."""

    def __init__(self, settings: Settings, gateway: Gateway, store: Store) -> None:
        self._settings, self._gateway, self._store = settings, gateway, store
        self._snapshots = Snapshots()
        self._met = False  # the store was there before

    async def whole(self, asked: Question) -> dict[str, Any]:
        """Everything; without a task, of the first one that is served. Raises Refused for a task that is none, Failed where the store is
        away and was never read."""
        now = self._gateway.now
        served = [*sorted(now.functions), *sorted(now.models)]
        declared = {
            name: Declared(one.serving.routing.metric if one.serving.routing else None, tuple(one.variants))
            for name, one in now.functions.items()
        }
        found = await self._read(asked, partial(self._everything, asked, served, declared))
        return {**found, "log": self.log(), "skipped": now.skipped, "reload": self._gateway.last_reload["error"]}

    async def moment(self, task: str, metric: str) -> dict[str, Any]:
        """What goes on now, and how rows are kept. Raises Failed as `whole` does."""
        found = await self._read(("now", task, metric), lambda: moment(self._there(), task, metric, time.time()))
        stale = found.pop("stale")
        return {"now": found, "stale": stale, "log": self.log()}

    def log(self) -> dict[str, Any]:
        """How rows are kept. `journal_bytes` and `refused` are those of all workers, all else of this one."""
        gateway = self._gateway
        told: dict[str, Any] = {"mode": gateway.logbook.mode, "rows": dict(gateway.logbook.counts), "worker": os.getpid()}
        if gateway.recorder is None:
            return told | {"store": None}
        status = gateway.recorder.status()
        return told | {key: status[key] for key in ("store", "why", "waiting", "lag_s")} | waiting(gateway.recorder.folder)

    def _everything(self, asked: Question, served: list[str], declared: dict[str, Declared]) -> dict[str, Any]:
        store, at = self._there(), time.time()
        there = tasks_of(store) if store.exists else []
        tasks = [*served, *(name for name in there if name not in served)]
        if asked.task and asked.task not in tasks:
            raise Refused(
                404, "unknown_task", f"{asked.task!r} is no task that is served or was", how=nearest(asked.task, tasks), param="task"
            )
        found: dict[str, Any] = {"tasks": tasks, "served": served, "ranges": list(RANGES), "range": asked.range, "task": "", "empty": True}
        if not tasks:
            return found
        task = asked.task or tasks[0]
        found |= {"task": task, "complaints": complaints(self._settings.home, task), "drift": drift(self._settings.home, task)}
        if task not in there:
            return found
        question = asked._replace(task=task)
        found |= overview(store, question, declared.get(task, Declared()), at)
        found |= decided(store, task, begin(asked.range, at))
        return found | {"empty": False}

    def _there(self) -> Store:
        """The store; one that was there and is gone is away, and not empty."""
        if self._met and not self._store.exists:
            raise StoreUnavailable("its file is gone", where=f"store: {self._store.file}", how="put it back")
        self._met = self._met or self._store.exists
        return self._store

    async def _read(self, what: Any, read: Any) -> dict[str, Any]:
        try:
            return await self._snapshots.get(what, read)
        except StoreUnavailable as error:
            raise Failed(503, "store_away", str(error), how="the gateway goes on answering; see /health", retry_after=RETRY) from None
