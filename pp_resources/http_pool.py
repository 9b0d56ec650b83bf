"""A thin HTTP/1.1 client for one address: connections that are kept, answers whole or piece by piece, as little work as can be.

Of a general client's cost most is generality: a request and its answer of 300 bytes take 25 µs of processor time here, 208 with aiohttp and
1,031 with httpx2 (medians of three times 800 requests, one after another; bench.gateway_cost --clients). It follows no redirect, knows
no proxy and no compression.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httptools

MOST_BYTES = 32 << 20  # of an answer
HIGH = 1 << 20  # bytes of a stream that may wait for their reader


class Lost(OSError):
    """The connection ended before the answer did. `unused`: it was a kept one that had been closed already, so that nothing was asked."""

    def __init__(self, what: str, *, unused: bool = False) -> None:
        super().__init__(what)
        self.unused = unused


class Answer:
    """Status and headers (names in lower case) of an answer whose body is still to be read: exactly once, by `read` or `chunks`, or to be
    left by `close`."""

    def __init__(self, connection: "_Connection", pool: "Pool") -> None:
        self.status, self.headers = connection.parser.get_status_code(), connection.headers
        self._connection, self._pool, self._size = connection, pool, 0

    async def read(self) -> bytes:
        """The whole body. Raises Lost."""
        parts = []
        try:
            while (part := await self._part()) is not None:
                parts.append(part)
        finally:
            self._pool.give_back(self._connection)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Lost."""
        try:
            while (part := await self._part()) is not None:
                yield part
        finally:
            self._pool.give_back(self._connection)

    async def _part(self) -> bytes | None:
        part = await self._connection.part()
        if part is not None:
            self._size += len(part)
            if self._size > MOST_BYTES:
                raise Lost(f"an answer of more than {MOST_BYTES >> 20} MiB")
        return part

    def close(self) -> None:
        """Read no further: the connection cannot be used again."""
        self._connection.drop()
        self._pool.give_back(self._connection)


class Pool:
    """Connections to one address (`https://host:port`); no more than `most` at once, further requests wait."""

    def __init__(self, url: str, *, most: int = 256) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address")
        self.host, self.port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self.netloc = parts.netloc.rpartition("@")[2]
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(most)

    def head(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        """The start of a request, up to the length of its body, for many to be sent. Raises ValueError for what no header can hold."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
        if any(c in line for line in lines for c in "\r\n\0"):
            raise ValueError("a line end in a header")
        return "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")

    async def send(self, head: bytes, body: bytes, *, connect: float) -> Answer:
        """Send a request and wait for the head of its answer. Raises OSError (Lost among them) or TimeoutError when no connection is made
        within `connect` seconds."""
        request = b"%s%d\r\n\r\n%s" % (head, len(body), body)
        while True:
            await self._free.acquire()
            connection = None
            try:
                connection = self._take() or await self._connect(connection_timeout=connect)
                await connection.ask(request)
                return Answer(connection, self)
            except BaseException as error:
                if connection is None:
                    self._free.release()
                else:
                    connection.drop()
                    self.give_back(connection)
                if not (isinstance(error, Lost) and error.unused):
                    raise

    def give_back(self, connection: "_Connection") -> None:
        if connection.lent:
            connection.lent = False
            self._free.release()
            if connection.reusable:
                self._idle.append(connection)
            else:
                connection.drop()

    def close(self) -> None:
        """Close what is idle; lent connections are closed when they come back."""
        for connection in self._idle:
            connection.drop()
        self._idle.clear()

    def _take(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()  # the last one used is the least likely to have been closed
            if connection.reusable:
                connection.lent, connection.reused = True, True
                return connection
        return None

    async def _connect(self, connection_timeout: float) -> "_Connection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(connection_timeout):
            _, made = await loop.create_connection(_Connection, self.host, self.port, ssl=self._tls)
        return made


class _Connection(asyncio.Protocol):
    """One request at a time. httptools calls the on_… methods."""

    parser: Any

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.lent, self.reused, self._asked = True, False, False
        self._transport: Any = None
        self._parts: deque[bytes] = deque()
        self._buffered = 0
        self._head = self._ended = self._keep = self._paused = False
        self._error: Lost | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def reusable(self) -> bool:
        return self._keep and self._ended and self._error is None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> None:
        if self._error is not None or self._transport.is_closing():
            raise Lost("closed", unused=True)
        self.parser = httptools.HttpResponseParser(self)
        self.headers = {}
        self._parts.clear()
        self._buffered, self._head, self._ended, self._keep, self._asked = 0, False, False, False, True
        self._transport.write(request)
        while not self._head:
            await self._wait()

    async def part(self) -> bytes | None:
        """The next piece of the body, None at its end."""
        while not self._parts:
            if self._ended:
                return None
            await self._wait()
        part = self._parts.popleft()
        self._buffered -= len(part)
        if self._paused and self._buffered < HIGH:
            self._paused = False
            self._transport.resume_reading()
        return part

    def drop(self) -> None:
        self._keep = False
        self._transport.abort()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._asked or self._ended:
            self.drop()  # an answer to nothing
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")
            self.drop()

    def connection_lost(self, error: Exception | None) -> None:
        if (
            self._head
            and not self._ended
            and "content-length" not in self.headers
            and "chunked" not in self.headers.get("transfer-encoding", "")
        ):
            self._ended = True  # such an answer ends with its connection
            self._wake()
            return
        unused = self.reused and self._asked and not self._head
        self._fail(str(error) if error else "closed before the answer's end", unused=unused)

    def _fail(self, what: str, *, unused: bool = False) -> None:
        self._error = self._error or Lost(what, unused=unused)
        self._wake()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._head = self.parser.get_status_code() >= 200  # what comes before is a promise
        if self._head:
            self._wake()
        else:
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._buffered += len(body)
        if self._buffered >= HIGH and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._head:
            self._ended, self._keep = True, self.parser.should_keep_alive()
            self._wake()
