"""Reading a built data set: train and val freely, test through a door that keeps a ledger."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from pp_resources.errors import UserError, nearest

BATCH = 1000


@dataclass(frozen=True)
class Example:
    """One valid row; `output` is in canonical form. Rows of one `group` are near-duplicates or share a source_id."""

    item_id: str
    input_text: str
    output: dict[str, Any]
    source_id: str | None = None
    group: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


def read_split(dataset_dir: Path, split: str) -> list[Example]:
    """The examples of "train" or "val" in file order. "test" is refused: it is opened by `open_test_split`, which counts."""
    return [example for batch in iter_split(dataset_dir, split) for example in batch]


def iter_split(dataset_dir: Path, split: str, batch_size: int = BATCH) -> Iterator[list[Example]]:
    """The same in batches, for data that should not be in memory at once."""
    if split == "test":
        raise UserError("the test split is not read here", where=str(dataset_dir), how="use open_test_split, which counts each opening")
    if split not in ("train", "val"):
        raise UserError(f"unknown split {split!r}", where=str(dataset_dir), how=nearest(split, ("train", "val", "test")))
    return _batches(dataset_dir, split, batch_size)


def open_test_split(dataset_dir: Path, ledger: Path, task: str, reason: str, use: str = "") -> list[Example]:
    """The test examples. The opening is on disk before the first row is read: a test set that is looked at often is no test any more. What
    goes on after a kill gives the name of its one `use`, which is written down once."""
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "task": task,
        "dataset": dataset_dir.name,
        "reason": reason,
        **({"use": use} if use else {}),
    }
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{ledger}.lock"), ledger.open("ab+") as out:
        if not use or not _noted(ledger, entry):
            # A line that a power cut left unfinished must not swallow this one.
            if out.tell() and (out.seek(-1, os.SEEK_END), out.read(1))[1] != b"\n":
                out.write(b"\n")
            out.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
    return [example for batch in _batches(dataset_dir, "test", BATCH) for example in batch]


def _noted(ledger: Path, entry: dict[str, str]) -> bool:
    """Whether the ledger has this opening, of the same use."""
    known = entry.keys() - {"at"}
    found = (_entry(line) for line in ledger.read_bytes().splitlines())
    return any(all(one.get(name) == entry[name] for name in known) for one in found)


def count_test_openings(ledger: Path, task: str) -> int:
    """How often the test split of this task was opened, over all versions of its data."""
    if not ledger.exists():
        return 0
    return sum(_entry(line).get("task") == task for line in ledger.read_bytes().splitlines())


def _entry(line: bytes) -> dict[str, Any]:
    """One line of the ledger; nothing where a power cut left it unfinished."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _batches(dataset_dir: Path, split: str, batch_size: int) -> Iterator[list[Example]]:
    import pyarrow.parquet as pq  # not `datasets`, which imports torch to read a table: stages that change nothing read rows too

    file = dataset_dir / "clean.parquet"
    if not file.is_file():
        raise UserError("no data set here", where=str(dataset_dir), how="build it first: pp run, or the splits asset")
    names = ["item_id", "input_text", "output_json", "source_id", "group", "meta", "split"]
    with pq.ParquetFile(file) as rows:
        for batch in rows.iter_batches(batch_size, columns=names):
            columns = zip(*(batch[name].to_pylist() for name in names), strict=True)
            yield [
                Example(i, text, orjson.loads(out), source, group, orjson.loads(meta))
                for i, text, out, source, group, meta, of in columns
                if of == split
            ]
