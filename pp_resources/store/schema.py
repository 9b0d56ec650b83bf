"""The tables, for SQLite and PostgreSQL alike. Times are microseconds since 1970 (starts of buckets: seconds), nested values JSON text."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)

VERSION = 3
SLOTS = 42  # of the latency histogram: one more than its bounds
# Conditions of indexes: only a query that says the same words, not through a parameter, is served by them.
BAD, DEMONSTRATION = "(error IS NOT NULL OR valid = 0)", "kind = 'demonstration'"
metadata = MetaData()
_big = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER is SQLite's own row number
_sum = Numeric(38, 0, asdecimal=False).with_variant(Integer, "sqlite")  # squares of large values outgrow 64 bits


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **options)


def _at(name: str = "at") -> Column[int]:
    return Column(name, _big, nullable=False)


def _some(name: str, where: str, *columns: str) -> Index:
    """An index over the few rows of a condition."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


# Subjects whose rows must not come back from a journal or a late sender: a digest, and the time up to which.
erasures = Table("erasures", metadata, Column("subject", Text, primary_key=True), _at())
meta = Table("meta", metadata, Column("name", Text, primary_key=True), _text("value"))
counters = Table("counters", metadata, Column("name", Text, primary_key=True), _at("value"))

inferences = Table(
    "inferences",
    metadata,
    _id(),
    _text("task"),
    _text("variant"),
    Column("episode", Text),
    _at(),
    _text("input"),
    Column("output", Text),
    Column("valid", SmallInteger),
    Column("error", Text),
    Column("latency_ms", Float(53)),
    Column("tokens_in", _big),
    Column("tokens_out", _big),
    Column("cost", Float(53)),
    Column("confidence", Float(53)),
    _text("tags"),
    Column("subject", Text),
    Column("shadow", SmallInteger, nullable=False),
    Column("config", Text),
    _text("decision"),
    _text("chain"),
    _text("content"),
    Index("inferences_at", "at"),
    Index("inferences_task", "task", "at"),
    Index("inferences_variant", "task", "variant", "at"),
    _some("inferences_episode", "episode IS NOT NULL", "episode"),
    _some("inferences_subject", "subject IS NOT NULL", "subject"),
    _some("inferences_bad", BAD, "at"),
)
episodes = Table("episodes", metadata, _id(), _at("first_at"), _at("last_at"), _at("inferences"), Index("episodes_last", "last_at"))
# Which variants answered in an episode: what is said of the episode is said of each of them.
served = Table(
    "served",
    metadata,
    Column("episode", Text, primary_key=True),
    Column("task", Text, primary_key=True),
    Column("variant", Text, primary_key=True),
    Column("shadow", SmallInteger, primary_key=True),
)
feedback = Table(
    "feedback",
    metadata,
    Column("seq", _big, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("key", Text, unique=True),
    Column("task", Text),
    _text("kind"),
    _text("metric"),
    Column("inference", Text),
    Column("episode", Text),
    Column("input", Text),
    Column("answer", Text),
    Column("value", Float(53)),
    Column("output", Text),
    Column("comment", Text),
    _text("source"),
    Column("subject", Text),
    _at(),
    Column("supersedes", Text),
    _text("slot"),
    _text("content"),
    Column("counts", SmallInteger, nullable=False),
    # Its place in what readers follow: `seq`, or a later number where the target came later; none while it has not come.
    Column("visible", _big),
    Index("feedback_slot", "slot"),
    Index("feedback_task", "task", "visible"),
    Index("feedback_visible", "visible"),
    _some("feedback_inference", "inference IS NOT NULL", "inference"),
    _some("feedback_episode", "episode IS NOT NULL", "episode"),
    _some("feedback_subject", "subject IS NOT NULL", "subject"),
    _some("feedback_demonstrations", DEMONSTRATION, "task", "visible"),
)
examples = Table(
    "examples",
    metadata,
    _id(),
    _text("task"),
    _text("variant"),
    _text("input"),
    _text("output"),
    Column("embedding", LargeBinary, nullable=False),
    _text("encoder"),
    _text("label"),
    _text("origin"),
    _text("parents"),
    Column("score", Float(53)),
    Column("subject", Text),
    _at(),
    _text("content"),
    _text("state"),
    Index("examples_task", "task", "state"),
    _some("examples_subject", "subject IS NOT NULL", "subject"),
)
example_changes = Table(
    "example_changes",
    metadata,
    Column("seq", _big, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    _text("example"),
    _text("state"),
    _text("reason"),
    _text("who"),
    _at(),
    _text("content"),
    Index("example_changes_example", "example", "seq"),
)
jobs = Table(
    "jobs",
    metadata,
    _id(),
    Column("key", Text, unique=True),
    _text("kind"),
    _text("payload"),
    _text("state"),
    _at(),
    _at("changed"),
    _text("content"),
    Index("jobs_at", "at"),
)
job_events = Table(
    "job_events",
    metadata,
    Column("job", Text, primary_key=True),
    Column("n", _big, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    _text("kind"),
    _text("data"),
    Column("state", Text),
    _at(),
    _text("content"),
)
queue = Table(
    "queue",
    metadata,
    _id(),
    _text("inference"),
    _text("task"),
    _text("reason"),
    _text("state"),
    Column("by", Text),
    Column("answer", Text),
    Column("change", Text),
    _at(),
    _at("changed"),
    _text("content"),
    Column("detail", Text),
    Column("subject", Text),
    Column("until", _big),
    Column("agrees", SmallInteger),
    Index("queue_state", "state", "at"),
    Index("queue_changed", "state", "changed"),
    Index("queue_inference", "inference"),
    Index("queue_task", "task", "state", "at", "reason"),
)
decisions = Table(
    "decisions",
    metadata,
    Column("seq", _big, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    _text("task"),
    _text("kind"),
    _text("data"),
    _at(),
    _text("content"),
    Index("decisions_task", "task", "seq"),
    # The newest of a rare kind among many of another, and when each was made without reading what is in it.
    Index("decisions_kind", "task", "kind", "seq", "at"),
)


def _bucket(*more: str) -> list[Column[Any]]:
    text_keys = {"task", "variant", "metric"}
    order = ("width", "task", "start", "variant", "shadow", "kept", *more)
    return [Column(key, Text if key in text_keys else _big, primary_key=True, autoincrement=False) for key in order]


scores = Table("scores", metadata, *_bucket("metric"), *(Column(name, _sum, nullable=False) for name in ("n", "total", "squares")))
HISTOGRAM = tuple(f"h{slot}" for slot in range(SLOTS))
TRAFFIC_AMOUNTS = ("requests", "errors", "invalid", "unpriced", "cost", "tokens_in", "tokens_out", "timed", "latency", *HISTOGRAM)
traffic = Table("traffic", metadata, *_bucket(), *(Column(name, _sum, nullable=False) for name in TRAFFIC_AMOUNTS))
