"""Requests that were let in and answers to them, and how a refusal looks in either protocol."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.said import Failed, Refused

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
PASSED = (429, 503, 504)  # statuses of an upstream that mean the same to whoever asked us


@dataclass(slots=True)
class Http:
    """A request that was let in. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    caller: str


@dataclass(slots=True)
class Reply:
    """An answer: whole, or as `events`, each sent when it is there."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = b"application/json"
    events: AsyncIterator[bytes] | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


Handler = Callable[[Gateway, Http], Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """`openai` says how refusals look; `free` ones ask for no key and count for no limit. A path that ends in "/" holds all below it."""

    method: str
    path: str
    handler: Handler
    openai: bool = False
    free: bool = False


def public_status(error: Failed) -> int:
    """A refusal by an upstream is not one of the caller: its key, its model or its prompt are ours."""
    if error.code == "upstream_error" and error.status not in PASSED and not isinstance(error, Refused):
        return 502
    return error.status


def refusal(error: Failed, openai: bool) -> Reply:
    """OpenAI's form, or {"error": {what, code, how}}."""
    status = public_status(error)
    param = getattr(error, "param", None)
    if openai:
        kind = TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        message = f"{error.what}; {error.how}" if error.how else error.what
        body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": error.code}}
    else:
        body = {"error": {"what": error.what, "code": error.code, "how": error.how, "where": param}}
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, -int(-error.retry_after // 1))))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Reply(orjson.dumps(body), status, headers=headers)


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + (value if isinstance(value, bytes) else orjson.dumps(value)) + b"\n\n"
