"""Reading what is asked of the job routes, and the kinds of refusals that they have."""

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from pp_assets.flows.catalogue import KINDS, Kind
from pp_gateway.jobs.records import STATES, without_paths
from pp_gateway.serve.requests import Id, read
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import UserError, nearest
from pp_resources.settings import Settings
from pp_resources.store.engine import StoreUnavailable

LAST = 2**53  # beyond it numbers are not exact in every client
PAGE = 100
KEY = "idempotency_key"
Asked = TypeVar("Asked")


class JobRequest(BaseModel):
    """A job of any kind; `request` is what the kind's own path takes."""

    model_config = ConfigDict(extra="forbid", strict=True)
    kind: str = Field(max_length=64)
    request: dict[str, Any]
    idempotency_key: Id | None = Field(default=None, description="equal keys are one job; also as the header Idempotency-Key")


class _Keyed(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    idempotency_key: Id | None = None


async def body_of(request: Request) -> bytes:
    """The body, which is JSON. Its size was looked at before."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "not_json", "the request is not JSON", how="send application/json")
    return await request.body()


def kind_of(name: str) -> Kind:
    """Raises Refused for one that is unknown."""
    if name not in KINDS:
        raise Refused(400, "unknown_kind", f"{name!r} is no kind of job", how=nearest(name, KINDS), param="kind")
    return KINDS[name]


def split(body: bytes) -> tuple[bytes, str | None]:
    """A flow's own request, and the idempotency key that stands in it."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "wrong_request", f"not JSON: {error}") from None
    if not isinstance(value, dict) or KEY not in value:
        return body, None
    key = read(_Keyed, body).idempotency_key
    del value[KEY]
    return orjson.dumps(value), key


def key_of(request: Request, own: str | None) -> str | None:
    """The idempotency key, from the body or else the header."""
    given = own or request.headers.get("idempotency-key")
    if given is None:
        return None
    try:
        return _Keyed(idempotency_key=given).idempotency_key
    except ValidationError:
        raise Refused(400, "wrong_request", "the idempotency key is not 1 to 128 printable characters", param=KEY) from None


def refused(error: UserError, settings: Settings) -> Refused:
    """Bad input as the other routes tell it."""
    told = [without_paths(text, settings) for text in (error.what, error.where, error.how)]
    return Refused(400, "wrong_request", told[0], how=told[2], param=told[1] or None)


def away() -> Failed:
    return Failed(503, "store_unavailable", "the store of jobs cannot be reached", how="ask again later", retry_after=1.0)


def asked_of_store(call: Callable[..., Asked], *values: Any) -> Asked:
    """A call to the store, whose absence is 503."""
    try:
        return call(*values)
    except StoreUnavailable:
        raise away() from None


def number(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of 0 to `most` from the query."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or int(text) > most:
        raise Refused(400, "wrong_request", f"{name} is not a whole number of 0 to {most}", param=name)
    return int(text)


def after_of(request: Request) -> int:
    """The number of the last event that the client has: `after`, or what an EventSource sends when it comes back."""
    last = request.headers.get("last-event-id", "")
    known = int(last) if last.isascii() and last.isdigit() and len(last) <= 16 else 0
    return number(request, "after", min(known, LAST), LAST)


def choice(request: Request, name: str, allowed: tuple[str, ...]) -> str | None:
    """A value of the query that is one of some."""
    given = request.query_params.get(name)
    if given is not None and given not in allowed:
        raise Refused(400, "wrong_request", f"{name} is none of {', '.join(allowed)}", how=nearest(given, allowed), param=name)
    return given


def states_of(request: Request) -> list[str] | None:
    """`state`, once or more."""
    given = request.query_params.getlist("state")
    for one in given:
        if one not in STATES:
            raise Refused(400, "wrong_request", f"state is none of {', '.join(STATES)}", how=nearest(one, STATES), param="state")
    return given or None


def check_query(request: Request, known: tuple[str, ...]) -> None:
    """Raises Refused for a name that the route does not take."""
    for name in request.query_params:
        if name not in known:
            raise Refused(400, "wrong_request", f"unknown parameter {name!r}"[:200], how=nearest(name, known), param="query")
