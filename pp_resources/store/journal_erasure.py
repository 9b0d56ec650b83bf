"""Rows of one person in the journals of an installation."""

from pathlib import Path

import orjson

from pp_resources.store.journal import SUFFIX, orphans
from pp_resources.store.recorder import REFUSED
from pp_resources.store.rows import Row
from pp_resources.store.wire import from_json


def erase_from_journals(folder: Path, subject: str) -> dict[str, int]:
    """Rewrite the journals that no process holds, and the list of refused rows, without the person. Returns how many `rows` went, and how
    many journals are `held` by a running process: their rows are dropped on their way into the store, which knows of the erasure."""
    rows, left = 0, orphans(folder)
    held = len(list(folder.glob(f"*{SUFFIX}"))) - len(left)
    for journal in left:
        rows += journal.keep(lambda row: not _is_of(row, subject))
        journal.close(remove=not journal.size)
    file = folder / REFUSED
    if file.exists():
        lines = file.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not _is_refused_of(line, subject)]
        if len(kept) < len(lines):
            new = file.with_suffix(".new")
            new.write_bytes(b"".join(kept))
            new.rename(file)
        rows += len(lines) - len(kept)
    return {"rows": rows, "held": held}


def _is_of(row: Row, subject: str) -> bool:
    return getattr(row, "subject", None) == subject


def _is_refused_of(line: bytes, subject: str) -> bool:
    """Also where the row cannot be read but names the person: what is in doubt goes."""
    try:
        return _is_of(from_json(orjson.loads(line)["row"].encode()), subject)
    except (ValueError, KeyError, TypeError):
        return subject.encode() in line
