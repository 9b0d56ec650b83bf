"""First pass over the data: every line is checked, good rows go to a spool on disk, a few numbers a row stay in memory."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pp_assets.task.duplicates import BandHasher, TextSpool, normalise
from pp_assets.task.lines import read_lines
from pp_assets.task.reader import LineChecker, Rejected, Row
from pp_assets.task.spec import Task, named_data_files
from pp_assets.task.splits import SPLITS
from pp_resources.errors import UserError, nearest

CHUNK = 2048
TO_SPLIT, EXTRA = -1, 3
EXTRA_FILE = "extra"
SPOOL_COLUMNS = ("item_id", "input_text", "output_json", "source_id", "meta", "negative_examples")
_SPOOL = pa.schema([(name, pa.string()) for name in SPOOL_COLUMNS])
_TYPES: dict[str, Any] = dict.fromkeys(("item", "text", "output", "source"), np.uint64)
_TYPES |= {"line": np.int64, "chars": np.int32, "file": np.int16, "given": np.int8, "stratum": np.int32, "time": np.float64}


@dataclass
class Tally:
    """What was read: lines, blank ones, valid rows, rejected ones by code, and the first few of these."""

    read: int = 0
    blank: int = 0
    valid: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: list[Rejected] = field(default_factory=list)


@dataclass
class Facts:
    """What is known of each valid row, by index in reading order; about 170 bytes a row with the band keys.

    `item` is the item id, `text` and `output` hashes of the normalised input and of the output, `source` a hash of the source_id (0: none);
    `given` is a split code, TO_SPLIT or EXTRA; `stratum` a code in the order of the values.
    """

    item: np.ndarray
    text: np.ndarray
    output: np.ndarray
    source: np.ndarray
    line: np.ndarray
    chars: np.ndarray
    file: np.ndarray
    given: np.ndarray
    stratum: np.ndarray
    time: np.ndarray
    keys: list[np.ndarray]
    files: list[str]
    tally: Tally

    def place(self, row: int) -> str:
        """`file:line` of a row."""
        return f"{self.files[self.file[row]]}:{self.line[row]}"


class Scanner:
    """Collects rows in chunks: spool and texts to disk, facts to memory."""

    def __init__(self, task: Task, work: Path, quarantine: BinaryIO) -> None:
        self._checker = LineChecker(task.spec)
        self._hasher = BandHasher(task.spec.eval_split.near_duplicate_threshold)
        self._quarantine = quarantine
        self._sink = pa.OSFile(str(work / "rows.arrow"), "wb")
        self._writer = pa.ipc.new_stream(self._sink, _SPOOL)
        self.texts = TextSpool(work / "texts.bin")
        self._pending: list[Row] = []
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in _TYPES}
        self._keys: list[np.ndarray] = []
        self._strata: dict[str, int] = {}
        self._files: list[str] = []
        self._given = TO_SPLIT
        self.tally = Tally()

    def add_file(self, label: str, given: int, lines: Iterable[tuple[int, bytes]]) -> None:
        """Check the lines of one file; `given` is the split that all of them belong to, or TO_SPLIT."""
        self._flush()
        self._files.append(label)
        self._given = given
        for number, raw in lines:
            self.tally.read += 1
            if not raw.strip():
                self.tally.blank += 1
                continue
            row = self._checker.check(label, number, raw, to_split=given == TO_SPLIT)
            if isinstance(row, Rejected):
                self._reject(row)
                continue
            self.tally.valid += 1
            self._pending.append(row)
            if len(self._pending) == CHUNK:
                self._flush()

    def finish(self) -> Facts:
        """Close the spool and hand over the facts."""
        self._flush()
        self._writer.close()
        self._sink.close()
        self.texts.flush()
        columns = {name: np.concatenate([np.zeros(0, _TYPES[name]), *self._columns.pop(name)]) for name in _TYPES}
        # Codes in the order of the values, so that they do not depend on which line came first.
        rank = np.empty(len(self._strata), dtype=np.int32)
        rank[[self._strata[value] for value in sorted(self._strata)]] = np.arange(len(self._strata), dtype=np.int32)
        columns["stratum"] = rank[columns["stratum"]] if len(rank) else columns["stratum"]
        return Facts(**columns, keys=self._keys, files=self._files, tally=self.tally)

    def _reject(self, rejected: Rejected) -> None:
        self._quarantine.write(rejected.as_json())
        self.tally.rejected[rejected.code] += 1
        if len(self.tally.first_rejected) < 3:
            self.tally.first_rejected.append(rejected)

    def _flush(self) -> None:
        rows, self._pending = self._pending, []
        if not rows:
            return
        arrays = [pa.array([getattr(row, name) for row in rows], pa.string()) for name in SPOOL_COLUMNS]
        self._writer.write_batch(pa.record_batch(arrays, schema=_SPOOL))
        texts = [normalise(row.input_text) for row in rows]
        self.texts.append(texts)
        self._keys.append(self._hasher.keys(texts))
        values: dict[str, Iterable[Any]] = {
            "item": (int(row.item_id, 16) for row in rows),
            "text": map(hash64, texts),
            "output": (hash64(row.output_json) for row in rows),
            "source": (hash64(row.source_id) if row.source_id is not None else 0 for row in rows),
            "line": (row.line for row in rows),
            "chars": (len(row.input_text) for row in rows),
            "file": (len(self._files) - 1 for _ in rows),
            "given": (self._given for _ in rows),
            "stratum": (self._strata.setdefault(row.stratum, len(self._strata)) for row in rows),
            "time": (row.time for row in rows),
        }
        for name, column in values.items():
            self._columns[name].append(np.fromiter(column, dtype=_TYPES[name], count=len(rows)))


def scan(task: Task, work: Path, quarantine: BinaryIO, extra_rows: Iterable[Mapping[str, Any]]) -> tuple[Facts, TextSpool]:
    """Read all data files of a task, then the extra rows. Raises UserError when a file is missing or no row is valid."""
    scanner = Scanner(task, work, quarantine)
    names = [name for name, _ in named_data_files(task.spec)]
    for (path, split), name in zip(task.data_files(), names):
        if not path.is_file():
            where = f"{task.file}: {f'eval_split.files.{split}' if split else 'data'}"
            known = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
            raise UserError(f"no such file: {path}", where=where, how=nearest(path.name, known))
        scanner.add_file(name, SPLITS.index(split) if split else TO_SPLIT, read_lines(path))
    if not scanner.tally.valid:
        first = "; ".join(f"{r.file}:{r.line}: {r.reason}" for r in scanner.tally.first_rejected)
        raise UserError(f"no valid row in {', '.join(names)} ({scanner.tally.read} lines read)", where=str(task.file), how=first)
    scanner.add_file(EXTRA_FILE, EXTRA, _as_lines(extra_rows))
    return scanner.finish(), scanner.texts


def spooled(work: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(index of the first row, batch) of the spool, in reading order."""
    start = 0
    with pa.OSFile(str(work / "rows.arrow"), "rb") as source, pa.ipc.open_stream(source) as reader:
        for batch in reader:
            yield start, batch
            start += batch.num_rows


def hash64(text: str) -> int:
    """64 bits of BLAKE2b: among a million rows two texts share one with a chance of 3 in 10^8."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _as_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, bytes]]:
    for number, row in enumerate(rows, start=1):
        yield number, json.dumps(dict(row)).encode()
