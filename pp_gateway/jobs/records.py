"""Jobs as rows and events of the store, for all who read or write them: routes, launcher, worker, commands.

State goes queued → running → done, failed or cancelled; `cancelling` lies between where somebody asked for it. Whoever holds a job's lock
works on it; a running job whose lock is free has lost its process.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError
from pp_resources.settings import Settings
from pp_resources.store.ids import MICRO, iso, now, uuid7
from pp_resources.store.opened import Store
from pp_resources.store.read_work import job as read_job
from pp_resources.store.read_work import job_events_after, list_jobs, newest_job_events
from pp_resources.store.rows import Ack
from pp_resources.store.work import JOB_ENDS, Job, JobEvent

OPEN = ("queued", "running", "cancelling")
STATES = (*OPEN, *JOB_ENDS)
ASKED, DATA, STATE, MESSAGE, PROGRESS = "asked", "data", "state", "message", "progress"
SPEND, RESULT, ERROR, CANCEL = "spend", "result", "error", "cancel"
MESSAGES = (ASKED, STATE, MESSAGE, PROGRESS, SPEND, RESULT, ERROR, CANCEL)
SHOWN = ("task", "trials", "minutes", "variant", "topic", "kind", "seed", "judge", "write", "num_inputs", "exploration_mode", "per_seed")
NO_SPEND = {"requests": 0, "tokens_in": 0, "tokens_out": 0, "cost": None}


def owner_of(row: Mapping[str, Any]) -> str:
    """The caller whose job it is, "" where no key was asked for."""
    return str(row["key"] or "").partition(":")[0]


def new_job(kind: str, request: Mapping[str, Any], caller: str, key: str | None) -> tuple[Job, JobEvent]:
    """A row, and its first event: the single settings of what was asked, for all who do not want all of it. Keys of two callers are two;
    without one the job has a key of its own, so that its owner is known."""
    id = uuid7()
    asked = {name: request[name] for name in SHOWN if name in request}
    row = Job(id=id, kind=kind, payload=dict(request), key=f"{caller}:{key or id}")
    return row, JobEvent(job=id, kind=ASKED, data=asked)


def add_job(store: Store, row: Job, first: JobEvent) -> Ack:
    """Write a new job. One whose key is known stays as it is, without another event. Raises UserError where the key is that of another."""
    added, _ = store.write_many([row, first])
    if isinstance(added, Exception):
        raise added
    return added


def lock_of(home: Path, id: str) -> FileLock:
    """The lock of a job. It is free when its process has ended, however it did."""
    folder = home / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{id}.lock", timeout=0)


def log_of(home: Path, id: str) -> Path:
    """What the job's process printed."""
    return home / "logs" / "jobs" / f"{id}.log"


def is_worked_on(home: Path, id: str) -> bool:
    """Whether a process holds the job's lock."""
    lock = lock_of(home, id)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def place_of(home: Path) -> str:
    """A name of this home folder, for stores that several of them share: locks are seen from here alone."""
    file = home / "jobs" / "place"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            if not file.exists():
                write_atomic(file, uuid7() + "\n")
    return file.read_text("utf-8").strip()


def begun_elsewhere(store: Store, home: Path, ids: Collection[str]) -> set[str]:
    """Those of the jobs whose process is one of another home folder."""
    begun = newest_job_events(store, ids, [STATE])
    return {id for id, found in begun.items() if found[STATE]["data"].get("place") != place_of(home)}


def ask_to_cancel(store: Store, home: Path, id: str, who: str) -> str:
    """Ask for the end of a job; its state then. One that nobody works on yet ends at once; one that has ended stays as it is."""
    row = read_job(store, id)
    if row is None or row["state"] in JOB_ENDS or row["state"] == "cancelling":
        return str(row["state"]) if row else ""
    with suppress(UserError):  # it has ended in between
        store.write(JobEvent(job=id, kind=CANCEL, data={"by": who}, state="cancelling"))
    lock = lock_of(home, id)
    with suppress(Timeout), lock:
        # Only what has not begun: a run that began is to be ended in Dagster, too.
        if not job_events_after(store, id, kinds=[STATE]):
            end(store, home, id, "cancelled", {"seconds": 0.0})
    found = read_job(store, id)
    return str(found["state"]) if found else ""


def end(store: Store, home: Path, id: str, state: str, data: Mapping[str, Any]) -> None:
    """Write a job's end; the lock must be held. An end that is there stays."""
    with suppress(UserError):
        store.write(JobEvent(job=id, kind=STATE, data=dict(data), state=state))
    # The next one to take the lock sees that it has ended.
    (home / "jobs" / f"{id}.lock").unlink(missing_ok=True)


def failure(what: str, where: str = "", how: str = "") -> dict[str, Any]:
    """An error as it is told."""
    return {"what": what, "where": where, "how": how}


def without_paths(text: str, settings: Settings) -> str:
    """Who asks from elsewhere is told of variables, not of folders of this machine."""
    return text.replace(str(settings.home), "PP_HOME").replace(str(settings.tasks), "PP_TASKS")


def describe(store: Store, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is told of jobs: state, times, progress, spend, result or error. What was sent is not told again, but for single settings."""
    last = newest_job_events(store, [row["id"] for row in rows], MESSAGES)
    return [_described(row, last.get(row["id"], {})) for row in rows]


def earlier_seconds(store: Store, row: Mapping[str, Any], most: int = 5) -> list[float]:
    """How long the last jobs of this kind for this task took that were done."""
    task = row["payload"].get("task")
    done = list_jobs(store, 50, states=["done"], kind=row["kind"], payload=False)
    last = newest_job_events(store, [one["id"] for one in done], [ASKED, STATE])
    same = [last[one["id"]] for one in done if last[one["id"]][ASKED]["data"].get("task") == task]
    return [float(found[STATE]["data"]["seconds"]) for found in same[:most]]


def _described(row: Mapping[str, Any], last: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    state, progress = row["state"], last.get(PROGRESS)
    asked = last[ASKED]["data"] if ASKED in last else {}
    told: dict[str, Any] = {
        "id": row["id"],
        "kind": row["kind"],
        "state": state,
        "task": asked.get("task"),
        "caller": owner_of(row),
        "request": {name: value for name, value in asked.items() if name != "task"},
        "created": iso(row["at"]),
        "changed": iso(row["changed"]),
        "last_event": max((event["n"] for event in last.values()), default=0),
        "progress": None,
        "eta_s": None,
        "eta_from": None,
        "spend": last[SPEND]["data"] if SPEND in last else NO_SPEND,
        "result": last[RESULT]["data"] if RESULT in last else None,
        "error": last[ERROR]["data"] if ERROR in last else None,
    }
    if progress and state in OPEN:
        said, age = progress["data"], (now() - progress["at"]) / MICRO
        told["progress"] = {"parts": said["parts"], "share": said["share"]}
        # It is later by now: what was left is less, however long nothing was heard.
        told["eta_s"] = None if said["eta_s"] is None else round(max(0.0, said["eta_s"] - age), 1)
        told["eta_from"] = said["eta_from"]
    return told
