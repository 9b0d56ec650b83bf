"""Recounting: the sums of all rows from the rows alone, to prove those that are kept beside them, or to mend them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Connection, bindparam, delete, func, select, true, tuple_, update

from pp_resources.progress import steps
from pp_resources.store.buckets import Deltas
from pp_resources.store.common import chunks
from pp_resources.store.feedback_rows import COLUMNS, count_in, in_force, places, target
from pp_resources.store.opened import Store
from pp_resources.store.schema import TRAFFIC_AMOUNTS, feedback, inferences, scores, traffic

PAGE = 5000
TRAFFIC_COLUMNS = [inferences.c[name] for name in ("id", "task", "variant", "shadow", "at", "error", "valid", "cost", "latency_ms")]
TRAFFIC_COLUMNS += [inferences.c.tokens_in, inferences.c.tokens_out]


def rebuild(store: Store) -> dict[str, int]:
    """Recount everything in one transaction; writers wait. Tells how many `inferences` and `feedback` were read, how many `buckets` there
    are, and in how many of them and of the marks on feedback the stored counts `differed`. Sums of deleted rows stay as they are.
    """
    with store.writing() as db:
        total = sum(db.execute(select(func.count()).select_from(table)).scalar() or 0 for table in (inferences, feedback))
        with steps("recount", -(-total // PAGE)) as advance:
            deltas, flags, counts = _recount(db, advance)
        wanted = _amounts(deltas)
        there = _stored(db)
        differed = sum(wanted.get(key) != there.get(key) for key in wanted.keys() | there.keys())
        for table in (scores, traffic):
            db.execute(delete(table).where(table.c.kept == 0))
        deltas.write(db)
        for part in chunks(flags):
            db.execute(update(feedback).where(feedback.c.seq == bindparam("of")).values(counts=bindparam("now")), part)
    return {**counts, "buckets": len(wanted), "differed": differed + len(flags)}


def pages(db: Connection, columns: Sequence[Column[Any]], *order: Column[Any], where: Any = None) -> Iterator[list[Mapping[str, Any]]]:
    """All rows of a table in the order of unique columns, so many at a time that memory stays small."""
    query = select(*columns).where(true() if where is None else where).order_by(*order).limit(PAGE)
    last: tuple[Any, ...] | None = None
    while True:
        found = query if last is None else query.where(tuple_(*order) > last)
        page: list[Any] = list(db.execute(found).mappings())
        if page:
            yield page
        if len(page) < PAGE:
            return
        last = tuple(page[-1][column.name] for column in order)


def _recount(db: Connection, advance: Any) -> tuple[Deltas, list[dict[str, int]], dict[str, int]]:
    deltas, flags = Deltas(), list[dict[str, int]]()
    read = {"inferences": 0, "feedback": 0}
    for page in pages(db, TRAFFIC_COLUMNS, inferences.c.id):
        for row in page:
            deltas.request(row)
        read["inferences"] += len(page)
        advance("inferences")
    left: list[Mapping[str, Any]] = []
    for page in pages(db, COLUMNS, feedback.c.slot, feedback.c.seq):
        rows = left + page
        # The last slot may go on in the next page.
        left = [row for row in rows if row["slot"] == rows[-1]["slot"]]
        flags += _recount_slots(db, rows[: len(rows) - len(left)], deltas)
        read["feedback"] += len(page)
        advance("feedback")
    return deltas, flags + _recount_slots(db, left, deltas), read


def _recount_slots(db: Connection, rows: list[Mapping[str, Any]], deltas: Deltas) -> list[dict[str, int]]:
    """Count the feedback of whole slots; the marks that have to change."""
    wrong = []
    found = places(db, rows)
    for _, members in groupby(rows, key=lambda row: row["slot"]):
        group = list(members)
        best = in_force(group)
        if best is not None:
            count_in(deltas, best, found.get(target(best), ()))
        wrong += [{"of": row["seq"], "now": int(row is best)} for row in group if row["counts"] != int(row is best)]
    return wrong


def _amounts(deltas: Deltas) -> dict[Any, tuple[int, ...]]:
    tables = zip((scores, traffic), deltas.sums())
    return {(table.name, *key): tuple(amounts) for table, sums in tables for key, amounts in sums.items()}


def _stored(db: Connection) -> dict[Any, tuple[int, ...]]:
    """The sums in the tables that rows stand behind, without those that have come back to nothing."""
    found = {}
    for table, names in ((scores, ("n", "total", "squares")), (traffic, TRAFFIC_AMOUNTS)):
        keys = [column.name for column in table.primary_key]
        for row in db.execute(select(table).where(table.c.kept == 0)).mappings():
            amounts = tuple(int(row[name]) for name in names)
            if any(amounts):
                found[(table.name, *(row[key] for key in keys))] = amounts
    return found
