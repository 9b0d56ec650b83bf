"""The cells of experiments in one SQLite file: what was computed by which version of which step from what.

A cell that was put is on the disk. Processes share the file: each claims the cells that it is about to compute, and a claim ends with its
process.
"""

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pp_assets.experiment.fingerprint import Fingerprint
from pp_resources.errors import UserError

VERSION = 1  # of the tables
DONE, FAILED, REFUSED = "done", "failed", "refused"
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE ops (id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, parts TEXT NOT NULL, at REAL NOT NULL,
    UNIQUE (name, digest));
CREATE TABLE cells (op INTEGER NOT NULL, key BLOB NOT NULL, status TEXT NOT NULL, value BLOB, seconds REAL NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost_usd REAL, PRIMARY KEY (op, key)) WITHOUT ROWID;
CREATE INDEX ended ON cells (op) WHERE status != 'done';
CREATE TABLE seen (op INTEGER NOT NULL, argument TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (op, argument, value)) WITHOUT ROWID;
CREATE TABLE claims (op INTEGER NOT NULL, key BLOB NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (op, key)) WITHOUT ROWID;
CREATE TABLE owners (owner TEXT PRIMARY KEY, alive REAL NOT NULL);
"""
_POINT = 400  # keys in one query
_SCAN_FROM = 5  # per cent of a step's cells: from here on reading them all is faster than asking for each
_LEASE = 120.0  # seconds that a claim from another machine holds without a sign of life


class Cell(NamedTuple):
    """What one call gave. `value` is JSON text, or the message of an error. `cost_usd` None: nobody said what it cost."""

    status: str
    value: bytes
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True)
class Version:
    """A step as it was once: `id` in this store, and the parts of its fingerprint."""

    id: int
    digest: str
    parts: Mapping[str, str]
    at: float


class CellStore:
    """Opens or makes `file`. Threads may share one; so may processes, each with its own.

    `key_version` is that of the keys that a new store gets; `oldest_keys` that of the oldest ones in this one.
    """

    def __init__(self, file: Path, key_version: int = 1) -> None:
        self.file = file
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}/{id(self)}"
        self._lock = threading.RLock()
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
            # FULL: what was paid for survives a power cut.
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
            with self._writing():
                if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
                    for statement in filter(str.strip, _TABLES.split(";")):
                        self._db.execute(statement)
                    self._db.executemany("INSERT INTO about VALUES (?, ?)", [("version", str(VERSION)), ("keys", str(key_version))])
                about = dict(self._db.execute("SELECT name, value FROM about"))
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"is not a store of cells ({error})", where=str(file), how="name another file, or move this one away"
            ) from error
        if int(about["version"]) > VERSION:
            raise UserError(f"was written by a newer version ({about['version']}; this one reads {VERSION})", where=str(file), how="update")
        self.oldest_keys = int(about["keys"])

    def op(self, name: str, code: Fingerprint) -> int:
        """The number of this version of a step, new or known."""
        with self._writing():
            row = (name, code.digest, json.dumps(dict(code.parts)), time.time())
            self._db.execute("INSERT OR IGNORE INTO ops (name, digest, parts, at) VALUES (?, ?, ?, ?)", row)
            return int(self._db.execute("SELECT id FROM ops WHERE name = ? AND digest = ?", (name, code.digest)).fetchone()[0])

    def versions(self, name: str) -> list[Version]:
        """All versions of the step of this name, oldest first."""
        rows = self._read("SELECT id, digest, parts, at FROM ops WHERE name = ? ORDER BY at, id", (name,))
        return [Version(i, d, json.loads(parts), at) for i, d, parts, at in rows]

    def get(self, op: int, keys: AbstractSet[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, tuple[str, str]]]:
        """Of the cells that are there, by key: the values of those that are done, as JSON text; status and message of the others."""
        ended = {}
        for key, status, message in self._read("SELECT key, status, value FROM cells WHERE op = ? AND status != 'done'", (op,)):
            if key in keys:
                ended[key] = (status, message.decode())
        found = dict(self._picked("key, value", op, keys))
        # As a rule a step has the cells of one experiment, and no other.
        return found if found.keys() == keys else {key: found[key] for key in keys if key in found}, ended

    def facts(self, op: int, keys: AbstractSet[bytes]) -> dict[bytes, tuple[float, int, int, float | None]]:
        """(seconds, tokens in, tokens out, US dollars) of the cells that are done."""
        return {row[0]: row[1:] for row in self._picked("key, seconds, tokens_in, tokens_out, cost_usd", op, keys) if row[0] in keys}

    def there(self, op: int, keys: AbstractSet[bytes]) -> set[bytes]:
        """Those of the keys whose cells are done."""
        return {key for (key,) in self._picked("key", op, keys) if key in keys}

    def adopt(self, op: int, renamed: Mapping[bytes, bytes]) -> None:
        """Copy cells from older keys to newer ones."""
        with self._writing():
            columns = "status, value, seconds, tokens_in, tokens_out, cost_usd"
            copy = f"INSERT OR IGNORE INTO cells SELECT op, ?, {columns} FROM cells WHERE op = ? AND key = ?"
            self._db.executemany(copy, [(new, op, old) for old, new in renamed.items()])

    def _picked(self, columns: str, op: int, keys: AbstractSet[bytes]) -> Iterator[Any]:
        """Rows of done cells, the key first: of these keys, and of others where they are most of them."""
        query, count = f"SELECT {columns} FROM cells WHERE op = ? AND status = 'done'", self.count(op)
        if not keys or not count:
            return
        if len(keys) * 100 >= _SCAN_FROM * count:
            with self._lock:
                # Row by row: a list of a million rows keeps the garbage collector busy.
                yield from self._db.execute(query, (op,))
            return
        for part in _parts(list(keys), _POINT):
            yield from self._read(f"{query} AND key IN ({','.join('?' * len(part))})", (op, *part))

    def count(self, op: int) -> int:
        """Cells of this version of a step."""
        return int(self._read("SELECT count(*) FROM cells WHERE op = ?", (op,))[0][0])

    def put(self, op: int, cells: Mapping[bytes, Cell]) -> None:
        """Store cells and give up the claims on them; on the disk when this returns."""
        with self._writing():
            rows = [(op, key, *cell) for key, cell in cells.items()]
            self._db.executemany("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany("DELETE FROM claims WHERE op = ? AND key = ?", [(op, key) for key in cells])

    def claim(self, op: int, keys: Iterable[bytes], limit: int) -> list[bytes]:
        """Up to `limit` of these that nobody else is computing; they are ours until they are put, released, or this process ends."""
        with self._writing():
            self._bury()
            taken = {key for (key,) in self._db.execute("SELECT key FROM claims WHERE op = ?", (op,))}
            mine: list[bytes] = []
            for key in keys:
                if len(mine) == limit:
                    break
                if key not in taken:
                    mine.append(key)
            # What another process has put since we looked is not ours to compute again.
            there = set()
            for part in _parts(mine, _POINT):
                marks = ",".join("?" * len(part))
                query = f"SELECT key FROM cells WHERE op = ? AND status = '{DONE}' AND key IN ({marks})"
                there |= {key for (key,) in self._db.execute(query, (op, *part))}
            mine = [key for key in mine if key not in there]
            self._db.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (self.owner, time.time()))
            self._db.executemany("INSERT INTO claims VALUES (?, ?, ?)", [(op, key, self.owner) for key in mine])
        return mine

    def release(self) -> None:
        """Give up all that this store has claimed."""
        with self._writing():
            self._db.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
            self._db.execute("DELETE FROM owners WHERE owner = ?", (self.owner,))

    def alive(self) -> None:
        """A sign of life, for processes on other machines."""
        with self._writing():
            self._db.execute("UPDATE owners SET alive = ? WHERE owner = ?", (time.time(), self.owner))

    def note(self, op: int, values: Iterable[tuple[str, bytes]]) -> None:
        """Remember which values an argument has had, to say later what is new."""
        with self._writing():
            self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", [(op, name, value) for name, value in values])

    def noted(self, op: int, argument: str) -> set[bytes]:
        """The digests of values that this argument has had."""
        return {value for (value,) in self._read("SELECT value FROM seen WHERE op = ? AND argument = ?", (op, argument))}

    def measured(self, name: str) -> list[tuple[float, int, int, float | None]]:
        """(seconds, tokens in, tokens out, US dollars) of up to 2,000 cells of a step in all its versions."""
        query = "SELECT seconds, tokens_in, tokens_out, cost_usd FROM cells WHERE op = ? AND status = 'done' LIMIT 2000"
        newest = [row for version in reversed(self.versions(name)) for row in self._read(query, (version.id,))]
        return newest[:2000]

    def close(self) -> None:
        """Give up claims and the file."""
        self.release()
        self._db.close()

    def __enter__(self) -> "CellStore":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _bury(self) -> None:
        """Drop the claims of processes that have ended."""
        host = socket.gethostname()
        for owner, alive in self._db.execute("SELECT owner, alive FROM owners").fetchall():
            machine, pid, started, _ = owner.rsplit("/", 3)
            gone = _started(int(pid)) != started if machine == host else time.time() - alive > _LEASE
            if gone:
                self._db.execute("DELETE FROM claims WHERE owner = ?", (owner,))
                self._db.execute("DELETE FROM owners WHERE owner = ?", (owner,))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()


def _parts(values: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _started(pid: int) -> str:
    """When a process began, which tells it from a later one of the same number; empty when there is none."""
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""
