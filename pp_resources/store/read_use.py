"""Reading what the answers of one variant cost, and how many of them went to a person."""

from sqlalchemy import func, select

from pp_resources.store.opened import Store
from pp_resources.store.schema import inferences, queue


def latest_costs(store: Store, task: str, variant: str, since: int, limit: int = 2000) -> list[float]:
    """What those of the newest answers since a time (microseconds) cost that have a price, copies left out."""
    c = inferences.c
    query = select(c.cost, c.shadow).where(c.task == task, c.variant == variant, c.at >= since).order_by(c.at.desc()).limit(limit)
    with store.reading() as db:
        return [row.cost for row in db.execute(query) if row.cost is not None and not row.shadow]


def handed_over(store: Store, task: str, variant: str, since: int) -> int:
    """How many answers since a time (microseconds) were queued for a person, copies left out."""
    c = inferences.c
    mine = queue.c.task == task, c.task == task, c.variant == variant, c.at >= since, c.shadow == 0
    query = select(func.count(queue.c.inference.distinct())).join(inferences, c.id == queue.c.inference).where(*mine)
    with store.reading() as db:
        return db.execute(query).scalar() or 0
