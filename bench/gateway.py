"""Our gateway beside LiteLLM's proxy and TensorZero's gateway: requests a second and latencies, with rows kept and without.

    make install-gateways                      # the peers, in an environment of their own
    .venv/bin/python -m bench.gateway --tensorzero CLONE [--rounds 5] [--seconds 10] [--rates 25 100 400] [--record]

All on loopback before one upstream that answers at once; every gateway is one process (LiteLLM with one worker; ours also with two, since
TensorZero's computes with as many threads as there are cores) and answers the same request through its OpenAI route. Closed loop: `wrk`
where it is installed. Open loop: requests come at fixed rates however slow the answers are, and an answer's time counts from when its
request was due. `direct` goes to the upstream itself: what the load alone can do. The ways take turns, round by round; ratios are of one
round, with a t-interval of their logarithms over the rounds. "durable": an answer is given when its row is on disk. "kept": TensorZero's
default, rows written to PostgreSQL after the answer. What a gateway puts off is waited for before the next one's turn; "sustained" are
requests a second of the closed loop and that wait together. CLONE is a clone of TensorZero's repository, whose migrations its package
lacks; without it, or without PostgreSQL and pg_cron, that way is left out. LiteLLM keeps nothing here, which is in its favour.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import uvloop
from scipy import stats

from bench import gateway_peers as peers
from bench.gateway_parts import BODY, STUB, cpu_seconds, load, paced, settle, started
from bench.gateway_peers import Gateway
from bench.postgres import for_tensorzero
from bench.throughput import processor, record

HEADING = "## Gateways side by side"
OURS, OURS_TWO, OURS_OFF = "ours, durable", "ours, durable, two workers", "ours, off"
KEPT, OFF, LITELLM, DIRECT = "TensorZero, kept", "TensorZero, off", "LiteLLM, off", "direct"


class Closed(NamedTuple):
    """One closed loop: requests a second, and until all of them were dealt with; milliseconds; processor time of the gateway and its
    database for a request (µs)."""

    per_s: float
    sustained: float
    p50: float
    p99: float
    cpu: float


class Open(NamedTuple):
    """One open loop."""

    p50: float
    p99: float
    failed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensorzero", type=Path, help="a clone of its repository")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rates", type=float, nargs="*", default=[25, 100, 400])
    parser.add_argument("--record", action="store_true", help="write the tables into RESULTS.md")
    args = parser.parse_args()
    closed: dict[str, list[Closed]] = {}
    opened: dict[tuple[str, float], list[Open]] = {}
    with tempfile.TemporaryDirectory() as made, running(Path(made), args.tensorzero) as gateways:
        for gateway in gateways.values():
            uvloop.run(load(gateway.url, 4 * args.at_once, args.at_once, gateway.body, gateway.path))  # the first ones take seconds
        for turn in range(args.rounds):
            for name, gateway in gateways.items():
                closed.setdefault(name, []).append(closed_loop(gateway, args.seconds, args.at_once))
                for rate in args.rates:
                    opened.setdefault((name, rate), []).append(open_loop(gateway, rate, args.seconds))
                print(f"round {turn + 1} of {args.rounds}: {name}: {closed[name][-1].per_s:,.0f}/s", flush=True)
    table = as_table(closed, opened, args)
    print(table)
    if args.record:
        rates = " ".join(f"{rate:g}" for rate in args.rates)
        command = f"python -m bench.gateway --tensorzero CLONE --rounds {args.rounds} --seconds {args.seconds:g} --rates {rates}"
        record(HEADING, table, f"`{command}`, {date.today()}, {processor()}")


@contextmanager
def running(root: Path, source: Path | None) -> Iterator[dict[str, Gateway]]:
    """All gateways that this machine can run, by name."""
    with ExitStack() as stack:
        process, facts = stack.enter_context(started(STUB))
        parts, upstream = urlsplit(facts["url"]), facts["url"]
        found = {DIRECT: Gateway(f"http://{parts.netloc}", parts.path + peers.CHAT, BODY, process.pid)}

        def folder(name: str) -> Path:
            (root / name).mkdir()
            return root / name

        for name, logging, workers in ((OURS, "durable", 1), (OURS_TWO, "durable", 2), (OURS_OFF, "off", 1)):
            found[name] = stack.enter_context(peers.promptprecision(folder(f"{logging}{workers}"), upstream, logging, workers))
        if why := peers.missing():
            print(why)
        else:
            found[LITELLM] = stack.enter_context(peers.litellm(folder("litellm"), upstream))
            found[OFF] = stack.enter_context(peers.tensorzero(folder("tensorzero"), upstream))
            if source is not None:
                postgres = for_tensorzero(source)
                stack.callback(postgres.close)
                kept = stack.enter_context(peers.tensorzero(folder("kept"), upstream, postgres.url))
                found[KEPT] = kept._replace(beside=(postgres.pid,))
        yield found


def closed_loop(gateway: Gateway, seconds: float, at_once: int) -> Closed:
    """So many clients, each of which asks again when it has its answer. Raises SystemExit for an answer that is none."""
    pids = gateway.pid, *gateway.beside
    before = cpu_seconds(*pids)
    count, took, p50, p99 = (_wrk if shutil.which("wrk") else _ours)(gateway, seconds, at_once)
    rest = settle()
    return Closed(count / took, count / (took + rest), p50, p99, 1e6 * (cpu_seconds(*pids) - before) / count)


def _wrk(gateway: Gateway, seconds: float, at_once: int) -> tuple[int, float, float, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = [[{gateway.body.decode()}]]\nwrk.headers["Content-Type"] = "application/json"\n')
        script.write('wrk.headers["Authorization"] = "Bearer none"\n')
        script.write('done = function(s, l) io.write(string.format("SAID %d %d %d %d %d\\n", s.requests, s.duration, l:percentile(50), ')
        script.write("l:percentile(99), s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout)) end\n")
        script.flush()
        words = ["wrk", "-t1", f"-c{at_once}", f"-d{seconds:g}s", "--timeout", "30s", "-s", script.name, gateway.url + gateway.path]
        made = subprocess.run(words, capture_output=True, text=True)
    said = made.stdout + made.stderr
    found = re.search(r"SAID (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    if made.returncode == 0 and (found is None or int(found[5])):
        raise SystemExit(f"{gateway.url}: {said}")
    if found is None or not int(found[1]):  # not one answer, or nobody at the door any more: as good as one at the end of the time
        return 1, seconds, 1000 * seconds, 1000 * seconds
    return int(found[1]), int(found[2]) / 1e6, int(found[3]) / 1e3, int(found[4]) / 1e3


def _ours(gateway: Gateway, seconds: float, at_once: int) -> tuple[int, float, float, float]:
    some, began = 50 * at_once, time.perf_counter()
    took: list[float] = []
    while time.perf_counter() - began < seconds:
        took += uvloop.run(load(gateway.url, some, at_once, gateway.body, gateway.path))
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
    return len(took), time.perf_counter() - began, float(p50), float(p99)


def open_loop(gateway: Gateway, rate: float, seconds: float) -> Open:
    """Requests at a rate."""
    took, failed = uvloop.run(paced(gateway.url, gateway.path, gateway.body, rate, seconds))
    settle()
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
    return Open(float(p50), float(p99), failed)


def ratio(mine: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """The geometric mean of the rounds' ratios, with a 95 % t-interval."""
    logs = np.log(np.array(mine) / np.array(theirs))
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / len(logs) ** 0.5 if len(logs) > 1 else np.inf
    return float(np.exp(logs.mean())), float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half))


