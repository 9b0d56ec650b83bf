"""What is lost, counted twice or refused when things go wrong: our gateway and TensorZero's under the same faults.

    make install-gateways
    .venv/bin/python -m bench.faults --tensorzero CLONE [--kills 100] [--outage 60] [--record]

A load of several clients asks all the time; an answer with status 200 acknowledges its row, which must be in the store in the end. kill:
SIGKILL at a random moment under load, again and again, over one store. outage: the store cannot be reached (SQLite locked by another
process, PostgreSQL stopped) while a model of our own on this machine answers. full: files may not grow, then may again (of our gateway
alone: limits of another user's server are not ours to set). hanging: a provider that never answers, beside one that does. clock: set back
and forth by hours under load (faketime). feedback: the same four times, in any order, before its target, with a correction that overtakes
what it corrects. CLONE: see bench/gateway.py; without it the peer is left out.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.fault_worlds import FAKETIME, Ours, TensorZero, World, id_of, settled, toy_home
from bench.gateway_parts import STUB, started
from bench.gateway_peers import Gateway, missing
from bench.postgres import Postgres, for_tensorzero
from bench.throughput import processor, record
from pp_resources.http_pool import Pool
from pp_resources.progress import steps

HEADING = "## Faults"
CLIENTS, PATIENCE, SETTLE = 8, 10.0, 60.0
JUMPS = (0, -7200, 86400, -30, 3600, 0)  # seconds from the true time


class Found(NamedTuple):
    """Of one fault: answers that acknowledged a row, those whose row is not in the store, requests without an answer, values counted beyond
    one for each target. None: cannot be told here."""

    fault: str
    who: str
    acknowledged: int
    lost: int | None
    failed: int | None
    twice: int | None = None


class Said:
    """What a load has heard."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.failed = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensorzero", type=Path, help="a clone of its repository")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--outage", type=float, default=60)
    parser.add_argument("--only", choices=["kill", "outage", "full", "hanging", "clock", "feedback"], nargs="*")
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    args = parser.parse_args()
    found: list[Found] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(started(STUB))[1]["url"]
        peer = None
        if args.tensorzero is not None and (why := missing()) is None:
            peer = for_tensorzero(args.tensorzero)
            stack.callback(peer.close)
        elif args.tensorzero is not None:
            print(why)
        for name, fault in faults(args).items():
            if args.only and name not in args.only:
                continue
            for world in worlds(name, root, upstream, peer, stack):
                found.append(fault(world)._replace(fault=name, who=world.name))
                print(found[-1], flush=True)
    table = as_table(found)
    print(table)
    if args.record:
        command = f"python -m bench.faults --tensorzero CLONE --kills {args.kills} --outage {args.outage:g}"
        record(HEADING, table, f"`{command}`, {date.today()}, {processor()}")


def faults(args: argparse.Namespace) -> dict[str, Callable[[Any], Found]]:
    """By name."""
    named: dict[str, Callable[[Any], Found]] = {"kill": lambda world: kills(world, args.kills), "full": full, "hanging": hanging}
    named |= {"outage": lambda world: outage(world, args.outage), "feedback": feedback}
    return named | ({"clock": clock} if FAKETIME else {})


def worlds(fault: str, root: Path, upstream: str, peer: Postgres | None, stack: ExitStack) -> list[World]:
    """Who is put to a fault, each with a store of its own."""
    folder = root / fault
    (folder / "peer").mkdir(parents=True)
    toy = toy_home(folder) if fault == "outage" else None
    made: list[World] = [Ours(folder, upstream, toy=toy, faked=fault == "clock")]
    if fault == "outage" and peer is not None:
        store = Postgres()
        stack.callback(store.close)
        store.start()
        store.sql("CREATE DATABASE tensorzero", "postgres")
        made.append(Ours(folder, upstream, store=store, toy=toy))
        made[-1].name = "ours on PostgreSQL"
    if peer is not None and fault != "full":
        made.append(TensorZero(folder / "peer", upstream, peer, faked=fault == "clock"))
    return made


