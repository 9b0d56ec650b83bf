"""A gateway on which jobs are asked for, and the little that tests of jobs share."""

import json
import time
from pathlib import Path
from typing import Any

from gateway_place import Place, ask

from pp_resources.store.opened import Store, open_store
from pp_resources.store.read_work import job_events_after

ROW = {"input_text": "please refund me for order A7", "output": {"topic": "refund", "order": "A7", "angry": False}}
ENDED = ("done", "failed", "cancelled")


def job_place(root: Path, **gateway: Any) -> Place:
    """An installation with the task "toy" and nothing made of it. `jobs` in the gateway's configuration; by default none is started."""
    made = Place(root)
    made.settings.tasks.mkdir(parents=True)
    made.write(gateway={"jobs": {"running": 0}, "reload_seconds": 0.0} | gateway)
    return made


def store_of(where: Place) -> Store:
    return open_store(where.settings.home)


def started(url: str, kind: str, request: Any, **headers: str) -> dict[str, Any]:
    """A new job."""
    answer = ask(url, "/jobs", {"kind": kind, "request": request}, **headers)
    assert answer.status == 202, answer.body
    found: dict[str, Any] = answer.json["job"]
    return found


def wait_for(url: str, id: str, *states: str, seconds: float = 240) -> dict[str, Any]:
    """The job when it is in one of these states."""
    until = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = ask(url, f"/jobs/{id}").json
        if found["state"] in states:
            return found
        assert found["state"] not in ENDED and time.monotonic() < until, found
        time.sleep(0.2)


def sent(body: bytes) -> list[tuple[int | None, str, Any]]:
    """(number, kind, data) of server-sent events."""
    found = []
    for part in body.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"])))
    return found


def numbers(store: Store, id: str) -> list[int]:
    return [event["n"] for event in job_events_after(store, id, limit=100_000)]
