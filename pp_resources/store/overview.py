"""How the store is, for people and for /health."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select

from pp_resources.store.journal import SUFFIX
from pp_resources.store.opened import Store
from pp_resources.store.recorder import REFUSED
from pp_resources.store.schema import VERSION, examples, feedback, inferences, jobs, queue


def overview(store: Store, journals: Path) -> dict[str, Any]:
    """Where it is, what is in it, how large it is, and what waits in journals. Raises StoreUnavailable when it cannot be read.

    `feedback_waiting` is feedback whose target has not come; `journal_bytes` waits for a replay, `refused` rows for somebody to look.
    """
    found: dict[str, Any] = {"address": store.url.render_as_string(hide_password=True), "exists": store.exists, "version": VERSION}
    found |= waiting(journals)
    if store.exists:
        found |= _contents(store)
    return found


def waiting(journals: Path) -> dict[str, int]:
    """What the journals of all processes hold."""
    sizes = []
    for file in journals.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # it is in the store by now
            sizes.append(file.stat().st_size)
    refused = journals / REFUSED
    lines = len(refused.read_bytes().splitlines()) if refused.exists() else 0
    return {"journals": len(sizes), "journal_bytes": sum(sizes), "refused": lines}


def _contents(store: Store) -> dict[str, Any]:
    def count(table: Table, *where: Any) -> Any:
        return select(func.count()).select_from(table).where(*where).scalar_subquery()

    counts = {
        "inferences": count(inferences),
        "feedback": count(feedback),
        "feedback_waiting": count(feedback, feedback.c.visible.is_(None)),
        "examples": count(examples, examples.c.state == "active"),
        "jobs": count(jobs),
        "queue_open": count(queue, queue.c.state == "open"),
    }
    with store.reading() as db:
        row = db.execute(select(*(query.label(name) for name, query in counts.items()))).mappings().one()
        size = db.exec_driver_sql("SELECT pg_database_size(current_database())").scalar() if db.dialect.name == "postgresql" else None
    if store.file is not None:
        size = sum(file.stat().st_size for file in store.file.parent.glob(f"{store.file.name}*"))
    return {**row, "bytes": size}
