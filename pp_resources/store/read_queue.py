"""Reading the queue as people work it: items with the inference that they are about, counts of what waits, and what has been done."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Select, and_, case, func, or_, select

from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store
from pp_resources.store.schema import inferences, queue

DAY = 86_400 * MICRO
STATES = ("open", "claimed", "answered", "dismissed")
AUDIT = "audit"  # the reason of items that chance chose
FREE_FIRST = (case((queue.c.reason == AUDIT, 1), else_=0), queue.c.at, queue.c.id)


class Work(NamedTuple):
    """One item with what the model was asked and said. Times in microseconds; `confidence` and `valid` are the inference's, `detail` holds
    the confidence by field and what made the reason. `change` is the id of the last change."""

    id: str
    task: str
    reason: str
    detail: Mapping[str, Any]
    state: str
    by: str | None
    answer: str | None
    agrees: bool | None
    until: int | None
    change: str | None
    at: int
    changed: int
    inference: str
    variant: str
    input: str
    output: str | None
    confidence: float | None
    valid: bool | None
    episode: str | None

    def is_free(self, at: int) -> bool:
        """Whether anybody may claim it."""
        return self.state == "open" or (self.state == "claimed" and self.until is not None and self.until <= at)


_OF_INFERENCE = ("variant", "input", "output", "confidence", "valid", "episode")
_COLUMNS = [(inferences if name in _OF_INFERENCE else queue).c[name] for name in Work._fields]


def joined() -> Select[Any]:
    """Items with their inferences."""
    return select(*_COLUMNS).select_from(queue.join(inferences, queue.c.inference == inferences.c.id))


def item_of(row: Any) -> Work:
    flags = {name: None if row[name] is None else bool(row[name]) for name in ("agrees", "valid")}
    return Work(**{**row, **flags, "detail": orjson.loads(row["detail"] or "{}")})


def work(store: Store, id: str) -> Work | None:
    """One item, None where there is none of that id."""
    with store.reading() as db:
        row = db.execute(joined().where(queue.c.id == id)).mappings().one_or_none()
    return None if row is None else item_of(row)


def list_work(store: Store, tasks: Collection[str], *, state: str = "open", limit: int = 50) -> list[Work]:
    """Items of one state: what waits in the order in which it is taken, what has ended the latest first. "open" holds those whose claim
    has run out, "claimed" only those that somebody holds."""
    at = now()
    ran_out = and_(queue.c.state == "claimed", queue.c.until <= at)
    where = {
        "open": or_(queue.c.state == "open", ran_out),
        "claimed": and_(queue.c.state == "claimed", or_(queue.c.until.is_(None), queue.c.until > at)),
    }.get(state, queue.c.state == state)
    order = FREE_FIRST if state in ("open", "claimed") else (queue.c.changed.desc(), queue.c.id)
    with store.reading() as db:
        query = joined().where(where, queue.c.task.in_(tasks)).order_by(*order).limit(limit)
        return [item_of(row) for row in db.execute(query).mappings()]


class Waiting(NamedTuple):
    """What waits in one task: items that are free, that somebody holds, and since when (microseconds) the oldest of all waits."""

    open: int
    claimed: int
    oldest: int


def waiting(store: Store) -> dict[str, Waiting]:
    """By task, for those where something waits. Looks only at items that have not ended."""
    held = and_(queue.c.state == "claimed", or_(queue.c.until.is_(None), queue.c.until > now()))
    taken = func.sum(case((held, 1), else_=0))
    query = select(queue.c.task, func.count(), taken, func.min(queue.c.at)).where(queue.c.state.in_(("open", "claimed")))
    with store.reading() as db:
        return {task: Waiting(int(n - held), int(held), oldest) for task, n, held, oldest in db.execute(query.group_by(queue.c.task))}


class Done(NamedTuple):
    """Items of one task, reason and UTC day (its start, microseconds) that ended: how many were `answered`, in how many of these people
    `agreed` with the model, and how many needed no answer."""

    task: str
    reason: str
    day: int
    answered: int
    agreed: int
    dismissed: int


def done(store: Store, *, since: int, task: str | None = None) -> list[Done]:
    """What has ended since a time, by day."""
    c = queue.c
    day = (c.changed - c.changed % DAY).label("day")
    answered, dismissed = (func.sum(case((c.state == state, 1), else_=0)) for state in ("answered", "dismissed"))
    agreed = func.sum(case((and_(c.state == "answered", c.agrees == 1), 1), else_=0))
    query = select(c.task, c.reason, day, answered, agreed, dismissed).where(c.state.in_(("answered", "dismissed")), c.changed >= since)
    if task is not None:
        query = query.where(c.task == task)
    with store.reading() as db:
        rows = db.execute(query.group_by(c.task, c.reason, day).order_by(day, c.task, c.reason))
        return [Done(row[0], row[1], *(int(value) for value in row[2:])) for row in rows]
