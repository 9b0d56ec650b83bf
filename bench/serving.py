"""Servers on loopback in a thread of this process, until a block ends: for benches, and for tests."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
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


class JsonHandler(BaseHTTPRequestHandler):
    """Takes and gives JSON, over connections that are kept, and writes nothing to the terminal."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together: apart, each answer waits 40 ms for an acknowledgement
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with suppress(ConnectionError):  # the caller has gone
            super().handle()

    def asked(self) -> Any:
        """The body of the request."""
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def send(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """`value` as JSON, bytes as they are."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, word in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, word)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_words: Any) -> None:
        pass


def completion(text: str, tokens_in: int = 10, tokens_out: int = 5, *, model: str = "m", ended: str = "stop") -> dict[str, Any]:
    """The body of a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ended}
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice], "usage": usage}


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
