"""Rows on their way to the store: personal data masked, acknowledged before an answer is given, without a thread switch for each."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, TypeVar

from pp_assets.data.clean import Mask
from pp_assets.serving.spec import Redact
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.group import Results
from pp_resources.store.recorder import BY_JOURNAL, Recorder
from pp_resources.store.rows import Ack, Feedback, Inference, Row
from pp_resources.store.work import QueueItem

Kept = TypeVar("Kept", Inference, Feedback)
Mode = Literal["durable", "async", "off"]
TEXTS = ("input", "output", "answer", "comment", "error")
MOST = 20_000  # rows that may wait for those before them
RETRY = 5.0  # seconds after which a caller may hope for a disk with room


class Logbook:
    """Hands rows to a recorder. Belongs to one event loop."""

    def __init__(self, recorder: Recorder | None, mode: Mode) -> None:
        self._recorder, self.mode = recorder, mode
        self.counts: Counter[str] = Counter()
        if recorder is not None:
            self._answers, self._others = _Lane(recorder, self.counts), _Lane(recorder, self.counts)

    @property
    def keeps(self) -> bool:
        """Whether answers are kept at all."""
        return self.mode != "off" and self._recorder is not None

    async def note(self, row: Inference, item: QueueItem | None = None) -> None:
        """Keep an answer, and that a person should look at it, in the way that is configured. Raises Failed when it must be on disk and
        cannot be."""
        if not self.keeps:
            return
        if self.mode == "durable":
            # Both are handed in before either is awaited: they go to disk together.
            await (self.write(row) if item is None else asyncio.gather(self.write(row), self.write(item)))
            return
        self._answers.add(row, None)
        if item is not None:
            self._answers.add(item, None)

    async def write(self, row: Row) -> Ack:
        """The row's Ack, once it is on disk. Raises Refused where the store says no, Failed where nothing can be written."""
        if self._recorder is None:
            raise Failed(503, "no_store", "this gateway keeps nothing")
        waiting: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        (self._answers if isinstance(row, BY_JOURNAL) else self._others).add(row, waiting)
        try:
            return await waiting
        except StoreUnavailable as error:
            raise Failed(503, "not_recorded", str(error), retry_after=RETRY) from None
        except UserError as error:
            raise Refused(409, "conflict", str(error)) from None


class _Lane:
    """Rows that are handed over together: all that have come while those before them were written. A row costs the loop a future and its
    place in a list; threads are told, and tell, once for all."""

    def __init__(self, recorder: Recorder, counts: Counter[str]) -> None:
        self._recorder, self._counts = recorder, counts
        self._loop = asyncio.get_running_loop()
        self._rows: list[Row] = []
        self._waiting: list[asyncio.Future[Ack] | None] = []
        self._busy = False

    def add(self, row: Row, waiting: "asyncio.Future[Ack] | None") -> None:
        """`waiting` hears of the row's Ack, or why there is none."""
        if len(self._rows) >= MOST:
            self._end([StoreUnavailable(f"{MOST} rows are waiting", where="gateway", how="send less, or later")], [waiting])
            return
        self._rows.append(row)
        self._waiting.append(waiting)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)  # with what else this turn of the loop brings

    def _hand_over(self) -> None:
        rows, waiting = self._rows, self._waiting
        self._rows, self._waiting = [], []
        try:
            # No wait in the event loop: a full queue is a refusal.
            self._recorder.submit_all(rows, 0.0).add_done_callback(lambda done: self._written(done, waiting))
        except StoreUnavailable as error:
            self._told([error] * len(rows), waiting)

    def _written(self, done: "Future[Results]", waiting: "list[asyncio.Future[Ack] | None]") -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it those who waited
            self._loop.call_soon_threadsafe(self._told, done.result(), waiting)

    def _told(self, results: Results, waiting: "list[asyncio.Future[Ack] | None]") -> None:
        self._end(results, waiting)
        self._busy = bool(self._rows)
        if self._busy:
            self._hand_over()

    def _end(self, results: Results, waiting: "list[asyncio.Future[Ack] | None]") -> None:
        for result, future in zip(results, waiting, strict=True):
            failed = isinstance(result, Exception)
            self._counts["lost" if isinstance(result, StoreUnavailable) else "refused" if failed else _place(result)] += 1
            if future is None or future.done():
                continue
            future.set_exception(result) if isinstance(result, Exception) else future.set_result(result)


def _place(ack: Any) -> str:
    return "journaled" if ack.journaled else "stored"


class Redactor:
    """Masks what must not be stored, by kinds of personal data and by expressions of one's own."""

    def __init__(self, rules: Sequence[Redact]) -> None:
        self._kinds = {kind for rule in rules for kind in rule.kinds}
        self._patterns = [(f"[{name.upper()}]", re.compile(pattern)) for rule in rules for name, pattern in rule.patterns.items()]

    def row(self, row: Kept) -> Kept:
        """The row with its texts, steps and tags masked; within one row the same value has the same placeholder."""
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
            if steps := row.decision.get("reasoning"):
                changes["decision"] = {**row.decision, "reasoning": [masked(step) for step in steps]}
        return replace(row, **changes)