async def ask(pool: Pool, body: bytes, said: Said, head: bytes) -> str | None:
    """One request; the id of the row that its answer acknowledged."""
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await pool.send(head, body, connect=PATIENCE)
            text = await answer.read()
    except OSError:
        said.failed += 1
        return None
    if answer.status != 200:
        said.failed += 1
        return None
    said.ids.add(id_of(text))
    return id_of(text)


async def load(gateway: Gateway, until: Callable[[], bool], body: bytes | None = None, clients: int = CLIENTS) -> Said:
    """Clients that ask until something holds."""
    said, pool = Said(), Pool(gateway.url)
    head = pool.head("POST", gateway.path, {"Content-Type": "application/json", "Authorization": "Bearer none"})

    async def client() -> None:
        while not until():
            if await ask(pool, body or gateway.body, said, head) is None:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(client() for _ in range(clients)))
    pool.close()
    return said


def for_seconds(seconds: float) -> Callable[[], bool]:
    ends = time.monotonic() + seconds
    return lambda: time.monotonic() > ends


def kills(world: Any, count: int) -> Found:
    """SIGKILL under load."""
    chance, acknowledged = random.Random(11), set[str]()
    with steps(f"kills of {world.name}", count) as advance:
        for _ in range(count):
            world.start()
            acknowledged |= uvloop.run(_killed(world, chance.uniform(0.2, 1.0))).ids
            advance(f"{len(acknowledged)} answers")
    world.start()
    kept = settled(world, acknowledged, SETTLE)
    world.stop()
    return Found("", "", len(acknowledged), len(acknowledged - kept), None)


async def _killed(world: Any, after: float) -> Said:
    killed = False

    async def end() -> None:
        nonlocal killed
        await asyncio.sleep(after)
        killed = True
        await asyncio.to_thread(world.kill)

    ending = asyncio.create_task(end())
    said = await load(world.gateway, lambda: killed)
    await ending
    return said


def outage(world: Any, seconds: float) -> Found:
    """The store is away; requests before it, during it and after it."""
    world.start()
    before = uvloop.run(load(world.gateway, for_seconds(2)))
    settled(world, before.ids, SETTLE)
    with world.outage():
        during = uvloop.run(load(world.gateway, for_seconds(seconds)))
    after = uvloop.run(load(world.gateway, for_seconds(2)))
    acknowledged = before.ids | during.ids | after.ids
    kept = settled(world, acknowledged, SETTLE)
    world.stop()
    return Found("", "", len(acknowledged), len(acknowledged - kept), during.failed)


def full(world: Any) -> Found:
    """Large rows until files may not grow any more, and some seconds beyond."""
    world.start()
    body = json.loads(world.gateway.body)
    body["messages"][0]["content"] = "".join(random.Random(5).choices("abcdefgh ", k=20_000))
    with world.full():
        said = uvloop.run(load(world.gateway, for_seconds(20), json.dumps(body).encode(), 4))
    after = uvloop.run(load(world.gateway, for_seconds(3)))
    acknowledged = said.ids | after.ids
    kept = settled(world, acknowledged, SETTLE)
    world.stop()
    return Found("", "", len(acknowledged), len(acknowledged - kept), said.failed)


def hanging(world: Any) -> Found:
    """Requests to a provider that answers, while many wait for one that does not; those that failed of the former."""
    world.start()
    name = "tensorzero::model_name::hung" if world.name == TensorZero.name else "hung"
    hung = json.dumps(json.loads(world.gateway.body) | {"model": name}).encode()

    async def both() -> tuple[Said, Said]:
        return await asyncio.gather(load(world.gateway, for_seconds(10)), load(world.gateway, for_seconds(10), hung, 32))

    good, _ = uvloop.run(both())
    kept = settled(world, good.ids, SETTLE)
    world.stop()
    return Found("", "", len(good.ids), len(good.ids - kept), good.failed)