def as_table(closed: dict[str, list[Closed]], opened: dict[tuple[str, float], list[Open]], args: argparse.Namespace) -> str:
    """Medians of the rounds, ratios with intervals, the RESULT line."""
    lines = [f"{args.rounds} rounds of {args.seconds:g} s in turn; medians over the rounds. Closed loop, {args.at_once} at once:", ""]
    lines += ["| gateway | requests/s | sustained | p50 ms | p99 ms | processor time a request (µs) |", "| --- |" + " --: |" * 5]
    for name, found in closed.items():
        lines.append(f"| {name} | " + " | ".join(f"{median(column):,.3g}" for column in zip(*found, strict=True)) + " |")
    rates = sorted({rate for _, rate in opened})
    lines += ["", "Open loop: p50 / p99 ms (requests that failed)", ""]
    lines += ["| gateway | " + " | ".join(f"{rate:g}/s" for rate in rates) + " |", "| --- |" + " --: |" * len(rates)]
    for name in closed:
        cells = [[median(column) for column in zip(*opened[name, rate], strict=True)] for rate in rates]
        lines.append(f"| {name} | " + " | ".join(f"{p50:.3g} / {p99:.3g} ({failed:g})" for p50, p99, failed in cells) + " |")
    lines += ["", "| times better | requests/s | sustained | p50 | p99 |", "| --- |" + " --: |" * 4]
    results = {}
    for mine, workers in ((OURS, ""), (OURS_TWO, "_two")):
        for name, short in ((LITELLM, "litellm"), (KEPT, "tensorzero_logged"), (OFF, "tensorzero_off")):
            if name in closed:
                found = {field: ratio(*_pair(closed[mine], closed[name], field)) for field in ("per_s", "sustained", "p50", "p99")}
                cells = " | ".join(f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean, low, high in found.values())
                lines.append(f"| {mine}, than {name} | {cells} |")
                results[f"vs_{short}{workers}"] = found["per_s"][0]
                if name == LITELLM:
                    results |= {f"vs_litellm_{field}{workers}": found[field][0] for field in ("p50", "p99")}
                if name == KEPT:
                    results[f"vs_tensorzero_sustained{workers}"] = found["sustained"][0]
    results["p99_ms"] = median(one.p99 for one in closed[OURS])
    if rates:
        direct = median(one.p50 for one in opened[DIRECT, rates[0]])
        for name, short in ((OURS_OFF, "off"), (OURS, "durable")):
            results[f"overhead_{short}_ms"] = median(one.p50 for one in opened[name, rates[0]]) - direct
        lines += [
            "",
            f"Overhead at {rates[0]:g}/s (p50 less that of the upstream itself): {results['overhead_off_ms']:.2f} ms without rows,",
        ]
        lines[-1] += f" {results['overhead_durable_ms']:.2f} ms with the row on disk before the answer."
    return "\n".join([*lines, "", "RESULT " + " ".join(f"{key}={value:.4g}" for key, value in results.items())])


def _pair(mine: list[Closed], theirs: list[Closed], field: str) -> tuple[list[float], list[float]]:
    """So that larger is better for us."""
    values = [getattr(one, field) for one in mine], [getattr(one, field) for one in theirs]
    return values if field in ("per_s", "sustained") else (values[1], values[0])


if __name__ == "__main__":
    main()
