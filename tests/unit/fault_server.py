"""A loopback provider that fails as it is told to, and keeps the books: what it answered, and what it billed for it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.serving import JsonHandler, answering, completion

IN, OUT = 10, 5  # tokens of every answer


class FaultServer:
    """`plan` are the faults of the next requests by name, then all is well: those that come after the model has answered are billed.

    `keyed`: it knows Idempotency-Key, so that one request is billed once. `asked` are bodies in order, `keys` their Idempotency-Key,
    `times` when they came; `billed` the tokens of the books, `refuses` forms that are answered with 400, `untaken` fields that are, with
    the words of it, `uncounted`: no usage is told; `wait` seconds are asked for by 429, `most` requests were under way at once.
    """

    def __init__(self, plan: list[str], keyed: bool) -> None:
        self.plan, self.keyed, self.url = plan, keyed, ""
        self.refuses: tuple[str, ...] = ()
        self.untaken: dict[str, str] = {}
        self.uncounted, self.wait = False, 0.2
        self.asked, self.times, self.billed, self.now, self.most = list[dict[str, Any]](), list[float](), 0, 0, 0
        self.keys = list[str | None]()
        self.lock, self.ended, self._bills = threading.Lock(), threading.Event(), set[str]()

    def bill(self, key: str | None) -> None:
        with self.lock:
            if not (self.keyed and key in self._bills):
                self.billed += IN + OUT
            self._bills.add(key or "")

    def fault(self, body: dict[str, Any], key: str | None) -> str:
        with self.lock:
            self.asked.append(body)
            self.keys.append(key)
            self.times.append(time.monotonic())
            return self.plan.pop(0) if self.plan else ""


@contextmanager
def fault_server(*plan: str, keyed: bool = True) -> Iterator[FaultServer]:
    """Serves until the block ends. The answer to a message is the message in capitals, as a JSON object where a form is asked for."""
    made = FaultServer(list(plan), keyed)

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            body = self.asked()
            key = self.headers["Idempotency-Key"]
            fault = made.fault(body, key)
            form = (body.get("response_format") or {}).get("type")
            untaken = next((name for name in made.untaken if name in body), None)
            if untaken:
                return self.send(400, {"error": {"message": made.untaken[untaken]}})
            if form in made.refuses:
                return self.send(400, {"error": {"message": f"response_format {form} is not supported"}})
            if fault.startswith("limits"):
                date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1))
                return self.send(429, {"error": {"message": "slow down"}}, {"Retry-After": date if "date" in fault else str(made.wait)})
            if fault == "too_long":
                return self.send(400, {"error": {"message": "the prompt is too long"}})
            if fault == "errs":
                return self.send(503, {"error": {"message": "overloaded"}})
            if fault == "drops":
                self.close_connection = True
                return None
            with made.lock:
                made.now += 1
                made.most = max(made.most, made.now)
            made.ended.wait(0.02)
            with made.lock:
                made.now -= 1
            made.bill(key)
            if fault == "hangs":
                made.ended.wait(10)
                return None
            said = str(body["messages"][-1]["content"]).upper()
            whole = completion(said, IN, OUT)
            if not made.uncounted and fault != "cuts":  # such servers tell the usage last
                whole["choices"] = whole.pop("choices")
            if made.uncounted:
                del whole["usage"]
            data = json.dumps(whole).encode()
            if fault == "breaks":
                return self.send(200, data[:-9] + b"</html>")
            if fault in ("cuts", "cuts_late"):
                self.close_connection = True
                return self.send(200, data[: -len(data) // 2], {"Content-Length": str(len(data))})
            if fault == "dribbles":
                return self._dribble(data)
            return self.send(200, data)

        def _dribble(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for piece in (data[i : i + 8] for i in range(0, len(data), 8)):
                self.wfile.write(piece)
                self.wfile.flush()
                if made.ended.wait(0.1):
                    break

    with answering(Handler) as url:
        made.url = f"{url}/v1"
        try:
            yield made
        finally:
            made.ended.set()