def clock(world: Any) -> Found:
    """The gateway's clock is set under load."""
    world.start()
    acknowledged, failed = set[str](), 0
    for number, seconds in enumerate(JUMPS):
        world.clock(seconds)
        said = uvloop.run(load(world.gateway, for_seconds(2)))
        if not number and said.failed >= len(said.ids):  # it does not run under faketime at all, which says nothing of clocks
            world.stop()
            return Found("", "", len(said.ids), None, None)
        acknowledged, failed = acknowledged | said.ids, failed + said.failed
    kept = settled(world, acknowledged, SETTLE)
    world.stop()
    return Found("", "", len(acknowledged), len(acknowledged - kept), failed)


def feedback(world: Any) -> Found:
    """What is said four times counts once; of what was corrected only the correction counts."""
    if isinstance(world, TensorZero):
        targets, counted = world.feedback_four_times()
        return Found("", "", 4, 4 - counted, None, counted - targets)
    world.start()
    acknowledged = uvloop.run(_say(world.gateway))
    ends = time.monotonic() + SETTLE
    wanted = {"right": 40, "late": 10}
    while time.monotonic() < ends and any(world.counted().get(name, 0) < n for name, n in wanted.items()):
        time.sleep(0.2)
    world.stop()
    counted = world.counted()
    over = sum(max(0, counted.get(name, 0) - n) for name, n in wanted.items())
    lost = sum(max(0, n - counted.get(name, 0)) for name, n in wanted.items())
    return Found("", "", acknowledged, lost, None, over)


async def _say(gateway: Gateway) -> int:
    """Feedback on 40 answers and 10 episodes, shuffled; how many were acknowledged."""
    chance, pool, said = random.Random(3), Pool(gateway.url), Said()
    head = pool.head("POST", gateway.path, {"Content-Type": "application/json"})
    ids = [await ask(pool, gateway.body, said, head) for _ in range(40)]
    told: list[dict[str, Any]] = []
    for number, one in enumerate(ids):
        value = {"metric_name": "right", "value": number % 3 > 0, "inference_id": one}
        told += [value] * 4  # a double click
        told += [value | {"idempotency_key": f"k{number}"}] * 2  # a retry
        told.append(value | {"value": number % 3 == 0, "source": "corrected"})
    episodes = [f"episode-{number}" for number in range(10)]
    told += [{"metric_name": "late", "value": 0.5, "episode_id": name} for name in episodes for _ in range(3)]
    chance.shuffle(told)
    acknowledged = await _post(pool, told)
    for name in episodes:  # only now what the feedback is about
        await ask(pool, json.dumps(json.loads(gateway.body) | {"episode_id": name}).encode(), said, head)
    pool.close()
    return acknowledged


async def _post(pool: Pool, told: list[dict[str, Any]]) -> int:
    head, taken = pool.head("POST", "/feedback", {"Content-Type": "application/json"}), 0

    async def one(value: dict[str, Any]) -> None:
        nonlocal taken
        answer = await pool.send(head, json.dumps(value).encode(), connect=PATIENCE)
        await answer.read()
        taken += answer.status == 200

    await asyncio.gather(*map(one, told))
    return taken


def as_table(found: list[Found]) -> str:
    """The table, with the RESULT line below it, which is ours."""
    lines = [
        "| fault | gateway | acknowledged | of these lost | requests failed meanwhile | counted twice |",
        "| --- | --- |" + " --: |" * 4,
    ]
    for one in found:
        cells = ["" if value is None else f"{value:,}" for value in one[2:]]
        lines.append(f"| {one.fault} | {one.who} | " + " | ".join(cells) + " |")
    mine = [one for one in found if one.who.startswith(Ours.name)]
    lost, twice = sum(one.lost or 0 for one in mine), sum(one.twice or 0 for one in mine)
    failed = sum(one.failed or 0 for one in mine if one.fault == "outage")
    return "\n".join([*lines, "", f"RESULT lost={lost} double_counted={twice} failed_during_outage={failed}"])


if __name__ == "__main__":
    main()
