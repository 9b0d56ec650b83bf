"""What people say of rows: a generated one is accepted, rejected or edited, and so is a written one whose label is in doubt.

Decisions are kept in one SQLite file under PP_HOME, by task and item id. The id is a hash of input and output, so a rejected row never
comes back, whatever makes it again; an edited one is replaced wherever it is made.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from pp_assets.data.generation.made import Generated
from pp_assets.task.examples import Example
from pp_assets.task.reader import item_id
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_schema import Schema, canonical_output

Decision = Literal["accept", "reject", "edit"]
_TABLE = """CREATE TABLE IF NOT EXISTS decisions (task TEXT NOT NULL, item_id TEXT NOT NULL, decision TEXT NOT NULL, input_text TEXT,
    output TEXT, at TEXT NOT NULL, PRIMARY KEY (task, item_id)) WITHOUT ROWID"""


@dataclass(frozen=True)
class Decided:
    """The decisions on a task's rows. `edited`: (input, output) by the id of the row that they replace."""

    accepted: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    edited: Mapping[str, tuple[str, Any]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of all that changes rows: an acceptance does not."""
        return digest([sorted(self.rejected), dict(self.edited)])

    def __contains__(self, item: str) -> bool:
        return item in self.accepted or item in self.rejected or item in self.edited

    def example(self, schema: Schema, row: Example) -> Example:
        """The row as it was edited, or as it is."""
        if row.item_id not in self.edited:
            return row
        text, output = self.edited[row.item_id]
        return edited_row(schema, row, text, output)

    def rows(self, schema: Schema, rows: Sequence[Example]) -> list[Example]:
        """The rows that were not rejected, as they were edited."""
        return [self.example(schema, row) for row in rows if row.item_id not in self.rejected]

    def generated(self, schema: Schema, rows: Sequence[Generated]) -> list[Generated]:
        """The same for generated rows, which then say what they were before."""
        found = []
        for g in rows:
            if g.example.item_id not in self.rejected:
                new = self.example(schema, g.example)
                found.append(g if new is g.example else replace(g, example=new, params={**g.params, "edited_from": g.example.item_id}))
        return found


NOBODY = Decided()


class Decisions:
    """The store. Processes may write at the same time; what `decide` has returned is on the disk."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def decide(self, task: str, item: str, decision: Decision, text: str | None = None, output: Any = None) -> None:
        """Keep a decision; a later one on the same row takes its place."""
        if decision not in get_args(Decision):
            raise UserError(f"{decision!r} is no decision", where=item, how="accept, reject or edit")
        said = None if decision != "edit" else json.dumps(output, ensure_ascii=False, sort_keys=True)
        row = (task, item, decision, text if decision == "edit" else None, said, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._connected() as db:
            db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?)", row)

    def of(self, task: str) -> Decided:
        """All decisions on the rows of a task."""
        if not self.file.exists():
            return NOBODY
        with self._connected() as db:
            found = db.execute("SELECT item_id, decision, input_text, output FROM decisions WHERE task = ?", (task,)).fetchall()
        by = {kind: frozenset(item for item, decision, _, _ in found if decision == kind) for kind in ("accept", "reject")}
        return Decided(by["accept"], by["reject"], {i: (text, json.loads(said)) for i, d, text, said in found if d == "edit"})

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            db = sqlite3.connect(self.file, timeout=60)
        except sqlite3.DatabaseError as error:
            raise UserError(f"is no store of decisions ({error})", where=str(self.file), how="move it away") from None
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            with db:
                db.execute(_TABLE)
                yield db
        except sqlite3.DatabaseError as error:
            raise UserError(f"is no store of decisions ({error})", where=str(self.file), how="move it away") from None
        finally:
            db.close()


def edited_row(schema: Schema, row: Example, text: str, output: Any) -> Example:
    """A row with another input and output, and the id that they give it."""
    made = canonical_output(schema, output)
    return replace(row, item_id=item_id(text, orjson.dumps(made, option=orjson.OPT_SORT_KEYS)), input_text=text, output=made)
