"""A decision that rests on the one before it is written only where no other has come since."""

from sqlalchemy import func, select

from pp_resources.store.opened import Store
from pp_resources.store.rows import Ack
from pp_resources.store.schema import decisions
from pp_resources.store.work import Decision
from pp_resources.store.work_rows import write_decisions


def write_after(store: Store, row: Decision, last: int) -> Ack | None:
    """Write a decision where the last one of its task and kind has the number `last` (0: there is none), else nothing: None."""
    c = decisions.c
    with store.writing() as db:
        newest = db.execute(select(func.max(c.seq)).where(c.task == row.task, c.kind == row.kind)).scalar() or 0
        if newest != last:
            return None
        (result,) = write_decisions(db, [row])
    if isinstance(result, Exception):
        raise result
    return result
