"""Answers that go to a person as well: which, beside the request's own work, and whether the queue has room for them."""

import asyncio
from contextlib import suppress
from time import monotonic

from pp_assets.serving.doubt import Doubt, doubt_of, judge
from pp_assets.serving.spec import Handoff
from pp_assets.task.contract.spec import Contract
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store
from pp_resources.store.read_queue import waiting

FRESH = 2.0  # seconds for which counts of the queue are believed


class Doubter:
    """The rules of one function. `contract` is there where they ask for it."""

    def __init__(self, task: str, rules: Handoff, key: str, contract: Contract | None) -> None:
        self._task, self.rules, self._key, self._contract = task, rules, key, contract

    async def doubt(self, id: str, text: str, output: str, confidence: float | None, valid: bool | None) -> Doubt | None:
        """Why an answer goes to a person, None where it does not."""
        judged = None
        if self._contract is not None:
            # A contract may ask functions of the user's own: not in the event loop.
            try:
                judged = await asyncio.to_thread(judge, self.rules, self._contract, text, output)
            except UserError as error:
                judged = {"score": None, "why": str(error)}
        return doubt_of(self.rules, task=self._task, id=id, key=self._key, confidence=confidence, valid=valid, judged=judged)


class Room:
    """How many items wait, as far as this process knows: the store is asked beside requests, so the limit holds roughly."""

    def __init__(self, store: Store | None) -> None:
        self._store, self._read_at, self._waiting = store, float("-inf"), dict[str, int]()

    def take(self, task: str, most: int) -> bool:
        """Whether there is room for one more, which is counted."""
        known = self._waiting.get(task, 0)
        if known >= most:
            return False
        self._waiting[task] = known + 1
        return True

    @property
    def stale(self) -> bool:
        return self._store is not None and monotonic() - self._read_at > FRESH

    async def refresh(self) -> None:
        """Ask the store; while it is away what was known goes on."""
        self._read_at = monotonic()
        if self._store is None or not self._store.exists:
            return
        with suppress(StoreUnavailable):
            found = await asyncio.to_thread(waiting, self._store)
            self._waiting = {task: one.open + one.claimed for task, one in found.items()}
