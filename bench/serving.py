"""Servers on loopback in a thread of this process, until a block ends: for benches, and for tests."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pp_gateway.listening import listen, url_of
from pp_gateway.serve.process import FAST


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address at which an ASGI application answers. Where it does not start, raises its `error` if it keeps one, else RuntimeError."""
    import uvicorn

    made = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, **FAST))

    def serve() -> None:
        with suppress(SystemExit):  # how uvicorn ends what could not start
            server.run(sockets=[made])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise getattr(app, "error", None) or RuntimeError("the application did not start")
            time.sleep(0.01)
        yield url_of(made)
    finally:
        server.should_exit = True
        thread.join(30)
        made.close()


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which a handler answers, a thread for each connection."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
