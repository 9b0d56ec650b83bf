"""Rows from the files that people have: JSONL, CSV, Parquet, folders of Hugging Face `datasets`, chat transcripts; read one at a time.

A mapping says which column becomes which part of a row: `{"input_text": "body", "output_json.category": "label", "source_id": "ticket"}`.
It is remembered beside the source (MEMORY) under what the source is and which columns it has, and used again where the same kind comes.
Rows that make none go to quarantine with place and reason.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from pp_assets.data.readers import Place, Row, kind_of, read_rows
from pp_assets.data.rows_file import rows_file
from pp_assets.task.lines import Fault
from pp_assets.task.reader import Rejected
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError, nearest
from pp_resources.fingerprint import digest
from pp_resources.json_schema import set_path
from pp_resources.progress import steps

MEMORY = ".pp-mappings.json"
TARGETS = ("input_text", "output_json", "source_id", "meta")
PEEKED = 20  # rows that tell the columns
REPORTED = 1000  # rows between two signs of progress


@dataclass
class Collected:
    """What came of a source: the mapping used, whether it was a remembered one, and counts."""

    kind: str
    mapping: dict[str, str]
    remembered: bool
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    quarantine: str = ""


def collect(source: Path, to: Path, given: Mapping[str, str] | None = None) -> Collected:
    """Write the rows of `source` to `to` (JSONL) and what makes none to `to`.quarantine.jsonl beside it.

    Without `given` the mapping is that which was remembered for this kind of source, or the plain one where the columns bear the names of
    a row's parts. Nothing is written when the source cannot be read or no row is sound (UserError).
    """
    kind = kind_of(source)
    rows = read_rows(source, kind)
    first = list(islice(rows, PEEKED))
    columns = sorted({name for _, row, _ in first if isinstance(row, Mapping) for name in row})
    if not columns:
        fault = next((f"row {n}: {row.reason}" for n, row, _ in first if isinstance(row, Fault)), "it is empty")
        raise UserError("no row can be read", where=str(source), how=fault)
    mapping, remembered = _mapping(source, kind, columns, given)
    done = Collected(kind, mapping, remembered)
    with rows_file(to) as file, steps("collect", _blocks(source, first)) as advance:
        for number, row, raw in chain(first, rows):
            try:
                file.write(_mapped(row, mapping))
            except Fault as fault:
                file.reject(Rejected(source.name, number, fault.code, fault.field, fault.reason, raw))
            if number % REPORTED == 0:
                advance(f"{number} rows")
        if not file.rows:
            reason = file.first_rejected()
            raise UserError("no row is sound", where=str(source), how=f"row {reason['line']}: {reason['reason']}")
    done.rows, done.rejected, done.quarantine = file.rows, file.rejected, file.quarantine
    _remember(source, kind, columns, mapping)
    return done


def pairs(words: Sequence[str]) -> dict[str, str]:
    """A mapping from words PART=COLUMN."""
    found = {}
    for word in words:
        part, equals, column = word.partition("=")
        if not equals or not part or not column:
            raise UserError(f"{word!r} is no PART=COLUMN", where="--map", how="such as --map input_text=body")
        found[part] = column
    return found


def _mapped(row: Row | Fault, mapping: Mapping[str, str]) -> dict[str, Any]:
    """A row of a task's data file. Raises Fault."""
    if isinstance(row, Fault):
        raise row
    out: dict[str, Any] = {}
    for target, column in mapping.items():
        if column not in row:
            raise Fault("missing_field", target, f"column {column!r} is missing")
        value = row[column]
        if target == "output_json" and isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise Fault("invalid_json", target, f"column {column!r} is no JSON: {error}") from error
        if target in ("input_text", "source_id"):
            if value is None and target == "source_id":
                continue
            if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
                raise Fault("wrong_type", target, f"column {column!r} holds no text")
            value = str(value)
        set_path(out, target, value)
    try:
        orjson.dumps(out)
    except TypeError as error:
        raise Fault("invalid_json", "", str(error)) from error
    if not isinstance(out.get("output_json", {}), dict):
        raise Fault("wrong_type", "output_json", "output_json is no object")
    return out


def _mapping(source: Path, kind: str, columns: list[str], given: Mapping[str, str] | None) -> tuple[dict[str, str], bool]:
    if given:
        mapping, remembered = dict(given), False
    elif known := _memory(source).get(_key(kind, columns)):
        mapping, remembered = dict(known["mapping"]), True
    else:
        mapping, remembered = {name: name for name in TARGETS if name in columns}, False
        if kind == "chat":
            mapping = {"input_text": "user", "output_json": "assistant"} | ({"source_id": "id"} if "id" in columns else {})
    for target, column in mapping.items():
        if target.partition(".")[0] not in TARGETS or target.startswith(("input_text.", "source_id.")):
            raise UserError(f"unknown part of a row {target!r}", where="--map", how=nearest(target, [*TARGETS, "output_json.FIELD"]))
        if column not in columns:
            raise UserError(f"no column {column!r}", where=str(source), how=nearest(column, columns))
    if "input_text" not in mapping:
        how = f"say which, such as --map input_text={columns[0]}; columns: {', '.join(columns)}"
        raise UserError("no column is the input text", where=str(source), how=how)
    return mapping, remembered


def _blocks(source: Path, first: list[Place]) -> int:
    """About how many times REPORTED rows a source has, by its size."""
    size = sum(p.stat().st_size for p in source.rglob("*") if p.is_file()) if source.is_dir() else source.stat().st_size
    return max(1, size * len(first) // max(1, sum(len(raw) for _, _, raw in first)) // REPORTED)


def _key(kind: str, columns: list[str]) -> str:
    return digest([kind, columns])[:16]


def _memory(source: Path) -> dict[str, Any]:
    try:
        found = json.loads((source.parent / MEMORY).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"cannot be read ({error})", where=str(source.parent / MEMORY), how="mend it or delete it") from error
    return found if isinstance(found, dict) else {}


def _remember(source: Path, kind: str, columns: list[str], mapping: Mapping[str, str]) -> None:
    """Where the folder cannot be written, as with data that others own, the mapping must be given again."""
    kept = _memory(source) | {_key(kind, columns): {"kind": kind, "columns": columns, "mapping": dict(mapping)}}
    with suppress(OSError):
        write_atomic(source.parent / MEMORY, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
