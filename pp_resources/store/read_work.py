"""Reading examples, jobs, the queue and decisions."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson
from sqlalchemy import Table, and_, func, select, true, tuple_

from pp_resources.store.opened import Store
from pp_resources.store.schema import decisions, example_changes, examples, job_events, jobs, queue
from pp_resources.store.work import ExampleChange


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


def list_jobs(
    store: Store,
    limit: int = 100,
    *,
    states: Collection[str] | None = None,
    kind: str | None = None,
    owner: str | None = None,
    before: str | None = None,
    newest_first: bool = True,
    payload: bool = True,
) -> list[dict[str, Any]]:
    """The newest jobs first (or last): of some states, of a kind, those whose key begins with `owner`, those made before another one (its
    id: ids sort by time). Without `payload` what was asked for, which may be much, stays where it is."""
    where: list[Any] = [] if states is None else [jobs.c.state.in_(states)]
    where += [] if kind is None else [jobs.c.kind == kind]
    where += [] if owner is None else [jobs.c.key.startswith(owner, autoescape=True)]
    where += [] if before is None else [jobs.c.id < before]
    order = jobs.c.id.desc() if newest_first else jobs.c.id
    return _rows(store, jobs, and_(true(), *where), order=order, limit=limit, without=() if payload else ("payload",))


def job_events_after(
    store: Store, id: str, after: int = 0, limit: int = 1000, *, kinds: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Events of a job in order, those after a number; of some kinds, or of all."""
    where = (job_events.c.job == id) & (job_events.c.n > after)
    return _rows(store, job_events, where if kinds is None else where & job_events.c.kind.in_(kinds), order=job_events.c.n, limit=limit)


def newest_job_events(store: Store, ids: Collection[str], kinds: Collection[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """By job and kind the last event of that kind, where there is one."""
    c = job_events.c
    last = select(c.job, func.max(c.n).label("n")).where(c.job.in_(ids), c.kind.in_(kinds)).group_by(c.job, c.kind).subquery()
    where = tuple_(c.job, c.n).in_(select(last.c.job, last.c.n))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in _rows(store, job_events, where, order=c.n) if ids else ():
        found.setdefault(row["job"], {})[row["kind"]] = row
    return found


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


def _rows(
    store: Store, table: Table, where: Any = None, *, order: Any = None, limit: int | None = None, without: Collection[str] = ()
) -> list[dict[str, Any]]:
    query = select(*(column for column in table.c if column.name not in ("content", *without))).order_by(order).limit(limit)
    with store.reading() as db:
        return [decoded(row) for row in db.execute(query if where is None else query.where(where)).mappings()]


def decoded(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row with its nested values."""
    return {**row, **{name: orjson.loads(row[name] or "{}") for name in ("payload", "data", "detail") if name in row}}
