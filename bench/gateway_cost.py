"""What the gateway itself costs a request: processor time of its process, with rows kept before each answer, beside it, and not at all.

    .venv/bin/python -m bench.gateway_cost [--requests 2000] [--at-once 16] [--record]

One upstream stub and one client, each in a process of its own, so that what is counted is the gateway's alone (user and system time of all
its threads, the store's included). A body of one message is passed on to a remote model; the stub answers at once. Ways are run in turn,
several rounds in fresh processes; the table has medians. Latencies are of a closed loop on a busy machine: read them as ratios.
"""

import argparse
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

import uvloop

from bench.gateway_parts import BODY, STUB, cpu_seconds, load, ours, started
from bench.throughput import processor, record
from pp_resources.settings import PROJECT_ROOT

HEADING = "## The gateway's own cost"
WAYS = ("off", "async", "durable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, whose gateway takes turns with this one's")
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--clients", action="store_true", help="instead: what HTTP clients cost a request")
    args = parser.parse_args()
    if args.clients:
        print(clients(args.requests, args.rounds))
        return
    table = measure(args.requests, args.at_once, args.rounds, args.against)
    print(table)
    if args.record:
        command = f"python -m bench.gateway_cost --requests {args.requests} --at-once {args.at_once} --rounds {args.rounds}"
        record(HEADING, table, f"`{command}`, {date.today()}, {processor()}")


def measure(requests: int, at_once: int, rounds: int, against: Path | None) -> str:
    """The table, with the RESULT line below it."""
    codes = {"": PROJECT_ROOT} | ({"before_": against} if against else {})
    with started(STUB) as (_, upstream):
        found: dict[str, list[dict[str, float]]] = {name + way: [] for way in WAYS for name in codes}
        for _ in range(rounds):
            for way in WAYS:
                for name, code in codes.items():
                    found[name + way].append(one_round(way, upstream["url"], requests, at_once, code))
    return as_table({way: {key: median(one[key] for one in made) for key in made[0]} for way, made in found.items()}, requests, at_once)


def one_round(way: str, upstream: str, requests: int, at_once: int, code: Path) -> dict[str, float]:
    """Processor time a request (µs), requests a second, latencies (ms) of one gateway."""
    with tempfile.TemporaryDirectory() as root, ours(Path(root) / "home", upstream, way, code) as (process, facts):
        uvloop.run(load(facts["url"], max(200, requests // 10), at_once))
        before, began = cpu_seconds(process.pid), time.perf_counter()
        latencies = sorted(uvloop.run(load(facts["url"], requests, at_once)))
        took, cpu = time.perf_counter() - began, cpu_seconds(process.pid) - before
    ms = [1000 * one for one in latencies]
    return {"cpu_us": 1e6 * cpu / requests, "per_s": requests / took, "p50_ms": ms[len(ms) // 2], "p99_ms": ms[int(0.99 * len(ms))]}


def clients(requests: int, rounds: int) -> str:
    """Processor time (µs) of this process for a request and its answer, one after another, by client."""

    async def with_pool(url: str) -> None:
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
    with started(STUB) as (_, upstream):
        for name, client in (("http_pool", with_pool), ("aiohttp", with_aiohttp), ("httpx2", with_httpx)):
            found = []
            for _ in range(rounds):
                began = time.process_time()
                uvloop.run(client(upstream["url"]))
                found.append(1e6 * (time.process_time() - began) / requests)
            rows.append(f"| {name} | {median(found):.0f} |")
    return "\n".join([f"{requests} requests", "", "| client | µs a request |", "| --- | --: |", *rows])


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
