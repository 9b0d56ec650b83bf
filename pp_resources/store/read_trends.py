"""Reading what a dashboard draws beside the sums: sessions that go on, items for people by time, decisions over time. Each read looks at
an index over the few rows that it is about; no inference is read."""

from typing import Any, get_args

from sqlalchemy import func, select

from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store
from pp_resources.store.prepared import rows_where
from pp_resources.store.read_queue import AUDIT
from pp_resources.store.read_work import decoded
from pp_resources.store.schema import decisions, episodes, queue, served
from pp_resources.store.work import QueueState

PAGE = 2000
MOST_LOOKED_AT = 20_000  # decisions of one kind; a chart of more begins later


def active_count(store: Store, task: str, since: float) -> int:
    """How many episodes that a task answered in go on: those with an inference since a time (seconds since 1970)."""
    answered = select(served.c.episode).where(served.c.episode == episodes.c.id, served.c.task == task, served.c.shadow == 0)
    query = select(func.count()).select_from(episodes).where(episodes.c.last_at >= int(since * MICRO), answered.exists())
    with store.reading() as db:
        return int(db.execute(query).scalar_one())


def queued_series(store: Store, task: str, width: int, *, since: int = 0) -> dict[int, int]:
    """How many items were put before people, those aside that chance chose for a look, by bucket of `width` seconds (its start in seconds
    since 1970); times are the items' own."""
    start = (queue.c.at // (width * MICRO)).label("start")
    # The index is by state: all of them named, it is read in parts and nothing else is.
    mine = (queue.c.task == task) & queue.c.state.in_(get_args(QueueState)) & (queue.c.at >= since * MICRO)
    query = select(start, func.count()).where(mine, queue.c.reason != AUDIT).group_by(start)
    with store.reading() as db:
        return {int(place) * width: int(n) for place, n in db.execute(query)}


def decisions_between(store: Store, task: str, kind: str, *, since: int, most: int = 100) -> list[dict[str, Any]]:
    """Decisions of one kind from a time (seconds since 1970) on, oldest first: all of them, or `most` evenly spread with the first and the
    newest among them. The one in force at that time comes first, so that a chart knows where it begins."""
    chosen = _numbers(store, task, kind, since * MICRO)
    if len(chosen) > most:
        chosen = [chosen[round(place * (len(chosen) - 1) / (most - 1))] for place in range(most)]
    columns = [column for column in decisions.c if column.name != "content"]
    with store.reading() as db:
        rows = rows_where(db, columns, decisions.c.seq, chosen)
    return sorted((decoded(row) for row in rows), key=lambda row: row["seq"])


def _numbers(store: Store, task: str, kind: str, since: int) -> list[int]:
    """Numbers of the decisions since then and of the last one before, in order."""
    c = decisions.c
    found: list[int] = []
    with store.reading() as db:
        while len(found) < MOST_LOOKED_AT:
            query = select(c.seq, c.at).where(c.task == task, c.kind == kind).order_by(c.seq.desc()).limit(PAGE)
            page = db.execute(query.where(c.seq < found[-1]) if found else query).all()
            for seq, at in page:
                found.append(seq)
                if at < since:
                    return found[::-1]
            if len(page) < PAGE:
                break
    return found[::-1]
