"""Answers that were paid for, on the disk: a request that was answered once is not bought again, by whichever process asks."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from pp_resources.errors import UserError
from pp_resources.models.chat import Reply

_TABLE = """CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL, finish_reason TEXT NOT NULL, at REAL NOT NULL, seconds REAL) WITHOUT ROWID"""


class Answers:
    """Of one file, which threads and processes share. Raises UserError for a file that is no such store, or cannot be written."""

    def __init__(self, file: Path) -> None:
        self.file, self._lock = file, threading.Lock()
        self._locks = file.with_suffix(".locks")
        self._locks.mkdir(parents=True, exist_ok=True)
        try:
            # Autocommit: an answer that was paid for is on the disk when `keep` returns.
            self._db = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(_TABLE)
            if "seconds" not in {row[1] for row in self._db.execute("PRAGMA table_info(answers)")}:  # a store of an earlier version
                self._db.execute("ALTER TABLE answers ADD COLUMN seconds REAL")
        except sqlite3.DatabaseError as error:
            raise UserError(f"is no store of answers ({error})", where=str(file), how="move it away") from None

    def kept(self, key: str) -> Reply | None:
        with self._lock:
            query = "SELECT text, tokens_in, tokens_out, finish_reason, seconds FROM answers WHERE key = ?"
            found = self._db.execute(query, (key,)).fetchone()
        return Reply(found[0], found[1], found[2], True, found[3], found[4]) if found else None

    def keep(self, key: str, model: str, reply: Reply) -> None:
        row = (key, model, reply.text, reply.tokens_in, reply.tokens_out, reply.finish_reason, time.time(), reply.seconds)
        try:
            with self._lock:
                self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise UserError(f"an answer that was bought cannot be kept ({error})", where=str(self.file), how="make room") from None

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """While the block runs nobody else buys the answer to this request, in this process or another. It ends with a kept answer."""
        file = self._locks / f"{key}.lock"
        with FileLock(file):
            yield
            file.unlink(missing_ok=True)  # who still waits at it finds the answer
