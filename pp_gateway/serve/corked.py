"""HTTP connections on which what is written at once goes out at once: uvicorn writes the head of an answer and its body apart, and of what
a request costs the gateway without rows almost half are system calls for sockets."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ENOUGH = 1 << 16  # bytes that do not wait for the turn to end: the transport then says whether it can take more


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's own, with its answers corked."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Corked(transport))  # type: ignore[arg-type]


class _Corked:
    """A transport that gathers what is written in one turn of the event loop. All else is the transport's own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._loop = transport, asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > ENOUGH:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts and not self._transport.is_closing():
            self._transport.write(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._parts.clear()
        self._size = 0
