"""Named questions over the rows themselves, the same on every engine: the store's own database, or ClickHouse for those who outgrow it.

A question is one text of SQL; what engines say differently has a name in it. Times are UTC days since 1970.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from pp_resources.errors import UserError, nearest
from pp_resources.store.opened import Store

QUESTIONS = {
    # Requests, errors, what they cost (None where nothing was priced) and how long they took.
    "traffic_by_day": """
        SELECT {day:i.at} AS day, i.task AS task, i.variant AS variant, COUNT(*) AS requests,
            SUM(CASE WHEN i.error IS NOT NULL THEN 1 ELSE 0 END) AS errors, SUM(i.cost) AS cost, AVG(i.latency_ms) AS latency_ms
        FROM {table:inferences} i WHERE i.shadow = 0 GROUP BY {day:i.at}, i.task, i.variant ORDER BY day, task, variant""",
    # What was said of the answers of each day; only the feedback in force.
    "quality_by_day": """
        SELECT {day:i.at} AS day, i.task AS task, i.variant AS variant, f.metric AS metric, COUNT(*) AS n, AVG(f.value) AS mean
        FROM {table:feedback} f JOIN {table:inferences} i ON f.inference = i.id
        WHERE f.counts = 1 AND f.value IS NOT NULL AND i.shadow = 0
        GROUP BY {day:i.at}, i.task, i.variant, f.metric ORDER BY day, task, variant, metric""",
    # Is confidence worth anything? Means by tenth of the confidence.
    "quality_by_confidence": """
        SELECT i.task AS task, i.variant AS variant, f.metric AS metric, FLOOR(i.confidence * 10) AS tenth,
            COUNT(*) AS n, AVG(f.value) AS mean
        FROM {table:feedback} f JOIN {table:inferences} i ON f.inference = i.id
        WHERE f.counts = 1 AND f.value IS NOT NULL AND i.confidence IS NOT NULL
        GROUP BY i.task, i.variant, f.metric, FLOOR(i.confidence * 10) ORDER BY task, variant, metric, tenth""",
    # Which inputs come most, by their exact text.
    "repeated_inputs": """
        SELECT i.task AS task, i.input AS input, COUNT(*) AS n FROM {table:inferences} i WHERE i.shadow = 0
        GROUP BY i.task, i.input HAVING COUNT(*) > 1 ORDER BY n DESC, task, input LIMIT 100""",
}
DAY_MICROS = 86_400_000_000


def ask(store: Store, question: str) -> list[dict[str, Any]]:
    """The answer from the store's own database, rows in the order of the question. Reads rows: for reports, not for dashboards."""
    sql = sql_of(question, day=lambda column: f"{column} / {DAY_MICROS}", table=lambda name: name)
    with store.reading() as db:
        return [plain(dict(row)) for row in db.execute(text(sql)).mappings()]


def sql_of(question: str, *, day: Callable[[str], str], table: Callable[[str], str]) -> str:
    """The text of a question for one engine: how a day is made of a time, and what a table is called."""
    if question not in QUESTIONS:
        raise UserError(f"unknown question {question!r}", where="analytics", how=nearest(question, QUESTIONS))
    parts = QUESTIONS[question].split("{")
    for place, part in enumerate(parts[1:], 1):
        what, _, rest = part.partition("}")
        kind, _, name = what.partition(":")
        parts[place] = (day if kind == "day" else table)(name) + rest
    return "".join(parts)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Engines count in different types; here all whole numbers are int, also those that came as Decimal or float."""
    whole = {"day", "requests", "errors", "n", "tenth"}
    return {
        name: value if value is None or isinstance(value, str) else (int if name in whole else float)(value) for name, value in row.items()
    }
