"""Events of a job as server-sent events, each with its number: who comes back with the last one goes on where it was."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from pp_gateway.jobs.records import DATA
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.said import Failed
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import iso
from pp_resources.store.opened import Store
from pp_resources.store.read_work import job as read_job
from pp_resources.store.read_work import job_events_after
from pp_resources.store.work import JOB_ENDS

LOOK = 0.3  # seconds between two looks
ALIVE = 15.0  # seconds after which something is sent where nothing happens, so that nobody in between ends it
PART = 500
NOTHING = 204  # an EventSource that hears it does not come back


async def follow(gateway: Gateway, store: Store, id: str, kinds: tuple[str, ...], after: int, *, wait: bool) -> Response:
    """The events after a number, and those to come until the job has ended; without `wait` those that are there. 204 where there are none
    and will be none. Raises Failed where too many follow."""
    if gateway.followers >= gateway.now.config.jobs.followers:
        raise Failed(503, "overloaded", f"{gateway.followers} streams are open", how="ask again later", retry_after=1.0)
    first, ended = await asyncio.to_thread(_read, store, id, after, kinds)
    if not first and (ended or not wait):
        return Response(status_code=NOTHING)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_events(gateway, store, id, kinds, after, wait=wait), media_type="text/event-stream", headers=headers)


async def _events(gateway: Gateway, store: Store, id: str, kinds: tuple[str, ...], after: int, *, wait: bool) -> AsyncIterator[bytes]:
    gateway.followers += 1
    sent = time.monotonic()
    try:
        while not gateway.ending.is_set():
            try:
                rows, ended = await asyncio.to_thread(_read, store, id, after, kinds)
            except StoreUnavailable:
                rows, ended = [], None
            for row in rows:
                after = row["n"]
                yield _sent(row)
                sent = time.monotonic()
            if len(rows) == PART:
                continue
            if ended or not wait:
                if ended and DATA in kinds:
                    # Without a number: who comes back asks after the last row.
                    yield b"event: end\ndata: " + orjson.dumps({"state": ended}) + b"\n\n"
                return
            if time.monotonic() - sent > ALIVE:
                yield b": nothing new\n\n"
                sent = time.monotonic()
            await asyncio.sleep(LOOK)
    finally:
        gateway.followers -= 1


def _read(store: Store, id: str, after: int, kinds: tuple[str, ...]) -> tuple[list[dict[str, Any]], str | None]:
    """Events, and how the job had ended before they were read: what it wrote until then is among them."""
    row = read_job(store, id)
    ended = "gone" if row is None else row["state"] if row["state"] in JOB_ENDS else None
    return job_events_after(store, id, after, PART, kinds=kinds), ended


def _sent(row: Mapping[str, Any]) -> bytes:
    """{seq, at, …}: of a row its values, of all else what it tells."""
    told = {"seq": row["n"], "at": iso(row["at"])}
    if row["kind"] == DATA:
        told["row"] = row["data"]
    else:
        told |= {"kind": row["kind"], "state": row["state"], "data": row["data"]}
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (row["n"], row["kind"].encode(), orjson.dumps(told))
