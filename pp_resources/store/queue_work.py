"""Working the queue: what has to happen in one transaction, so that no two people hold one item."""

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, or_

from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store
from pp_resources.store.read_queue import FREE_FIRST, Work, item_of, joined
from pp_resources.store.retention import forget_demonstration
from pp_resources.store.schema import queue
from pp_resources.store.work import QueueChange
from pp_resources.store.work_rows import write_queue_changes


def claim_next(store: Store, tasks: Mapping[str, float], *, by: str, passed: Sequence[str] = ()) -> Work | None:
    """Take the item that comes next, for the seconds of its task: one that the person holds already, else of the free ones the longest
    waiting, audits last. `passed` are ids that the person does not want now. None where nothing is left."""
    at = now()
    free = or_(queue.c.state == "open", and_(queue.c.state == "claimed", queue.c.until <= at))
    held = and_(queue.c.state == "claimed", queue.c.by == by, queue.c.until > at)
    query = joined().where(queue.c.task.in_(list(tasks)), or_(free, held), queue.c.id.not_in(passed)).limit(1)
    with store.writing() as db:
        row = db.execute(query.order_by(held.desc(), *FREE_FIRST)).mappings().one_or_none()
        if row is None:
            return None
        change = QueueChange(item=row["id"], state="claimed", by=by, until=at + int(tasks[row["task"]] * MICRO), at=at)
        (result,) = write_queue_changes(db, [change])
        if isinstance(result, Exception):
            raise result
    return item_of(row)._replace(state="claimed", by=by, until=change.until, change=change.id, changed=at)


def take_back(store: Store, change: QueueChange) -> None:
    """Make an ended item the person's again: the demonstration that the answer was, which bears the answer's id, goes in the same
    transaction. Raises UserError where it is not theirs to take back."""
    with store.writing() as db:
        (result,) = write_queue_changes(db, [change])
        if isinstance(result, Exception):
            raise result
        if result.created and change.undoes is not None:
            forget_demonstration(db, change.undoes)
