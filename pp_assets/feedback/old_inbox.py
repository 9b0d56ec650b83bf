"""The inbox of before there was a store: a SQLite file of its own, taken over once with its order and its numbers."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock

from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store
from pp_resources.store.rows import Feedback
from pp_resources.store.take_over import take_over_feedback

_COLUMNS = ("seq", "id", "task", "kind", "input_text", "output", "rating", "comment", "source", "at")


def take_over(file: Path, store: Store, as_row: Callable[[Mapping[str, Any]], Feedback]) -> None:
    """Write every entry of an old inbox into the store and rename the file to `inbox.taken-over-N.db`; half-way, the next call goes on.

    Entries keep their numbers where the store has no feedback yet, else their order after it. What the store refuses is listed with its
    reason in `inbox.refused.jsonl` beside the file. Raises StoreUnavailable for a file that cannot be read: that is no empty inbox.
    """
    with FileLock(f"{file}.lock"):
        if not file.exists():
            return  # another process was faster
        rows, refused = [], []
        for entry in _entries(file):
            try:
                rows.append((entry["seq"], as_row(entry)))
            except UserError as error:
                refused.append({"reason": str(error), **entry})
        refused += [{"reason": str(error), "id": row.id} for row, error in take_over_feedback(store, rows)]
        if refused:
            lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in refused)
            write_atomic(file.with_name("inbox.refused.jsonl"), lines)
        aside = (file.with_name(f"inbox.taken-over-{number}.db") for number in count(1))
        file.rename(next(name for name in aside if not name.exists()))


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        with closing(sqlite3.connect(file, timeout=30)) as db:
            # What is in the journal beside the file goes into it, so that the file alone is all of it.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            has_answers = db.execute("SELECT 1 FROM pragma_table_info('feedback') WHERE name = 'answer'").fetchone()
            columns = (*_COLUMNS, "answer") if has_answers else _COLUMNS
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'feedback'").fetchone():
                return []
            rows = db.execute(f"SELECT {', '.join(columns)} FROM feedback ORDER BY seq").fetchall()
    except sqlite3.Error as error:
        how = "mend it or move it away; an inbox that cannot be read is not an empty one"
        raise StoreUnavailable(str(error), where=str(file), how=how) from error
    return [{"answer": None, **dict(zip(columns, row))} for row in rows]
