"""The HTTP door to the steps of experiments: keys, limits, and each request done once, however often it comes."""

import asyncio
import hashlib
import hmac
import socket
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pp_assets.experiment.exchange import CALLS, CHECK, FORBIDDEN, HEALTH, Refusal, count_of, late, read_request
from pp_assets.experiment.served import Served
from pp_gateway.listening import listen, url_of
from pp_resources.errors import UserError
from pp_resources.json_server import is_loopback

NO_KEY, TOO_LARGE, NOT_JSON, WRONG = 401, 413, 415, 422
KEPT, ENTRY = 64 << 20, 512  # bytes of answers, for whoever lost the connection and asks again; and of keeping one


@dataclass(frozen=True)
class Door:
    """How a server is reached. `key` None: anybody on this machine may ask. `bytes` of a request, `seconds` of its calls."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 8
    key: str | None = None
    bytes: int = 32 << 20
    seconds: float = 3600.0

    def open(self) -> socket.socket:
        """A socket that listens. Raises UserError without a key where others than this machine can ask, and for a port that is taken."""
        if not self.key and not is_loopback(self.host):
            how = "set PP_EXPERIMENT_KEY to a secret, here and where experiments run"
            raise UserError("needs a key: other machines can reach this address", where=f"--host {self.host}", how=how)
        return listen(self.host, self.port)


class Once:
    """Answers by the request's bytes: one that comes again waits for the first, or gets what that got."""

    def __init__(self) -> None:
        self._running: dict[bytes, asyncio.Task[bytes]] = {}
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0

    async def get(self, body: bytes, make: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        key = hashlib.sha256(body).digest()
        if key in self._answers:
            return self._answers[key]
        if key not in self._running:
            self._running[key] = asyncio.create_task(make())
            self._running[key].add_done_callback(lambda task: self._ended(key, task))
        # A connection that is lost does not end what it began.
        return await asyncio.shield(self._running[key])

    def _ended(self, key: bytes, task: "asyncio.Task[bytes]") -> None:
        del self._running[key]
        if not task.cancelled() and not task.exception():  # a refusal may be another the next time
            self._answers[key] = task.result()
            self._size += ENTRY + len(task.result())
            while self._size > KEPT:
                self._size -= ENTRY + len(self._answers.popitem(last=False)[1])


def build_app(served: Served, door: Door) -> Starlette:
    """A check of steps, calls of them, and a sign of life. Every refusal is JSON: {"error": {what, where, how}}."""
    pool, once = ThreadPoolExecutor(door.workers), Once()

    async def health(_request: Request) -> Response:
        return _json(200, b"{}")

    async def check(body: bytes) -> bytes:
        # Not in the pool, whose workers may be busy for an hour.
        await asyncio.to_thread(served.check, read_request(body))
        return orjson.dumps({"bytes": door.bytes})

    async def calls(body: bytes) -> bytes:
        request, loop, began = read_request(body), asyncio.get_running_loop(), asyncio.Event()

        def work() -> bytes:
            loop.call_soon_threadsafe(began.set)
            return served.answer(request, door.seconds)

        working = loop.run_in_executor(pool, work)
        await began.wait()  # a request that waits for a worker has its time still before it
        try:
            # A second more: what ends in time tells itself which calls were not reached.
            return await asyncio.wait_for(working, door.seconds + 1)
        except TimeoutError:
            return orjson.dumps({"answers": [late(door.seconds)] * count_of(request)})

    def route(work: Callable[[bytes], Coroutine[Any, Any, bytes]], *, one: bool) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            try:
                _admit(request, door)
                body = await _body(request, door.bytes)
                return _json(200, await once.get(body, lambda: work(body)) if one else await work(body))
            except ClientDisconnect:
                return Response(status_code=400)
            except UserError as error:
                said = {"what": error.what, "where": error.where, "how": error.how}
                return _json(error.status if isinstance(error, Refusal) else WRONG, orjson.dumps({"error": said}))

        return handle

    posts = [Route(CHECK, route(check, one=False), methods=["POST"]), Route(CALLS, route(calls, one=True), methods=["POST"])]
    return Starlette(routes=[Route(HEALTH, health), *posts])


def run_server(served: Served, door: Door, made: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve on the socket that the door has opened, until Ctrl-C; `ready` hears the address when connections are taken."""
    import uvicorn

    config = uvicorn.Config(build_app(served, door), log_level="warning", access_log=False, timeout_graceful_shutdown=10)
    ready(url_of(made))
    # Ctrl-C is how a server ends.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[made])


def _admit(request: Request, door: Door) -> None:
    """Raises Refusal for whoever has no key, and for pages in a browser, which send neither this type nor this host."""
    if door.key:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, door.key.encode()):
            raise Refusal(NO_KEY, "the key is missing or wrong", where="experiment server", how="set PP_EXPERIMENT_KEY to the server's")
    elif not is_loopback((request.url.hostname or "").strip("[]")):
        raise Refusal(FORBIDDEN, "is asked by another name than that of this machine", where="experiment server", how="use 127.0.0.1")
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refusal(NOT_JSON, "the request is not JSON", where="experiment server", how="send application/json")


async def _body(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > limit:
            how = "start the server with a larger --megabytes, or take smaller batches"
            raise Refusal(TOO_LARGE, f"the request has more than {limit >> 20} MiB", where="experiment server", how=how)
    return b"".join(parts)


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")
