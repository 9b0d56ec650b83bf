"""Reading what variants are judged by: the answers of a stretch of time and all that was said of them, each row once and by an index."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, select

from pp_resources.store.feedback_rows import COLUMNS
from pp_resources.store.opened import Store
from pp_resources.store.prepared import read, rows_where
from pp_resources.store.rows import VALUES
from pp_resources.store.schema import feedback, inferences

_NAMES = ("id", "variant", "episode", "at", "valid", "latency_ms", "cost", "shadow", "decision", "chain")


class Answered(NamedTuple):
    """One inference without its texts. `at` in microseconds; `answered` whether there was an answer; `decision` and `chain` as in
    `rows.Inference`."""

    id: str
    variant: str
    episode: str | None
    at: int
    valid: bool | None
    latency_ms: float | None
    cost: float | None
    shadow: bool
    decision: Mapping[str, Any]
    chain: Sequence[Mapping[str, Any]]
    answered: bool


class Evidence(NamedTuple):
    """Inferences in the order of time; rows of feedback (`feedback_rows.COLUMNS`) with values on them and on their episodes, also where
    others took their place; the episodes that began before."""

    answers: list[Answered]
    said: list[Mapping[str, Any]]
    begun: set[str]


def evidence(store: Store, task: str, since: int, until: int) -> Evidence:
    """What is known of the inferences of a task that were asked in since <= time < until (microseconds)."""
    with store.reading() as db:
        values = {"task": task, "since": since, "until": until}
        answers = [_answered(row) for row in read(db, ("asked between",), _between, values)]
        episodes = {one.episode for one in answers if one.episode is not None}
        rows = rows_where(db, COLUMNS, feedback.c.inference, [one.id for one in answers])
        rows += rows_where(db, COLUMNS, feedback.c.episode, episodes)
        begun = _begun(db, task, since, episodes)
    return Evidence(answers, [row for row in rows if row["kind"] in VALUES], begun)


def time_of(store: Store, task: str, since: int, number: int) -> int | None:
    """When the inference of this number (1, 2, …) after a time was asked, None where there are fewer; copies count as well."""
    with store.reading() as db:
        return read(db, ("time of",), _nth, {"task": task, "since": since, "skipped": number - 1, "most": 1}).scalar()


def _between() -> Any:
    c = inferences.c
    made = select(*(c[name] for name in _NAMES), c.output.is_not(None).label("answered"))
    where = c.task == bindparam("task"), c.at >= bindparam("since"), c.at < bindparam("until")
    return made.where(*where).order_by(c.at, c.id)


def _nth() -> Any:
    c = inferences.c
    made = select(c.at).where(c.task == bindparam("task"), c.at >= bindparam("since")).order_by(c.at)
    return made.limit(bindparam("most", type_=c.at.type)).offset(bindparam("skipped", type_=c.at.type))


def _begun(db: Connection, task: str, since: int, episodes: set[str]) -> set[str]:
    rows = rows_where(db, [inferences.c.episode, inferences.c.task, inferences.c.at], inferences.c.episode, episodes)
    return {row["episode"] for row in rows if row["task"] == task and row["at"] < since}


def _answered(row: Any) -> Answered:
    valid = None if row.valid is None else bool(row.valid)
    plain = row.id, row.variant, row.episode, row.at, valid, row.latency_ms, row.cost, bool(row.shadow)
    return Answered(*plain, _parsed(row.decision), _parsed(row.chain), bool(row.answered))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Any:
    """The same weights stand in many rows: parsed once, so never to be changed."""
    return orjson.loads(text)
