"""Writing examples, jobs, the queue and decisions."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, insert, select, update

from pp_resources.errors import UserError
from pp_resources.store.common import Result, Values, split_known
from pp_resources.store.prepared import rows_where
from pp_resources.store.rows import Ack
from pp_resources.store.schema import decisions, example_changes, examples, job_events, jobs, queue
from pp_resources.store.work import Decision, Example, ExampleChange, Job, JobEvent, QueueChange, QueueItem

ENDED = ("answered", "dismissed")


def write_examples(db: Connection, rows: Sequence[Example]) -> list[Result]:
    fresh, results = split_known(db, examples, rows)
    if fresh:
        db.execute(insert(examples), [values | {"state": "active"} for values in fresh])
    return results


def write_example_changes(db: Connection, rows: Sequence[ExampleChange]) -> list[Result]:
    """Changes are kept in the order in which they came; the example carries the last one's state."""
    there = {row["id"] for row in rows_where(db, [examples.c.id], examples.c.id, {row.example for row in rows})}
    fresh, results = split_known(db, example_changes, [row for row in rows if row.example in there], number="seq")
    if fresh:
        db.execute(insert(example_changes), fresh)
        changed = [{"of": values["example"], "now": values["state"]} for values in fresh]
        db.execute(update(examples).where(examples.c.id == bindparam("of")).values(state=bindparam("now")), changed)
    done = iter(results)
    return [next(done) if row.example in there else _nothing("example", row.example) for row in rows]


def write_jobs(db: Connection, rows: Sequence[Job]) -> list[Result]:
    fresh, results = split_known(db, jobs, rows)
    if fresh:
        db.execute(insert(jobs), [values | {"state": "queued", "changed": values["at"]} for values in fresh])
    return results


def write_job_events(db: Connection, rows: Sequence[JobEvent]) -> list[Result]:
    """Events are numbered from 1 within their job."""
    there = {row["id"] for row in rows_where(db, [jobs.c.id], jobs.c.id, {row.job for row in rows})}
    taken = [row for row in rows if row.job in there]
    fresh, results = split_known(db, job_events, taken)
    last: dict[str, int] = {}
    for values in fresh:
        job = values["job"]
        if job not in last:
            last[job] = db.execute(select(func.max(job_events.c.n)).where(job_events.c.job == job)).scalar() or 0
        values["n"] = last[job] = last[job] + 1
    if fresh:
        db.execute(insert(job_events), fresh)
    moved = [{"of": values["job"], "now": values["state"], "when": values["at"]} for values in fresh if values["state"]]
    if moved:
        db.execute(update(jobs).where(jobs.c.id == bindparam("of")).values(state=bindparam("now"), changed=bindparam("when")), moved)
    numbers = {row["id"]: row["n"] for row in rows_where(db, [job_events.c.id, job_events.c.n], job_events.c.id, {row.id for row in taken})}
    done = iter(one._replace(seq=numbers[one.id]) if isinstance(one, Ack) else one for one in results)
    return [next(done) if row.job in there else _nothing("job", row.job) for row in rows]


def write_queue_items(db: Connection, rows: Sequence[QueueItem]) -> list[Result]:
    fresh, results = split_known(db, queue, rows)
    if fresh:
        db.execute(insert(queue), [values | {"state": "open", "changed": values["at"]} for values in fresh])
    return results


def write_queue_changes(db: Connection, rows: Sequence[QueueChange]) -> list[Result]:
    """An item that was answered or dismissed stays so, but for whoever did it and takes it back; one that is claimed is its holder's as
    long as the claim holds. Any other change is refused, the same one again is known."""
    columns = [queue.c[name] for name in ("id", "state", "change", "by", "until")]
    items = {row["id"]: dict(row) for row in rows_where(db, columns, queue.c.id, {row.item for row in rows})}
    results: list[Result] = []
    changed: dict[str, Values] = {}
    for row in rows:
        item = items.get(row.item)
        if item is None:
            results.append(_nothing("queue item", row.item))
        elif item["change"] == row.id:
            results.append(Ack(row.id, created=False))
        elif why := _barred(item, row):
            results.append(UserError(why, where=f"queue item {row.item}", how="read it again"))
        else:
            item |= {"state": row.state, "change": row.id, "by": row.by, "until": row.until}
            changed[row.item] = {"of": row.item, "s": row.state, "who": row.by, "said": row.answer, "c": row.id, "when": row.at}
            changed[row.item] |= {"to": row.until, "same": None if row.agrees is None else int(row.agrees)}
            results.append(Ack(row.id))
    if changed:
        values: Values = {"state": bindparam("s"), "by": bindparam("who"), "answer": bindparam("said")}
        values |= {"change": bindparam("c"), "changed": bindparam("when"), "until": bindparam("to"), "agrees": bindparam("same")}
        db.execute(update(queue).where(queue.c.id == bindparam("of")).values(values), list(changed.values()))
    return results


def _barred(item: Values, row: QueueChange) -> str | None:
    """Why an item may not be changed so."""
    if item["state"] in ENDED:
        own = row.undoes == item["change"] and row.by == item["by"]
        return None if own else f"is {item['state']} already"
    if row.undoes is not None:
        return "is open again already"
    held = item["state"] == "claimed" and item["by"] != row.by and (item["until"] is None or item["until"] > row.at)
    return f"is claimed by {item['by']}" if held else None


def write_decisions(db: Connection, rows: Sequence[Decision]) -> list[Result]:
    fresh, results = split_known(db, decisions, rows, number="seq")
    if fresh:
        db.execute(insert(decisions), fresh)
    return results


def _nothing(what: str, id: str) -> UserError:
    return UserError(f"there is no {what} {id!r}", where=what, how="write it first, or see that its id is right")
