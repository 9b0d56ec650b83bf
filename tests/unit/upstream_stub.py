"""A server that answers chat completions as it is told to: at once, late, never, in pieces, with refusals first."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.serving import JsonHandler, answering, completion

ANSWER = '{"topic": "refund", "order": "A7", "angry": false}'


class Stub:
    """`url` ends in /v1; `says` answers a request instead of `text`. `fail` are statuses of the next requests; `hang` and `pause` seconds
    before an answer and between its pieces; with `breaks` a stream ends in its middle. `seen` are request bodies, `headers` those of the
    last request."""

    def __init__(self) -> None:
        self.text, self.url, self.key = ANSWER, "", ""
        self.says: Callable[[dict[str, Any]], str] | None = None
        self.fail: list[int] = []
        self.hang = self.pause = 0.0
        self.breaks = False
        self.seen: list[dict[str, Any]] = []
        self.headers: Any = None
        self.ended = threading.Event()


@contextmanager
def stub(text: str = ANSWER) -> Iterator[Stub]:
    """Serves until the block ends."""
    told = Stub()
    told.text = text

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            asked = self.asked()
            told.seen.append(asked)
            told.headers = self.headers
            if told.fail:
                self.send(told.fail.pop(0), {"error": {"message": f"no, {told.key or 'nobody'}"}}, {"Retry-After": "0"})
                return
            told.ended.wait(told.hang)
            (self._stream if asked.get("stream") else self._answer)(asked)

        def _answer(self, asked: dict[str, Any]) -> None:
            self.send(200, completion(told.says(asked) if told.says else told.text))

        def _stream(self, asked: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            half = len(told.text) // 2
            for place, piece in enumerate((told.text[:half], told.text[half:])):
                self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": "stop" if place else None}]})
                if told.breaks:
                    self.close_connection = True
                    return
                time.sleep(told.pause)
            if (asked.get("stream_options") or {}).get("include_usage"):
                self._event({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})
            self._chunk(b"data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")

        def _event(self, value: dict[str, Any]) -> None:
            head = {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            self._chunk(b"data: " + json.dumps(head | value).encode() + b"\n\n")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    with answering(Handler) as url:
        told.url = f"{url}/v1"
        try:
            yield told
        finally:
            told.ended.set()
