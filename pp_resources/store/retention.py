"""Forgetting: what is older than its time, and all of one person. Sums stay, for they hold no text.

The sums of deleted rows are kept apart from those that a recount can make (`kept`), so both stay true.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from pp_resources.progress import steps
from pp_resources.store.buckets import Deltas
from pp_resources.store.common import chunks
from pp_resources.store.feedback_rows import COLUMNS, count_in, in_force, places, target
from pp_resources.store.ids import now
from pp_resources.store.opened import Store, subject_digest
from pp_resources.store.prepared import merge_rows, rows_where
from pp_resources.store.rebuild import TRAFFIC_COLUMNS
from pp_resources.store.rows import VALUES
from pp_resources.store.schema import (
    decisions,
    episodes,
    erasures,
    example_changes,
    examples,
    feedback,
    inferences,
    job_events,
    jobs,
    queue,
    served,
)
from pp_resources.store.work import JOB_ENDS

PART = 1000  # inferences, or decisions, of one transaction: writers get their turn in between
FREQUENT = "weights"  # the kind of decisions that come by the minute, each resting on the last; the others are a record for people


def retain(store: Store, *, before: int, task: str | None = None) -> dict[str, int]:
    """Delete the inferences of before a time (microseconds), with their feedback and queue items, and feedback on inputs of its own that is
    as old: of one task, or of all, which also takes feedback whose target never came, and jobs that had ended by then. Examples stay.

    Of decisions, those on weights go that were not in force any more at that time. The last one of before it stays, as the next one rests
    on it; its state tells of the roll-backs and the winner of its experiment. All other kinds (promotions, roll-backs, the flywheel's
    turns, next steps, growth of examples) are rarer, and stay: they are the record of what was done. Returns how many rows went."""
    old = inferences.c.at < before
    of_task = [] if task is None else [inferences.c.task == task]
    report = {"inferences": 0, "feedback": 0, "queue": 0, "decisions": 0} | ({"jobs": 0} if task is None else {})
    with store.reading() as db:
        count = db.execute(select(func.count()).select_from(inferences).where(old, *of_task)).scalar() or 0
    with steps("retain", -(-count // PART)) as advance:
        while True:
            with _changing(store) as (db, deltas):
                rows = db.execute(select(*TRAFFIC_COLUMNS, inferences.c.episode).where(old, *of_task).limit(PART)).mappings().all()
                _add(report, _forget(db, rows, deltas))
            advance(f"{report['inferences']}")
            if len(rows) < PART:
                break
    with _changing(store) as (db, deltas):
        # Whole slots: the correction of a value goes with it or stays with it.
        of_task = [] if task is None else [feedback.c.task == task]
        outdated = select(feedback.c.slot).where(feedback.c.inference.is_(None), feedback.c.episode.is_(None), *of_task)
        slots = db.execute(outdated.group_by(feedback.c.slot).having(func.max(feedback.c.at) < before)).scalars().all()
        gone: list[Any] = list(rows_where(db, COLUMNS, feedback.c.slot, slots))
        if task is None:
            gone += db.execute(select(*COLUMNS).where(feedback.c.visible.is_(None), feedback.c.at < before)).mappings().all()
        report["feedback"] += _forget_feedback(db, gone, deltas)
        if task is None:
            ended = db.execute(select(jobs.c.id).where(jobs.c.state.in_(JOB_ENDS), jobs.c.changed < before)).scalars().all()
            _delete(db, job_events.c.job, ended)
            report["jobs"] = _delete(db, jobs.c.id, ended)
    report["decisions"] = _forget_decisions(store, before, task)
    _truncate_log(store)
    return report


def erase(store: Store, subject: str) -> dict[str, int]:
    """Delete what belongs to a person: inferences with all that was said of them and their queue items, examples made from them, comments
    and corrections of the person. Values that the person gave on other people's answers stay as numbers without sender or text.

    Rows of the person that come later but were made before now (a journal, a late sender) are dropped. Returns how many rows went.
    """
    report = {"inferences": 0, "feedback": 0, "feedback_without_sender": 0, "queue": 0, "examples": 0}
    with _changing(store) as (db, deltas):
        merge_rows(db, erasures, [{"subject": subject_digest(subject), "at": now()}], lambda _, new: {"at": new.at})
        query = select(*TRAFFIC_COLUMNS, inferences.c.episode).where(inferences.c.subject == subject)
        rows = db.execute(query).mappings().all()
        ids = [row["id"] for row in rows]
        _add(report, _forget(db, rows, deltas))
        made = {row["id"] for row in rows_where(db, [examples.c.id], examples.c.origin, ids)}
        made |= set(db.execute(select(examples.c.id).where(examples.c.subject == subject)).scalars())
        report["examples"] = _delete(db, examples.c.id, made)
        _delete(db, example_changes.c.example, made)
        said = db.execute(select(*COLUMNS).where(feedback.c.subject == subject)).mappings().all()
        report["feedback"] += _forget_feedback(db, [row for row in said if row["kind"] not in VALUES], deltas)
        nobody = {"subject": None, "key": None, "comment": None, "input": None, "answer": None, "source": "", "content": ""}
        report["feedback_without_sender"] = db.execute(update(feedback).where(feedback.c.subject == subject).values(nobody)).rowcount
    _truncate_log(store)
    return report


def forget_demonstration(db: Connection, id: str) -> None:
    """Delete one demonstration, by its id, where there is one: whoever gave it takes it back. What it had corrected is in force again."""
    rows = db.execute(select(*COLUMNS).where(feedback.c.id == id, feedback.c.kind == "demonstration")).mappings().all()
    _forget_feedback(db, rows, Deltas())  # a demonstration has no part in any sum


@contextmanager
def _changing(store: Store) -> Iterator[tuple[Connection, Deltas]]:
    with store.writing() as db:
        deltas = Deltas()
        yield db, deltas
        deltas.write(db)


def _forget(db: Connection, rows: Iterable[Any], deltas: Deltas) -> dict[str, int]:
    """Delete inferences and what hangs on them; their sums become kept ones. An episode goes with the last of its inferences."""
    rows = list(rows)
    ids = [row["id"] for row in rows]
    for row in rows:
        deltas.request(row, -1)
        deltas.request(row, 1, kept=1)
    count = _forget_feedback(db, rows_where(db, COLUMNS, feedback.c.inference, ids), deltas)
    report = {"queue": _delete(db, queue.c.inference, ids), "inferences": _delete(db, inferences.c.id, ids)}
    touched = {row["episode"] for row in rows} - {None}
    over = touched - {row["episode"] for row in rows_where(db, [inferences.c.episode], inferences.c.episode, touched)}
    count += _forget_feedback(db, rows_where(db, COLUMNS, feedback.c.episode, over), deltas)
    _delete(db, served.c.episode, over)
    _delete(db, episodes.c.id, over)
    return report | {"feedback": count}


def _forget_feedback(db: Connection, rows: Iterable[Any], deltas: Deltas) -> int:
    """Delete feedback; what counted becomes kept sums, and where a correction went that was no value, the one before is in force again."""
    rows = list(rows)
    found = places(db, rows)
    for row in rows:
        if row["counts"]:
            to = found.get(target(row), ())
            count_in(deltas, row, to, -1)
            count_in(deltas, row, to, 1, kept=1)
    count = _delete(db, feedback.c.seq, [row["seq"] for row in rows])
    slots: dict[str, list[Any]] = {}
    for row in rows_where(db, COLUMNS, feedback.c.slot, {row["slot"] for row in rows if row["kind"] == "demonstration"}):
        slots.setdefault(row["slot"], []).append(row)
    for members in slots.values():
        best = in_force(members)
        for row in members:
            db.execute(update(feedback).where(feedback.c.seq == row["seq"]).values(counts=int(row is best)))
    return count


def _forget_decisions(store: Store, before: int, task: str | None) -> int:
    """Delete the frequent decisions that others had taken the place of before a time."""
    c, count = decisions.c, 0
    of_task = [] if task is None else [c.task == task]
    with store.reading() as db:
        in_force = select(c.task, func.max(c.seq)).where(c.kind == FREQUENT, c.at < before, *of_task).group_by(c.task)
        last = db.execute(in_force).all()
    for name, seq in last:
        outdated = select(c.seq).where(c.task == name, c.kind == FREQUENT, c.seq < seq, c.at < before).limit(PART)
        more = True
        while more:
            with store.writing() as db:
                part = db.execute(outdated).scalars().all()
                count += _delete(db, c.seq, part)
            more = len(part) == PART
    return count


def _delete(db: Connection, column: Any, keys: Iterable[Any]) -> int:
    return sum(db.execute(delete(column.table).where(column.in_(part))).rowcount for part in chunks(keys))


def _add(report: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        report[name] += count


def _truncate_log(store: Store) -> None:
    """SQLite overwrites deleted rows with zeros (secure_delete); what its log still holds of them goes with the log."""
    if store.file is not None:
        with store.outside_transaction() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
