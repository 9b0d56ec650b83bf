"""One call of a step: at its pace, with patience, and what it gave as a cell."""

import random
import threading
import time
from collections.abc import Mapping
from typing import Any

import orjson

from pp_assets.experiment.ops import Op, Out, Price, Refused, label, price_of
from pp_assets.experiment.store import DONE, FAILED, REFUSED, Cell
from pp_assets.experiment.values import as_json
from pp_resources.errors import UserError

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
