"""The gateway of one process: what is served now, how it is kept, and the work that goes on beside requests."""

import asyncio
import gc
import sys
import time
import traceback
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pp_gateway.jobs.launcher import Launcher
from pp_gateway.serve.build import Builder
from pp_gateway.serve.embeddings import Embeddings
from pp_gateway.serve.function import Call, Function, check_form
from pp_gateway.serve.generation import Generation
from pp_gateway.serve.handoff import Room
from pp_gateway.serve.keys import Gatekeeper
from pp_gateway.serve.logbook import Logbook
from pp_gateway.serve.metrics import Metrics
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import UserError, nearest
from pp_resources.store.ids import now, uuid7
from pp_resources.store.recorder import Recorder
from pp_resources.store.work import QueueItem

COPIES = 64  # that may be under way at once; more are left out
RETRY = 1.0
GONE = "the caller went away"


class Gateway:
    """Belongs to one event loop. `recorder` None keeps nothing, whatever is configured."""

    def __init__(self, builder: Builder, first: Generation, recorder: Recorder | None, *, workers: int = 1) -> None:
        self.builder, self.recorder, self.now = builder, recorder, first
        self.logbook = Logbook(recorder, first.config.logging)
        self.keeper, self.metrics, self.began = Gatekeeper(workers), Metrics(), time.time()
        self.embeddings, self.room = Embeddings(builder), Room(recorder.store if recorder else None)
        self.launcher: Launcher | None = None
        self.in_flight = self.followers = 0
        self.ending = asyncio.Event()  # what goes on for as long as somebody listens ends by itself
        self.last_reload: dict[str, Any] = {"ok": True, "at": now(), "error": None}
        self.retired: list[Generation] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._lasting: set[asyncio.Task[Any]] = set()
        self._reloading = asyncio.Lock()
        self._follow()
        self.metrics.gauge("pp_in_flight", "requests that are being answered", lambda: self.in_flight)
        self.metrics.gauge("pp_waiting_texts", "texts that wait for a model", lambda: sum(queue.waiting for queue in self.now.batchers))
        if recorder:
            self.metrics.gauge("pp_journal_bytes", "rows that only the journal holds", lambda: recorder.status()["journal_bytes"])

    def function(self, name: str) -> Function:
        """Raises Refused for a name that is none."""
        found = self.now.functions.get(name)
        if found is None:
            raise Refused(
                404, "unknown_function", f"{name!r} is no task that is served", how=nearest(name, self.now.functions), param="model"
            )
        return found

    @contextmanager
    def using(self) -> Iterator[Generation]:
        """What is served now stays whole until the block ends. Raises Failed where too much is under way."""
        generation = self.now
        if self.in_flight >= generation.config.in_flight:
            raise Failed(503, "overloaded", f"{self.in_flight} requests are under way", how="send less, or later", retry_after=RETRY)
        generation.used += 1
        self.in_flight += 1
        try:
            yield generation
        finally:
            generation.used -= 1
            self.in_flight -= 1
            if self.retired:
                self._let_go()

    async def answer(self, function: Function, call: Call, *, form: Any = None, keep: bool = True) -> None:
        """Answer a call and keep it. Raises Failed; a call that nobody could answer, or waits for any more, is kept as well."""
        try:
            await function.answer(call)
            check_form(call, form)
            await function.look_over(call)
        except asyncio.CancelledError:
            call.error = GONE
            self.background(self.keep(function, call, keep))
            raise
        except Refused:
            raise
        except Failed as error:
            call.error = call.error or error.what
            await self.keep(function, call, keep)
            raise
        await self.keep(function, call, keep)

    async def stream(self, function: Function, call: Call, *, form: Any = None, keep: bool = True) -> AsyncIterator[str]:
        """The same piece by piece. It is kept before the iterator ends, also where nobody listens any more."""
        done = False
        try:
            async for piece in function.stream(call):
                yield piece
            check_form(call, form)
            await function.look_over(call)
            done = True
            await self.keep(function, call, keep)
        except Failed as error:
            if not done and not isinstance(error, Refused):
                call.error, done = call.error or error.what, True
                await self.keep(function, call, keep)
            raise
        finally:
            if not done and call.variant and call.error is None:
                call.error = GONE
                self.background(self.keep(function, call, keep))

    async def keep(self, function: Function, call: Call, keep: bool = True) -> None:
        """Count a call, store its row, and send copies to shadow variants."""
        name, said = function.name, call.said
        outcome = "error" if call.error else "invalid" if call.valid is False else "ok"
        for one in call.chain:
            self.metrics.fallback(name, one["variant"], one["code"])
        try:
            if keep:
                await self.logbook.note(function.row(call), self._item(function, call))
        finally:
            self.metrics.answer(name, call.variant, outcome, call.latency_ms / 1000)
            if said is not None:
                self.metrics.spent(name, call.variant, said.tokens_in, said.tokens_out, said.cost)
        if keep and said is not None and not call.shadow and call.pinned is None:
            for variant in function.copies(call):
                self._copy(function, call, variant)

    def _item(self, function: Function, call: Call) -> QueueItem | None:
        """What is queued of an answer, as long as the queue has room."""
        item = function.item(call)
        if item is None or call.doubt is None or not self.logbook.keeps:
            return None
        if self.room.stale:
            self.background(self.room.refresh())
        handoff = function.serving.handoff
        room = handoff is not None and self.room.take(function.name, handoff.most_open)
        self.metrics.handoff(function.name, call.doubt.reason, "queued" if room else "no room")
        call.item = item.id if room else None
        return item if room else None

    def background(self, work: Coroutine[Any, Any, Any], *, lasting: bool = False) -> None:
        """Work that nobody waits for; `lasting` until the gateway ends."""
        task = asyncio.get_running_loop().create_task(work)
        (self._lasting if lasting else self._background).add(task)
        task.add_done_callback(self._ended)

    async def idle(self) -> None:
        """Wait until all work is done that nobody waits for: copies, rows of those who went away."""
        while self._background:
            await asyncio.wait(self._background)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        self._lasting.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, Failed):  # those are counted where they happen
            traceback.print_exception(error, file=sys.stderr)

    async def reload(self) -> Mapping[str, Any]:
        """Read everything again and serve it, when all of it is sound; else what was served before goes on. Tells which."""
        async with self._reloading:
            try:
                made = await self.builder.build()
            except UserError as error:
                self.last_reload = {"ok": False, "at": now(), "error": str(error)}
            except Exception as error:  # whatever is wrong with a new model, the old one goes on
                self.last_reload = {"ok": False, "at": now(), "error": f"{type(error).__name__}: {error}"[:500]}
            else:
                self.retired.append(self.now)
                self.now, self.logbook.mode = made, made.config.logging
                self._follow()
                self.last_reload = {"ok": True, "at": now(), "error": None}
                self._let_go()
            self.metrics.reload("done" if self.last_reload["ok"] else "refused")
            return self.last_reload

    async def watch(self) -> None:
        """Reload when files have changed, for ever."""
        seen = self.builder.watched()
        while True:
            await asyncio.sleep(self.now.config.reload_seconds or 1.0)
            if not self.now.config.reload_seconds:
                continue
            found = await asyncio.to_thread(self.builder.watched)
            if found != seen:
                seen = found
                await self.reload()

    async def close(self) -> None:
        """End what goes on beside requests."""
        self.ending.set()
        for task in [*self._background, *self._lasting]:
            task.cancel()
        self.metrics.hand_over()
        if self.builder.decisions:
            self.builder.decisions.close()
        self.builder.close()
        if self.recorder:
            await asyncio.to_thread(self.recorder.close)

    def _follow(self) -> None:
        """Hear of decisions on the tasks that are served."""
        if self.builder.decisions:
            self.builder.decisions.tasks = [name for name, one in self.now.functions.items() if one.serving.routing]

    def _copy(self, function: Function, call: Call, variant: str) -> None:
        if len(self._background) >= COPIES:
            self.metrics.copy(function.name, variant, "left out")
            return
        asked = replace(call.asked, low=True, ends=time.monotonic() + function.serving.timeout, schema=None)
        tags = {**call.tags, "shadow_of": call.id}
        copy = Call(asked, call.episode, variant, tags, call.subject, id=uuid7(), shadow=True)
        generation = next(one for one in (self.now, *self.retired) if one.functions.get(function.name) is function)
        generation.used += 1
        self.background(self._answer_copy(generation, function, copy))

    async def _answer_copy(self, generation: Generation, function: Function, copy: Call) -> None:
        outcome = "failed"
        try:
            await self.answer(function, copy)
            outcome = "done"
        except Failed:
            pass  # its row tells why
        finally:
            generation.used -= 1
            if self.retired:
                self._let_go()
            self.metrics.copy(function.name, str(copy.pinned), outcome)

    def _let_go(self) -> None:
        """Free what only generations used that nobody is in any more."""
        left = [one for one in self.retired if one.used]
        if len(left) == len(self.retired):
            return
        for one in self.retired:
            if not one.used:
                for queue in one.batchers:
                    queue.close()
        self.retired = left
        if not left:
            self.background(self._sweep())

    async def _sweep(self) -> None:
        """Unload what nothing that is served was made of; never beside a build, whose models are in no generation yet."""
        async with self._reloading:
            if not self.retired:
                await asyncio.get_running_loop().run_in_executor(self.builder.loader, self.builder.keep, self.now.model_keys)
                if gc.get_freeze_count():  # by `process`; a model that went may stand in a cycle of what is spared
                    gc.unfreeze()
                    gc.collect()
                    gc.freeze()
