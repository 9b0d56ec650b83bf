"""Rows on their way to the store: personal data masked, acknowledged before an answer is given, without a thread switch for each."""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeVar

from pp_assets.data.clean import Mask
from pp_assets.serving.spec import Redact
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.rows import Ack, Feedback, Inference, Row
from pp_resources.store.work import QueueItem

Kept = TypeVar("Kept", Inference, Feedback)
Mode = Literal["durable", "async", "off"]
TEXTS = ("input", "output", "answer", "comment", "error")
RETRY = 5.0  # seconds after which a caller may hope for a disk with room


class Writer(Protocol):
    """What the gateway needs of a Recorder."""

    def submit(self, row: Row, wait: float = ...) -> "Future[Ack]": ...


class Logbook:
    """Hands rows to a recorder. Belongs to one event loop."""

    def __init__(self, writer: Writer | None, mode: Mode) -> None:
        self._writer, self.mode = writer, mode
        self._loop = asyncio.get_running_loop()
        self._done: deque[tuple[asyncio.Future[Ack], Future[Ack]]] = deque()
        self._woken = False
        self.counts: Counter[str] = Counter()

    @property
    def keeps(self) -> bool:
        """Whether answers are kept at all."""
        return self.mode != "off" and self._writer is not None

    async def note(self, row: Inference, item: QueueItem | None = None) -> None:
        """Keep an answer, and that a person should look at it, in the way that is configured. Raises Failed when it must be on disk and
        cannot be."""
        if not self.keeps:
            return
        if self.mode == "durable":
            # Both are handed in before either is awaited: mostly they share a transaction.
            await (self.write(row) if item is None else asyncio.gather(self.write(row), self.write(item)))
            return
        assert self._writer is not None
        for one in (row, item):
            if one is not None:
                try:
                    self._writer.submit(one, 0.0).add_done_callback(self._count)
                except StoreUnavailable:
                    self.counts["lost"] += 1

    async def write(self, row: Row) -> Ack:
        """The row's Ack, once it is on disk. Raises Refused where the store says no, Failed where nothing can be written."""
        if self._writer is None:
            raise Failed(503, "no_store", "this gateway keeps nothing")
        try:
            ack = await self._submitted(row)
        except StoreUnavailable as error:
            self.counts["lost"] += 1
            raise Failed(503, "not_recorded", str(error), retry_after=RETRY) from None
        except UserError as error:
            self.counts["refused"] += 1
            raise Refused(409, "conflict", str(error)) from None
        self.counts["journaled" if ack.journaled else "stored"] += 1
        return ack

    def _submitted(self, row: Row) -> "asyncio.Future[Ack]":
        assert self._writer is not None
        waiting: asyncio.Future[Ack] = self._loop.create_future()
        # No wait in the event loop: a full queue is a refusal.
        self._writer.submit(row, 0.0).add_done_callback(lambda done: self._ended(waiting, done))
        return waiting

    def _ended(self, waiting: "asyncio.Future[Ack]", done: "Future[Ack]") -> None:
        # Rows of one transaction end together: the loop is woken once for all of them.
        self._done.append((waiting, done))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._woken = False
        while self._done:
            waiting, done = self._done.popleft()
            if waiting.done():
                continue
            error = done.exception()
            if error is not None:
                waiting.set_exception(error)
            else:
                waiting.set_result(done.result())

    def _count(self, done: "Future[Ack]") -> None:
        self.counts["lost" if done.exception() else "journaled" if done.result().journaled else "stored"] += 1


class Redactor:
    """Masks what must not be stored, by kinds of personal data and by expressions of one's own."""

    def __init__(self, rules: Sequence[Redact]) -> None:
        self._kinds = {kind for rule in rules for kind in rule.kinds}
        self._patterns = [(f"[{name.upper()}]", re.compile(pattern)) for rule in rules for name, pattern in rule.patterns.items()]

    def row(self, row: Kept) -> Kept:
        """The row with its texts and tags masked; within one row the same value has the same placeholder."""
        if not self._kinds and not self._patterns:
            return row
        mask = Mask(self._kinds)

        def masked(text: str) -> str:
            for placeholder, pattern in self._patterns:
                text = pattern.sub(placeholder, text)
            return mask.text(text)

        changes: dict[str, Any] = {name: masked(text) for name in TEXTS if (text := getattr(row, name, None))}
        if isinstance(row, Inference):
            changes["tags"] = {name: masked(text) for name, text in row.tags.items()}
        return replace(row, **changes)
