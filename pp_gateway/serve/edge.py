"""The door: every request comes through here, is let in or not, and gets an answer in the form of its protocol, whatever goes wrong.

Hot routes are found by path and never see Starlette: finding one of five routes, reading the body and answering takes it 19 µs, this 6 (the
medians of two times 3,000 calls). What is mounted beside them (pages, other groups of routes) comes behind the same keys and limits.
"""

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from pp_gateway.serve.alarms import Alarms, Interruptible
from pp_gateway.serve.connection import WHOLE
from pp_gateway.serve.exchange import Http, Reply, Route, event, refusal
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import UserError

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
DRAINED = 8  # times the limit: so much of what is too large is read, since who is still sending hears no answer
LONG = 0.05  # seconds after which it is looked whether whoever asked is still there


class Edge:
    """An ASGI application over a gateway that `start` makes; `beside` is another one, for all paths that no route has, `free` are those of
    them that ask for no key."""

    def __init__(self, start: Callable[[], Awaitable[Gateway]], routes: list[Route], beside: Any, free: Collection[str] = ()) -> None:
        self._start, self._beside = start, beside
        self._free, self._free_trees = set(free), tuple(path for path in free if path.endswith("/") and path != "/")
        self._routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {})[route.method] = route
        self._trees = [path for path in self._routes if path.endswith("/")]
        self._alarms = Alarms()
        self.gateway: Gateway | None = None
        self.error: UserError | None = None  # why it could not start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, gateway = scope["path"], self.gateway
        assert gateway is not None
        methods = self._routes.get(path) or next((self._routes[tree] for tree in self._trees if path.startswith(tree)), None)
        route, status = None, 500
        openai = path.startswith("/v1/")
        try:
            if methods is not None:
                route = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
                if route is None:
                    raise Refused(405, "wrong_method", f"{path} takes {', '.join(sorted(methods))}")
                openai = route.openai
            headers = dict(scope["headers"])
            caller = ""
            free = route.free if route else path in self._free or path.startswith(self._free_trees)
            if not free:
                config = gateway.now.config
                caller = gateway.keeper.admit(config, headers)
                gateway.keeper.limit(config, caller)
            if route is None:
                _measure(scope["method"], headers, gateway.now.config.max_bytes)
                await self._pass_beside({**scope, "state": {"gateway": gateway, "caller": caller}}, receive, send)
                return
            body = b""
            if scope["method"] == "POST":
                body = await _body(headers, receive, gateway.now.config.max_bytes)
            with _Listening(receive, self._alarms) as listening:
                reply = await route.handler(gateway, Http(scope["method"], path, headers, body, caller))
            if listening.interrupted:
                return
        except Failed as error:
            reply = refusal(error, openai)
        except _Gone:
            return
        except Exception as error:
            # Nothing of our own making may end a server; it is told where somebody looks.
            traceback.print_exc(file=sys.stderr)
            reply = refusal(Failed(500, "internal_error", f"{type(error).__name__}"), openai)
        status = reply.status
        gateway.metrics.request(route.path if route else "other", status)
        if reply.events is None:
            await _send(send, reply, scope)
        else:
            await _send_events(send, receive, reply, openai, scope)

    async def _pass_beside(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._beside(scope, receive, send)
        except Exception:  # it has answered by itself, or cannot any more
            traceback.print_exc(file=sys.stderr)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self.gateway = await self._start()
        except UserError as error:
            self.error = error
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        watching = asyncio.create_task(self.gateway.watch())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watching.cancel()
        await self.gateway.close()
        await send({"type": "lifespan.shutdown.complete"})


class _Listening(Interruptible):
    """A block that ends early when whoever asked goes away while it takes long: nobody's answer is not worth computing."""

    def __init__(self, receive: Receive, alarms: Alarms) -> None:
        super().__init__()
        self._receive, self._alarms = receive, alarms
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> "_Listening":
        self._alarms.set(self, LONG, self._begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> bool:
        self._alarms.drop(self)
        if self._watching is not None:
            self._watching.cancel()
        return self.over(kind)

    def _begin(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.interrupt()


class _Gone(Exception):
    """Whoever asked has gone away."""


def _measure(method: str, headers: Mapping[bytes, bytes], limit: int) -> None:
    """Raises Refused for a body that is too large or does not say how large it is; what is beside the routes reads its bodies itself."""
    length = headers.get(b"content-length")
    if length is None and method not in ("GET", "HEAD", "OPTIONS") and b"transfer-encoding" in headers:
        raise Refused(411, "no_length", "the request does not say how large it is", how="send Content-Length")
    if length is not None and (not length.isdigit() or int(length) > limit):
        raise Refused(413, "too_large", f"the request has more than {limit} bytes", how="send less")


async def _body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refused(415, "not_json", "the request is not JSON", how="send application/json")
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        size += len(message["body"])
        if size <= limit:
            parts.append(message["body"])
        elif size > DRAINED * limit:
            break
        more = message.get("more_body", False)
    if size > limit:
        raise Refused(413, "too_large", f"the request has more than {limit} bytes", how="send less")
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _send(send: Send, reply: Reply, scope: Scope) -> None:
    head, whole = scope["method"] == "HEAD", scope.get("extensions", {}).get(WHOLE)
    headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
    if head or whole is None or not whole(reply.status, headers, reply.body):
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else reply.body})


async def _send_events(send: Send, receive: Receive, reply: Reply, openai: bool, scope: Scope) -> None:
    """Send events until they end or nobody listens. A failure after the first one is an event of its own: the status has gone out."""
    assert reply.events is not None
    events, current = reply.events, asyncio.current_task()
    assert current is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        current.cancel()

    started = False
    watching = asyncio.create_task(watch())
    try:
        async for one in events:
            if not started:
                started = True
                headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"), *reply.headers]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": one, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except Failed as error:
        if not started:
            await _send(send, refusal(error, openai), scope)
            return
        await send({"type": "http.response.body", "body": event(refusal(error, openai).body)})
    except asyncio.CancelledError:
        if not gone:
            raise
        current.uncancel()
    finally:
        watching.cancel()
        await events.aclose()  # type: ignore[attr-defined]
