"""What the benches of gateways share: processes, an upstream that answers at once, one load for all.

.venv/bin/python -m bench.gateway_parts    is that upstream; it prints its address as JSON
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httptools
import psutil
import uvloop
import yaml

from pp_resources.http_pool import Pool
from pp_resources.settings import PROJECT_ROOT

PP = "import sys; from pp_gateway.cli import main; sys.exit(main())"
WINDOW, BUSY = 0.5, 10.0  # seconds and percent: of how much time the processors are in use
PATIENCE = 10.0  # seconds of a request
STUB = [sys.executable, "-m", "bench.gateway_parts"]
BODY = json.dumps({"model": "stub", "messages": [{"role": "user", "content": "Is Santa real?"}]}).encode()
_MESSAGE = {"role": "assistant", "content": "hello from the stub"}
_ANSWER = {
    "id": "up",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


class started:
    """A process that prints one JSON document when it is ready; ended with the block."""

    def __init__(self, command: list[Any], code: Path = PROJECT_ROOT, **environment: str) -> None:
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")]), **environment}
        self._process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, cwd=code)

    def __enter__(self) -> tuple[Any, Any]:
        said, out = "", self._process.stdout
        assert out is not None
        while not said.endswith("}\n"):
            line = out.readline()
            if not line:
                raise SystemExit("a process ended before it was ready")
            said += line
        return self._process, json.loads(said)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)


def cpu_seconds(*pids: int) -> float:
    """User and system time of processes and those that they have started, so far."""
    found = {one.pid: one for pid in pids for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))}
    return float(sum(sum(one.cpu_times()[:2]) for one in found.values()))


def settle(most: float = 60.0) -> float:
    """Wait until nine tenths of the machine are idle, `most` seconds at most: what a gateway has put off is its own, not that of the one
    whose turn is next. Seconds from the call to that."""
    began = time.monotonic()
    while psutil.cpu_percent(WINDOW) > BUSY and time.monotonic() < began + most:
        pass
    return time.monotonic() - began - WINDOW


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def ours(home: Path, upstream: str, logging: str, code: Path = PROJECT_ROOT, workers: int = 1) -> started:
    """Our gateway over an installation that has a remote model, and nothing else; `code` is the checkout that it comes from."""
    home.mkdir(parents=True, exist_ok=True)
    config = {"logging": logging, "models": {"stub": {"url": upstream, "model": "m"}}}
    (home / "gateway.yaml").write_text(yaml.safe_dump(config))
    words = ["serve", "--port", "0", "--json", "--workers", str(workers)]
    return started([sys.executable, "-c", PP, *words], code, PP_HOME=str(home), PP_TASKS=str(home.parent))


async def load(url: str, requests: int, at_once: int, body: bytes = BODY, path: str = "/v1/chat/completions") -> list[float]:
    """Seconds of each request of a closed loop."""
    pool, left, seconds = Pool(url), requests, list[float]()
    head = pool.head("POST", path, {"Content-Type": "application/json", "Authorization": "Bearer none"})

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            answer = await pool.send(head, body, connect=10)
            said = await answer.read()
            assert answer.status == 200, said
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(at_once)))
    pool.close()
    return seconds


async def paced(url: str, path: str, body: bytes, rate: float, seconds: float) -> tuple[list[float], int]:
    """An open loop: so many requests a second at times drawn beforehand (a Poisson process), however long the answers take. Seconds of each
    answer since the time at which its request was due, so that a gateway that falls behind is not excused; and how many failed."""
    chance, pool, took, failed = random.Random(7), Pool(url, most=4096), list[float](), 0
    head = pool.head("POST", path, {"Content-Type": "application/json", "Authorization": "Bearer none"})
    loop, tasks = asyncio.get_running_loop(), set()
    began, due = loop.time(), 0.0

    async def one(at: float) -> None:
        nonlocal failed
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await pool.send(head, body, connect=PATIENCE)
                await answer.read()
            failed += answer.status != 200
        except OSError:
            failed += 1
        took.append(loop.time() - at)

    while (due := due + chance.expovariate(rate)) < seconds:
        if (wait := began + due - loop.time()) > 0:
            await asyncio.sleep(wait)
        task = loop.create_task(one(began + due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    pool.close()
    return took, failed


class Stub(asyncio.Protocol):
    """Answers every request the same, without looking at it; what comes under /hang/ is never answered."""

    _body = json.dumps(_ANSWER).encode()
    _whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_body), _body)

    def connection_made(self, transport: Any) -> None:
        self._transport, self._parser, self._mute = transport, httptools.HttpRequestParser(self), False

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._mute = url.startswith(b"/hang/")

    def on_message_complete(self) -> None:
        if not self._mute:
            self._transport.write(self._whole)


async def serve_stub() -> None:
    """For ever."""
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve_stub())
