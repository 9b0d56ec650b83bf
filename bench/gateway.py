"""What the gateway itself costs a request: processor time of its process, with rows kept before each answer, beside it, and not at all.

    .venv/bin/python -m bench.gateway [--requests 2000] [--at-once 16] [--record]

One upstream stub and one client, each in a process of its own, so that what is counted is the gateway's alone (user and system time of all
its threads, the store's included). A body of one message is passed on to a remote model; the stub answers at once. Ways are run in turn,
several rounds in fresh processes; the table has medians. Latencies are of a closed loop on a busy machine: read them as ratios.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import httptools
import yaml

from bench.throughput import processor, record
from pp_resources.http_pool import Pool
from pp_resources.settings import PROJECT_ROOT

HEADING = "## The gateway's own cost"
WAYS = ("off", "async", "durable")
PP = "import sys; from pp_gateway.cli import main; sys.exit(main())"
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--clients", action="store_true", help="instead: what HTTP clients cost a request")
    parser.add_argument("--stub", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stub:
        asyncio.run(serve_stub())
        return
    if args.clients:
        print(clients(args.requests, args.rounds))
        return
    table = measure(args.requests, args.at_once, args.rounds)
    print(table)
    if args.record:
        command = f"python -m bench.gateway --requests {args.requests} --at-once {args.at_once} --rounds {args.rounds}"
        record(HEADING, table, f"`{command}`, {date.today()}, {processor()}")


def measure(requests: int, at_once: int, rounds: int) -> str:
    """The table, with the RESULT line below it."""
    with started([sys.executable, "-m", "bench.gateway", "--stub"]) as (_, upstream):
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                found[way].append(one_round(way, upstream["url"], requests, at_once))
    return as_table({way: {key: median(one[key] for one in made) for key in made[0]} for way, made in found.items()}, requests, at_once)


def one_round(way: str, upstream: str, requests: int, at_once: int) -> dict[str, float]:
    """Processor time a request (µs), requests a second, latencies (ms) of one gateway."""
    with tempfile.TemporaryDirectory() as root:
        home = Path(root) / "home"
        home.mkdir()
        (home / "gateway.yaml").write_text(yaml.safe_dump({"logging": way, "models": {"stub": {"url": upstream, "model": "m"}}}))
        command = [sys.executable, "-c", PP, "serve", "--port", "0", "--json"]
        with started(command, PP_HOME=str(home), PP_TASKS=root) as (process, facts):
            asyncio.run(load(facts["url"], max(200, requests // 10), at_once))
            before, began = cpu_seconds(process.pid), time.perf_counter()
            latencies = sorted(asyncio.run(load(facts["url"], requests, at_once)))
            took, cpu = time.perf_counter() - began, cpu_seconds(process.pid) - before
    ms = [1000 * one for one in latencies]
    return {"cpu_us": 1e6 * cpu / requests, "per_s": requests / took, "p50_ms": ms[len(ms) // 2], "p99_ms": ms[int(0.99 * len(ms))]}


class started:
    """A process that prints one JSON document when it is ready; ended with the block."""

    def __init__(self, command: list[str], **environment: str) -> None:
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]), **environment}
        self._process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT)

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


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(url: str, requests: int, at_once: int) -> list[float]:
    """Seconds of each request of a closed loop."""
    pool, left, seconds = Pool(url), requests, list[float]()
    head = pool.head("POST", "/v1/chat/completions", {"Content-Type": "application/json"})

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            answer = await pool.send(head, BODY, connect=10)
            body = await answer.read()
            assert answer.status == 200, body
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(at_once)))
    pool.close()
    return seconds


def clients(requests: int, rounds: int) -> str:
    """Processor time (µs) of this process for a request and its answer, one after another, by client."""
    import uvloop

    async def ours(url: str) -> None:
        await load(url.removesuffix("/v1"), requests, 1)

    async def with_aiohttp(url: str) -> None:
        import aiohttp

        async with aiohttp.ClientSession() as session:
            for _ in range(requests):
                async with session.post(url + "/chat/completions", data=BODY) as answer:
                    await answer.read()

    async def with_httpx(url: str) -> None:
        import httpx2

        async with httpx2.AsyncClient(trust_env=False) as session:
            for _ in range(requests):
                await session.post(url + "/chat/completions", content=BODY)

    rows = []
    with started([sys.executable, "-m", "bench.gateway", "--stub"]) as (_, upstream):
        for name, client in (("http_pool", ours), ("aiohttp", with_aiohttp), ("httpx2", with_httpx)):
            found = []
            for _ in range(rounds):
                began = time.process_time()
                uvloop.run(client(upstream["url"]))
                found.append(1e6 * (time.process_time() - began) / requests)
            rows.append(f"| {name} | {median(found):.0f} |")
    return "\n".join([f"{requests} requests", "", "| client | µs a request |", "| --- | --: |", *rows])


class Stub(asyncio.Protocol):
    """Answers every request the same, without looking at it."""

    _body = json.dumps(_ANSWER).encode()
    _whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_body), _body)

    def connection_made(self, transport: Any) -> None:
        self._transport, self._parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._whole)


async def serve_stub() -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"}), flush=True)
    await server.serve_forever()


def as_table(found: dict[str, dict[str, float]], requests: int, at_once: int) -> str:
    shown = {"processor time a request (µs)": "cpu_us", "requests/s": "per_s", "p50 (ms)": "p50_ms", "p99 (ms)": "p99_ms"}
    head = [
        f"{requests} requests, {at_once} at once, one worker",
        "",
        "| rows | " + " | ".join(shown) + " |",
        "| --- |" + " --: |" * len(shown),
    ]
    rows = [f"| {way} | " + " | ".join(_number(found[way][key]) for key in shown.values()) + " |" for way in found]
    result = " ".join(f"{way}_{key}={found[way][key]:.4g}" for way in found for key in shown.values())
    return "\n".join([*head, *rows, "", f"RESULT {result}"])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    main()
