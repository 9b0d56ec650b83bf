"""A local file of rows that the store has not taken yet: what `append` has returned is on disk.

A line is a checksum and a row. A line that was cut short by a crash was never acknowledged and is passed over; any other that does not
match its checksum is told to the reader.
"""

import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from pp_resources.artifacts import sync
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import uuid7
from pp_resources.store.rows import Row
from pp_resources.store.wire import from_json, to_json

LIMIT = 1 << 30  # bytes
SUFFIX = ".journal"
# With it a write is on disk when it returns: one call, so that a busy event loop is asked for the interpreter's lock once and not twice.
SYNCED = getattr(os, "O_DSYNC", 0)


class Part(NamedTuple):
    """Rows of a journal up to a byte; `damaged` are the lines that cannot be read."""

    rows: list[Row]
    damaged: list[bytes]
    end: int


class Journal:
    """One file that one process writes, and holds the lock of. Raises StoreUnavailable when another process holds it."""

    def __init__(self, file: Path, limit: int = LIMIT) -> None:
        self.file, self.limit = file, limit
        self._lock = FileLock(f"{file}.lock", thread_local=False)  # closed by another thread than the one that made it
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | SYNCED, 0o600)
            sync(file.parent)
        except Timeout as error:
            raise StoreUnavailable("in use by another process", where=f"journal {file}") from error
        except OSError as error:
            raise _no_room(file, error) from error
        self.size = os.fstat(self._handle).st_size

    def append(self, rows: Sequence[Row]) -> None:
        """Write the rows and sync. Raises StoreUnavailable when that cannot be done, or the file would outgrow its limit; nothing of
        them is replayed then, but for the case that the disk takes neither the end of the rows nor a shorter file."""
        # The line feed before them ends what an earlier failure may have left.
        block = b"\n" + b"".join(_line(row) for row in rows)
        if self.size + len(block) > self.limit:
            raise StoreUnavailable(
                f"the journal is full ({self.size} of {self.limit} bytes)", where=str(self.file), how="bring back the store"
            )
        try:
            written = 0
            while written < len(block):
                written += os.write(self._handle, block[written:])
            if not SYNCED:
                os.fsync(self._handle)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._handle, self.size)
            raise _no_room(self.file, error) from error
        self.size += len(block)

    def read(self, start: int = 0, most: int = 1000) -> Part:
        """The next rows from a byte that a part ended at. At the end of the file the part has no rows and ends where it started."""
        rows: list[Row] = []
        damaged: list[bytes] = []
        with self.file.open("rb") as lines:
            lines.seek(start)
            end = start
            for line in lines:
                if not line.endswith(b"\n") or len(rows) == most:
                    break
                end += len(line)
                if line != b"\n":
                    row = _row(line)
                    damaged.append(line) if row is None else rows.append(row)
        return Part(rows, damaged, end)

    def clear(self) -> None:
        """Forget everything: it is in the store."""
        os.ftruncate(self._handle, 0)
        self.size = 0
        os.fsync(self._handle)

    def keep(self, wanted: Callable[[Row], bool]) -> int:
        """Write the file again with only those rows; how many were left out."""
        kept, left_out, start = [], 0, 0
        while (part := self.read(start)).end > start:
            kept += [row for row in part.rows if wanted(row)]
            left_out += sum(not wanted(row) for row in part.rows)
            start = part.end
        if left_out:
            new = self.file.with_suffix(".new")
            new.write_bytes(b"".join(map(_line, kept)))
            handle = os.open(new, os.O_RDWR | os.O_APPEND | SYNCED)
            os.fsync(handle)
            new.rename(self.file)
            sync(self.file.parent)
            os.close(self._handle)
            self._handle, self.size = handle, os.fstat(handle).st_size
        return left_out

    def close(self, *, remove: bool = False) -> None:
        os.close(self._handle)
        if remove:
            self.file.unlink()
        self._lock.release()
        if remove:
            Path(f"{self.file}.lock").unlink(missing_ok=True)


def journals_of(home: Path) -> Path:
    """Where the journals of an installation lie, whichever its store is."""
    return home / "store" / "journal"


def new_journal(folder: Path, limit: int = LIMIT) -> Journal:
    """A journal of this process."""
    return Journal(folder / f"{uuid7()}{SUFFIX}", limit)


def orphans(folder: Path) -> list[Journal]:
    """Journals of processes that are gone, oldest first, now held by this one."""
    found = []
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            found.append(Journal(file))
        except StoreUnavailable:
            continue  # its process lives
    return found


def _line(row: Row) -> bytes:
    text = to_json(row)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _row(line: bytes) -> Row | None:
    try:
        if int(line[:8], 16) == zlib.crc32(line[9:-1]):
            return from_json(line[9:-1])
    except (ValueError, TypeError, KeyError):
        pass
    return None


def _no_room(file: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(error.strerror or str(error), where=f"journal {file}", how="see that its disk has room and can be written")
