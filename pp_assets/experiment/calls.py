"""Calls of a step: at its pace, with patience, and what they gave as cells."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import orjson

from pp_assets.experiment.cells import Step
from pp_assets.experiment.ops import Op, Out, Refused, label, price_of
from pp_assets.experiment.store import DONE, FAILED, REFUSED, Cell
from pp_assets.experiment.values import as_json
from pp_resources.errors import UserError
from pp_resources.models.price import Price

T = TypeVar("T")
Arguments = Mapping[str, Any]
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before a call is made again, doubled each time


class Pace:
    """At most so many calls a minute, however many workers there are."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._gap
        time.sleep(mine - now)


def patiently(op: Op, arguments: Mapping[str, Any], pace: Pace) -> Any:
    """Call, and again with growing pauses where it fails; a refusal is an answer."""
    for attempt in range(op.retries + 1):
        pace.wait()
        try:
            return op(**arguments)
        except (Refused, UserError):
            raise
        except Exception:
            if attempt == op.retries:
                raise
            # Half of the pause by chance, so that workers who failed together do not come back together.
            time.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0))
    raise AssertionError


def done(given: Any, arguments: Mapping[str, Any], prices: Mapping[str, Price], seconds: float) -> Cell:
    """The cell of what a call gave. Raises NotData when that is no JSON value."""
    out = given if isinstance(given, Out) else Out(given)
    cost = out.cost_usd
    if cost is None and (out.tokens_in or out.tokens_out):
        name, price = price_of(arguments)
        price = price or prices.get(name or str(label(arguments.get("model", ""))))
        cost = price.of(out.tokens_in, out.tokens_out) if price is not None else None
    return Cell(DONE, orjson.dumps(as_json(out.value)), seconds, out.tokens_in, out.tokens_out, cost)


def ended(error: Exception, seconds: float) -> Cell:
    """The cell of a call that gave nothing. A UserError is of the experiment, not of the call, and is raised again."""
    if isinstance(error, UserError):
        raise error
    status = REFUSED if isinstance(error, Refused) else FAILED
    return Cell(status, f"{type(error).__name__}: {error}".encode(errors="replace"), seconds)


def one_by_one(
    op: Op, calls: Sequence[Arguments], pace: Pace, finish: Callable[[Any, Arguments, float], T], fail: Callable[[Exception, float], T]
) -> Iterator[T]:
    """Make these calls; `finish` has what each gave, its arguments and seconds, `fail` the error of one that gave nothing."""
    for arguments in calls:
        began = time.perf_counter()
        try:
            given = patiently(op, arguments, pace)
            yield finish(given, arguments, time.perf_counter() - began)
        except Exception as error:
            yield fail(error, time.perf_counter() - began)


def together(
    op: Op, calls: Sequence[Arguments], pace: Pace, finish: Callable[[Any, Arguments, float], T], fail: Callable[[Exception, float], T]
) -> list[T]:
    """The same as one call of an op that takes batches; the calls differ in the argument that it takes many of, and in no other."""
    assert op.batch is not None
    many = op.batch[0]
    began = time.perf_counter()
    try:
        given = list(patiently(op, {**calls[0], many: [call[many] for call in calls]}, pace))
        if len(given) != len(calls):
            raise ValueError(f"gave {len(given)} answers to {len(calls)} inputs")
    except Exception as error:
        return [fail(error, (time.perf_counter() - began) / len(calls)) for _ in calls]
    each = (time.perf_counter() - began) / len(calls)
    made = []
    for arguments, value in zip(calls, given):
        try:
            made.append(finish(value, arguments, each))
        except Exception as error:
            made.append(fail(error, each))
    return made


class Caller(Protocol):
    """Where the calls of a step are made."""

    def prepare(self, steps: Sequence[Step]) -> None:
        """Look whether these steps can be called there. Raises UserError."""

    def each(self, step: Step, calls: Sequence[Arguments]) -> list[Cell]:
        """A cell for each call."""

    def together(self, step: Step, calls: Sequence[Arguments]) -> list[Cell]:
        """The same for a step that takes batches, called once."""

    def hurry(self) -> None:
        """The run has ended: wait for nothing that has not begun."""


class Here:
    """In this process."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self._paces: dict[str, Pace] = {}

    def prepare(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._paces[step.name] = Pace(step.op.per_minute)

    def each(self, step: Step, calls: Sequence[Arguments]) -> list[Cell]:
        return list(one_by_one(step.op, calls, self._paces[step.name], self._done, ended))

    def together(self, step: Step, calls: Sequence[Arguments]) -> list[Cell]:
        return together(step.op, calls, self._paces[step.name], self._done, ended)

    def hurry(self) -> None: ...

    def _done(self, given: Any, arguments: Arguments, seconds: float) -> Cell:
        return done(given, arguments, self._prices, seconds)
