"""All worked examples of a task as growth and retrieval read them: with vectors, and with who decided on them last."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import func, select

from pp_resources.store.common import rows_where
from pp_resources.store.opened import Store
from pp_resources.store.schema import counters, example_changes, examples, inferences

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Stored:
    """One example and its last change: `reason`, `who` and `changed` (microseconds) are "" and 0 where it was never changed. `vector` is
    float32 of the encoder's size."""

    id: str
    input: str
    output: str
    vector: "np.ndarray"
    encoder: str
    label: str
    origin: str
    parents: tuple[str, ...]
    score: float | None
    subject: str | None
    at: int
    state: str
    reason: str
    who: str
    changed: int


class Mark(NamedTuple):
    """Differs where the active examples of a task do: how many there are, and how many changes the store has seen."""

    active: int
    changes: int


def stored_examples(store: Store, task: str, *, variant: str = "", state: str | None = None) -> list[Stored]:
    """The examples of a task that serve one variant (its own, and those for any), of one state or of all, by id; one state of the store."""
    import numpy as np

    c, change = examples.c, example_changes.c
    last = select(change.example, func.max(change.seq).label("seq")).group_by(change.example).subquery()
    names = ("id", "input", "output", "embedding", "encoder", "label", "origin", "parents", "score", "subject", "at", "state")
    query = select(*(c[name] for name in names), change.reason, change.who, change.at.label("changed"))
    query = query.select_from(examples.outerjoin(last, last.c.example == c.id).outerjoin(example_changes, change.seq == last.c.seq))
    query = query.where(c.task == task, c.variant.in_({"", variant})).order_by(c.id)
    with store.reading() as db:
        rows = db.execute(query if state is None else query.where(c.state == state)).mappings()
        return [_stored(dict(row), np) for row in rows]


def examples_mark(store: Store, task: str) -> Mark:
    """A cheap look at whether there is something new. An example that was written without a change in the moment in which another went is
    missed: who adds examples writes a change with each."""
    of_task = select(func.count()).select_from(examples).where(examples.c.task == task, examples.c.state == "active")
    with store.reading() as db:
        changes = db.execute(select(counters.c.value).where(counters.c.name == example_changes.name)).scalar()
        return Mark(db.execute(of_task).scalar() or 0, int(changes or 0))


def examples_with_reason(store: Store, task: str, reason: str) -> set[str]:
    """Ids of the examples of a task that were once changed for a reason that begins like this."""
    query = select(example_changes.c.example).join(examples, examples.c.id == example_changes.c.example)
    query = query.where(examples.c.task == task, example_changes.c.reason.startswith(reason, autoescape=True)).distinct()
    with store.reading() as db:
        return set(db.execute(query).scalars())


def subjects_of(store: Store, ids: list[str]) -> dict[str, str | None]:
    """By inference the person it belongs to; ids that are not there are left out."""
    with store.reading() as db:
        return {row["id"]: row["subject"] for row in rows_where(db, [inferences.c.id, inferences.c.subject], inferences.c.id, ids)}


def _stored(row: dict[str, Any], np: Any) -> Stored:
    vector = np.frombuffer(row.pop("embedding"), np.float32)
    row |= {"parents": tuple(orjson.loads(row["parents"])), "vector": vector}
    row |= {"reason": row["reason"] or "", "who": row["who"] or "", "changed": row["changed"] or 0}
    return Stored(**row)
