"""Calls that are made on a server. Names, digests and typed values go out, what the calls gave comes back, and the cells are made here."""

import math
import os
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from pp_assets.experiment.calls import Arguments, Caller, Here, done
from pp_assets.experiment.cells import Step
from pp_assets.experiment.exchange import CALLS, CHECK, HEALTH, PROTOCOL
from pp_assets.experiment.ops import Op, Out
from pp_assets.experiment.store import FAILED, REFUSED, Cell
from pp_assets.experiment.wire import pack, place_of
from pp_resources.errors import UserError, nearest
from pp_resources.json_server import JsonServer
from pp_resources.models.price import Price

LOCAL = "local"
PATIENCE = 60.0  # seconds that a server which cannot be reached is waited for


def callers_of(steps: Mapping[str, Step], where: str | Mapping[str, str], prices: Mapping[str, Price]) -> dict[str, Caller]:
    """By step who calls it: this process, or the server at an address."""
    by_step = dict.fromkeys(steps, where) if isinstance(where, str) else dict(where)
    if unknown := by_step.keys() - steps.keys():
        raise UserError(f"no step {min(unknown)!r}", where="where", how=nearest(min(unknown), steps))
    made: dict[str, Caller] = {LOCAL: Here(prices)}
    for address in by_step.values():
        if address not in made:
            made[address] = Remote(JsonServer(address, os.environ.get("PP_EXPERIMENT_KEY"), patience=PATIENCE, health=HEALTH), prices)
    return {name: made[by_step.get(name, LOCAL)] for name in steps}


def asked_op(op: Op, where: str) -> dict[str, Any]:
    """How a request names a step: where its function is, what is bound to it, and what its code is known by."""
    function = op.function
    if isinstance(function, partial):
        if function.args:
            raise UserError("an argument is bound by its place, not by name", where=where, how="functools.partial(function, name=value)")
        function = function.func
    known = {"at": place_of(function, where), "name": op.name, "bound": {name: pack(v, where) for name, v in op.bound.items()}}
    return {**known, "digest": op.fingerprint().digest, "many": op.batch[0] if op.batch else None}


class Remote:
    """The server behind `server`. Costs are reckoned here, by the prices of the experiment."""

    def __init__(self, server: JsonServer, prices: Mapping[str, Price]) -> None:
        self.server, self.prices = server, prices
        self._ops: dict[str, dict[str, Any]] = {}
        self._bytes = 1 << 20  # of a request, until the server has told its limit

    def prepare(self, steps: Sequence[Step]) -> None:
        """Ask whether the server has the same code of all these steps. Raises UserError that says of which it has not."""
        self._ops = {step.name: asked_op(step.op, f"step {step.name!r}") for step in steps}
        parts = [{**self._ops[step.name], "parts": dict(step.op.fingerprint().parts)} for step in steps]
        said = self.server.post(CHECK, orjson.dumps({"protocol": PROTOCOL, "ops": parts}))
        try:
            self._bytes = int(said["bytes"])
        except (KeyError, TypeError, ValueError):
            raise self._nonsense("it does not tell its limit") from None

    def each(self, step: Step, calls: Sequence[Arguments]) -> list[Cell]:
        body = self._body(step, calls, together=False)
        if len(body) > self._bytes and len(calls) > 1:
            half = len(calls) // 2
            return self.each(step, calls[:half]) + self.each(step, calls[half:])
        return self._cells(body, calls)

    def together(self, step: Step, calls: Sequence[Arguments]) -> list[Cell]:
        return self._cells(self._body(step, calls, together=True), calls)

    def hurry(self) -> None:
        self.server.end()

    def _body(self, step: Step, calls: Sequence[Arguments], *, together: bool) -> bytes:
        where = f"step {step.name!r}"
        # A long prompt, or a model, goes once: it is one object in all of them.
        shared = [name for name in calls[0] if len(calls) > 1 and all(call[name] is calls[0][name] for call in calls)]
        request = {
            "protocol": PROTOCOL,
            "id": uuid.uuid4().hex,  # the same request, made again, is not another one
            "op": self._ops[step.name],
            "together": together,
            "shared": {name: pack(calls[0][name], where) for name in shared},
            "calls": [{name: pack(value, where) for name, value in call.items() if name not in shared} for call in calls],
        }
        return orjson.dumps(request)

    def _cells(self, body: bytes, calls: Sequence[Arguments]) -> list[Cell]:
        said = self.server.post(CALLS, body)
        answers = said.get("answers") if isinstance(said, dict) else None
        if not isinstance(answers, list) or len(answers) != len(calls):
            raise self._nonsense(f"no {len(calls)} answers to {len(calls)} calls")
        return [self._cell(answer, call) for answer, call in zip(answers, calls)]

    def _cell(self, answer: Any, call: Arguments) -> Cell:
        try:
            seconds = _amount(answer["seconds"])
            if "error" in answer:
                if answer["status"] not in (FAILED, REFUSED):
                    raise ValueError(f"a status {answer['status']!r}")
                return Cell(answer["status"], str(answer["error"]).encode(), seconds)
            tokens = [int(_amount(answer[name])) for name in ("tokens_in", "tokens_out")]
            cost = None if answer["cost_usd"] is None else _amount(answer["cost_usd"])
            return done(Out(answer["value"], tokens[0], tokens[1], cost), call, self.prices, seconds)
        except (KeyError, TypeError, ValueError) as error:
            raise self._nonsense(f"an answer that is none: {error}") from None

    def _nonsense(self, why: str) -> UserError:
        return UserError(f"does not answer as an experiment server does ({why})", where=self.server.url, how="check address and version")


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"an amount of {value!r}")
    return value
