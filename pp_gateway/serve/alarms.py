"""What is due at a moment unless it is taken back before, as nearly all is: one timer of the event loop for all of it."""

import asyncio
from collections.abc import Callable
from typing import Any

LATE = 0.02  # seconds between two looks at what is due


class Alarms:
    """Calls that wait for their time, up to LATE seconds longer than that. Setting one and taking it back costs a twentieth of what a timer
    of uvloop does. Belongs to one event loop."""

    def __init__(self) -> None:
        self._calls: dict[Any, tuple[float, Callable[[], None]]] = {}
        # Its time stands beside it: of a timer whose time has come uvloop makes a plain handle, which knows none.
        self._timer: tuple[asyncio.Handle, float] | None = None

    def set(self, key: Any, seconds: float, call: Callable[[], None]) -> None:
        """Have something called after so many seconds, by a key of one's own."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._calls[key] = due, call
        if self._timer is None or due < self._timer[1] - LATE:
            self._look_at(due)

    def drop(self, key: Any) -> None:
        """Take back what is not due yet."""
        self._calls.pop(key, None)

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer[0].cancel()
        self._timer = asyncio.get_running_loop().call_at(moment, self._look), moment

    def _look(self) -> None:
        self._timer, moment = None, asyncio.get_running_loop().time()
        for key in [key for key, (due, _) in self._calls.items() if due <= moment]:
            if (found := self._calls.pop(key, None)) is not None:  # a call may take others back
                found[1]()
        if self._calls:
            self._look_at(max(moment + LATE, min(due for due, _ in self._calls.values())))


class Interruptible:
    """A block that `interrupt` ends from outside: within it that is a CancelledError, and `over` tells at its end that it was no other."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before, self.interrupted = task, task.cancelling(), False

    def interrupt(self) -> None:
        self.interrupted = True
        self._task.cancel()

    def over(self, error: type[BaseException] | None) -> bool:
        """Whether the block was left because of `interrupt`, and nobody else wants the task to end."""
        if not self.interrupted or self._task.uncancel() > self._before:
            return False
        return error is not None and issubclass(error, asyncio.CancelledError)
