"""What a server of experiments and those who ask it say to each other: requests, answers, refusals."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pp_assets.experiment.calls import ended
from pp_assets.experiment.ops import Out
from pp_assets.experiment.store import FAILED
from pp_assets.experiment.values import as_json
from pp_resources.errors import UserError

PROTOCOL = 1
HEALTH, CHECK, CALLS = "/v1/health", "/v1/check", "/v1/calls"
BAD, FORBIDDEN, UNKNOWN, OTHER = 400, 403, 404, 409


class Refusal(UserError):
    """A request that is not done, with the HTTP status that says so."""

    def __init__(self, status: int, what: str, *, where: str = "", how: str = "") -> None:
        self.status = status
        super().__init__(what, where=where, how=how)


def read_request(body: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises Refusal for another one, or of another version."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(BAD, f"the request is not JSON ({error})", where="request") from error
    if not isinstance(request, dict) or request.get("protocol") != PROTOCOL:
        raise Refusal(BAD, "the request is of another version", where="request", how=f"this server speaks version {PROTOCOL}")
    return request


def late(seconds: float) -> dict[str, Any]:
    """The answer to a call that took too long."""
    return {"status": FAILED, "error": f"TimeoutError: no answer within {seconds:g} s on the server", "seconds": seconds}


def count_of(request: Mapping[str, Any]) -> int:
    """How many calls a request has."""
    return len(objects_of(request, "calls"))


def objects_of(request: Mapping[str, Any], name: str) -> list[Any]:
    """A list of objects in a request. Raises Refusal for anything else."""
    found = request.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Refusal(BAD, f"{name!r} is no list of objects", where="request")
    return found


def document(answers: Sequence[Mapping[str, Any]]) -> bytes:
    """The answer to a request: one for each of its calls."""
    return orjson.dumps({"answers": list(answers)})


def answered(given: Any, _arguments: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The answer to a call that gave this. Raises what a cell of it would."""
    out = given if isinstance(given, Out) else Out(given)
    value = orjson.Fragment(orjson.dumps(as_json(out.value)))
    return {"value": value, "tokens_in": out.tokens_in, "tokens_out": out.tokens_out, "cost_usd": out.cost_usd, "seconds": seconds}


def failed(error: Exception, seconds: float) -> dict[str, Any]:
    """The answer to a call that gave nothing."""
    cell = ended(error, seconds)
    return {"status": cell.status, "error": cell.value.decode(), "seconds": seconds}
