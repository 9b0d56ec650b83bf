"""Reading examples, jobs, the queue and decisions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import Table, func, select

from pp_resources.store.opened import Store
from pp_resources.store.prepared import rows_where
from pp_resources.store.schema import decisions, example_changes, examples, job_events, jobs, queue
from pp_resources.store.work import ExampleChange

if TYPE_CHECKING:
    import numpy as np


class Vectors(NamedTuple):
    """Examples in the order of their ids, a row of `matrix` (float32, n x d) each."""

    ids: list[str]
    matrix: "np.ndarray"


def example_vectors(store: Store, task: str, encoder: str, variant: str = "") -> Vectors:
    """The active examples of a task for one variant (its own, and those for any) whose vectors are of one encoder."""
    import numpy as np

    c = examples.c
    query = select(c.id, c.embedding).where(c.task == task, c.state == "active", c.encoder == encoder, c.variant.in_({"", variant}))
    with store.reading() as db:
        rows = db.execute(query.order_by(c.id)).all()
    if not rows:
        return Vectors([], np.empty((0, 0), np.float32))
    return Vectors([row.id for row in rows], np.frombuffer(b"".join(row.embedding for row in rows), np.float32).reshape(len(rows), -1))


def read_examples(store: Store, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Examples by id, in the order asked for, without their vectors; ids that are not there are left out."""
    with store.reading() as db:
        columns = [column for column in examples.c if column.name not in ("embedding", "content")]
        found = {row["id"]: {**row, "parents": orjson.loads(row["parents"])} for row in rows_where(db, columns, examples.c.id, ids)}
    return [found[id] for id in ids if id in found]


def list_examples(store: Store, task: str, *, state: str | None = None, after: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """A page of a task's examples by id, those after one."""
    query = select(examples.c.id).where(examples.c.task == task, examples.c.id > after).order_by(examples.c.id).limit(limit)
    with store.reading() as db:
        ids = db.execute(query if state is None else query.where(examples.c.state == state)).scalars().all()
    return read_examples(store, ids)


def example_history(store: Store, id: str) -> list[dict[str, Any]]:
    """The changes of one example, oldest first."""
    return _rows(store, example_changes, example_changes.c.example == id, order=example_changes.c.seq)


def roll_back_examples(store: Store, task: str, to: int, *, reason: str, who: str, variant: str | None = None) -> list[ExampleChange]:
    """Bring the examples of a task (or of one of its variants) back to how they were at a time (microseconds): what was added later is
    taken out, later changes are undone, each by a change of its own. Returns the changes that were needed."""
    mine = examples.c.task == task if variant is None else (examples.c.task == task) & (examples.c.variant == variant)
    with store.reading() as db:
        now = db.execute(select(examples.c.id, examples.c.at, examples.c.state).where(mine)).all()
        earlier = select(example_changes.c.example, example_changes.c.state).join(examples, examples.c.id == example_changes.c.example)
        then = dict(db.execute(earlier.where(mine, example_changes.c.at <= to).order_by(example_changes.c.seq)).tuples().all())
    wanted: dict[str, Any] = {row.id: then.get(row.id, "active") if row.at <= to else "removed" for row in now}
    changes = [ExampleChange(example=row.id, state=wanted[row.id], reason=reason, who=who) for row in now if row.state != wanted[row.id]]
    for result in store.write_many(changes):
        if isinstance(result, Exception):
            raise result
    return changes


def job(store: Store, id: str) -> dict[str, Any] | None:
    """A job with its state; `changed` is when that last changed."""
    return next(iter(_rows(store, jobs, jobs.c.id == id)), None)


def list_jobs(store: Store, limit: int = 100) -> list[dict[str, Any]]:
    """The newest jobs first."""
    return _rows(store, jobs, order=jobs.c.at.desc(), limit=limit)


def job_events_after(store: Store, id: str, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """Events of a job in order, those after a number."""
    return _rows(store, job_events, (job_events.c.job == id) & (job_events.c.n > after), order=job_events.c.n, limit=limit)


def queue_items(store: Store, *, state: str = "open", task: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Items of one state, the longest waiting first."""
    where = queue.c.state == state if task is None else (queue.c.state == state) & (queue.c.task == task)
    return _rows(store, queue, where, order=queue.c.at, limit=limit)


def queue_counts(store: Store, task: str | None = None) -> dict[str, int]:
    """How many items there are by state."""
    query = select(queue.c.state, func.count()).group_by(queue.c.state)
    with store.reading() as db:
        return dict(db.execute(query if task is None else query.where(queue.c.task == task)).tuples().all())


def decisions_on(store: Store, task: str, *, after: int = 0, kind: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Decisions on a task after a number, newest first."""
    where = (decisions.c.task == task) & (decisions.c.seq > after)
    return _rows(store, decisions, where if kind is None else where & (decisions.c.kind == kind), order=decisions.c.seq.desc(), limit=limit)


def _rows(store: Store, table: Table, where: Any = None, *, order: Any = None, limit: int | None = None) -> list[dict[str, Any]]:
    query = select(*(column for column in table.c if column.name != "content")).order_by(order).limit(limit)
    with store.reading() as db:
        return [decoded(row) for row in db.execute(query if where is None else query.where(where)).mappings()]


def decoded(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row with its nested values."""
    return {**row, **{name: orjson.loads(row[name] or "{}") for name in ("payload", "data", "detail") if name in row}}
