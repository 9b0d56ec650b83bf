"""The feedback inbox: an append-only log in one SQLite file. What `add` has returned is on disk; nothing is counted twice."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock
from jsonschema.exceptions import best_match

from pp_assets.task.spec import Task
from pp_resources.errors import UserError
from pp_resources.fingerprint import canonical_json, digest
from pp_resources.json_schema import canonical_output, not_verbatim, output_validator

Kind = Literal["demonstration", "boolean", "float", "comment"]
_TABLE = """
CREATE TABLE IF NOT EXISTS feedback (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL, input_text TEXT NOT NULL,
    output TEXT, rating REAL, comment TEXT, source TEXT NOT NULL, at TEXT NOT NULL, content TEXT NOT NULL, answer TEXT, UNIQUE (task, id))
"""
_COLUMNS = "seq, id, task, kind, input_text, output, rating, comment, source, at, answer"


class Added(NamedTuple):
    """`seq` grows by one or more with every entry; `created` is False when this id was there already."""

    seq: int
    created: bool


@dataclass(frozen=True)
class Feedback:
    """One entry. `output` is canonical JSON text (demonstrations), `rating` 0 or 1 for booleans, `answer` what the model had said."""

    seq: int
    id: str
    task: str
    kind: Kind
    input_text: str
    output: str | None
    rating: float | None
    comment: str | None
    source: str
    at: str
    answer: str | None = None


class Inbox:
    """Feedback of all tasks in one file. Processes may write at the same time; SQLite serialises them."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(
        self,
        task: Task,
        input_text: str,
        *,
        output: Any = None,
        rating: bool | float | None = None,
        comment: str | None = None,
        answer: Any = None,
        source: str = "cli",
        id: str | None = None,
    ) -> Added:
        """Append one entry; by kind: a corrected `output` (demonstration), a `rating` (boolean or float), else a `comment`. `answer` is
        what the model had said, an object or the text as it came.

        `id` defaults to a digest of the content, so that sending the same feedback again changes nothing. Raises UserError when there is
        nothing to store, when the output breaks the task's schema, or when the id is taken by other content.
        """
        where = f"feedback for {task.name}"
        if not input_text.strip():
            raise UserError("the input is empty", where=where, how="give the text that the feedback is about")
        if len(input_text) > task.spec.limits.max_input_chars:
            raise UserError(f"the input has {len(input_text)} characters", where=where, how=f"at most {task.spec.limits.max_input_chars}")
        kind = _kind(output, rating, comment, where)
        text = canonical_json(checked_output(task, input_text, output, where)) if kind == "demonstration" else None
        value = None if rating is None else float(rating)
        said = answer if answer is None or isinstance(answer, str) else canonical_json(answer)
        content = digest([input_text, text, value, comment, *([] if said is None else [said])])
        name = id or content[:16]
        row = (
            name,
            task.name,
            kind,
            input_text,
            text,
            value,
            comment,
            source,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            content,
            said,
        )
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            known = db.execute("SELECT seq, content FROM feedback WHERE task = ? AND id = ?", (task.name, name)).fetchone()
            if known:
                if known[1] != content:
                    raise UserError(f"id {name!r} is taken by other feedback", where=where, how="leave the id out or give a new one")
                return Added(known[0], created=False)
            columns = "id, task, kind, input_text, output, rating, comment, source, at, content, answer"
            seq = db.execute(f"INSERT INTO feedback ({columns}) VALUES ({', '.join('?' * 11)})", row).lastrowid
            db.execute("COMMIT")
        return Added(int(seq or 0), created=True)

    def entries(self, task: str, after: int = 0) -> list[Feedback]:
        """Entries of one task in order, those after a sequence number."""
        if not self.file.exists():
            return []
        with self._connected() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM feedback WHERE task = ? AND seq > ? ORDER BY seq", (task, after)).fetchall()
        return [Feedback(*row) for row in rows]

    def demonstrations(self, task: str) -> list[Feedback]:
        """The demonstrations in force, by sequence: a later one for the same input replaces the earlier one."""
        latest = {entry.input_text: entry for entry in self.entries(task) if entry.kind == "demonstration"}
        return sorted(latest.values(), key=lambda entry: entry.seq)

    def heads(self) -> dict[str, int]:
        """Sequence number of the last demonstration of each task that has one. Raises sqlite3.Error when the file cannot be read."""
        if not self.file.exists():
            return {}
        with self._connected() as db:
            return dict(db.execute("SELECT task, MAX(seq) FROM feedback WHERE kind = 'demonstration' GROUP BY task").fetchall())

    def counts(self) -> dict[str, int]:
        """How many different inputs each task has met. Raises sqlite3.Error when the file cannot be read."""
        if not self.file.exists():
            return {}
        with self._connected() as db:
            return dict(db.execute("SELECT task, COUNT(DISTINCT input_text) FROM feedback GROUP BY task").fetchall())

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # No implicit transactions: each statement stands alone unless a transaction is opened by hand.
        db = sqlite3.connect(self.file, timeout=30, isolation_level=None)
        try:
            # Changing the journal of a fresh file does not wait for other writers, whatever the timeout: one at a time.
            with FileLock(f"{self.file}.lock"):
                db.execute("PRAGMA journal_mode = WAL")
                db.execute(_TABLE)
                if not db.execute("SELECT 1 FROM pragma_table_info('feedback') WHERE name = 'answer'").fetchone():
                    db.execute("ALTER TABLE feedback ADD COLUMN answer TEXT")  # an inbox of before there were answers in it
            db.execute("PRAGMA synchronous = FULL")
            yield db
        finally:
            db.close()


def as_rows(demonstrations: list[Feedback]) -> list[dict[str, Any]]:
    """Demonstrations as data lines for `build_dataset(extra_rows=)`."""
    return [
        {
            "input_text": entry.input_text,
            "output_json": json.loads(entry.output or "null"),
            "meta": {"feedback": entry.id, "source": entry.source},
        }
        for entry in demonstrations
    ]


def checked_output(task: Task, input_text: str, output: Any, where: str) -> Any:
    """The canonical output, or a UserError that names the place where it breaks the task's schema."""
    made = canonical_output(task.output_schema, output)
    error = best_match(output_validator(task.output_schema).iter_errors(made))
    if error is not None:
        raise UserError(f"{error.json_path}: {error.message[:300]}", where=f"{where}: output", how="correct the output; nothing was stored")
    for path, value in not_verbatim(task.output_schema, made, input_text):
        raise UserError(f"{path}: {value[:80]!r} does not occur in the input", where=f"{where}: output", how="copy it letter for letter")
    return made


def _kind(output: Any, rating: bool | float | None, comment: str | None, where: str) -> Kind:
    if output is not None:
        return "demonstration"
    if rating is not None:
        return "boolean" if isinstance(rating, bool) else "float"
    if comment:
        return "comment"
    raise UserError("nothing to store", where=where, how="give an output, a rating or a comment")
