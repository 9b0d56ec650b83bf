"""Rows from the files that people have: JSONL, CSV, Parquet, folders of Hugging Face `datasets`, chat transcripts; read one at a time.

A mapping says which column becomes which part of a row: `{"input_text": "body", "output_json.category": "label", "source_id": "ticket"}`.
It is remembered beside the source (MEMORY) under what the source is and which columns it has, and used again where the same kind comes.
Rows that make none go to quarantine with place and reason.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from pp_assets.task.lines import Fault, parse_line, read_lines, shorten
from pp_assets.task.reader import Rejected
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError, nearest
from pp_resources.fingerprint import digest
from pp_resources.json_schema import set_path
from pp_resources.progress import steps

MEMORY = ".pp-mappings.json"
TARGETS = ("input_text", "output_json", "source_id", "meta")
KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", "": "folder"}
PEEKED = 20  # rows that tell the columns
REPORTED = 1000  # rows between two signs of progress
Row = Mapping[str, Any]
Place = tuple[int, Row | Fault, str]
"""Number of the row from 1, the row or what is wrong with it, and its text for the quarantine."""


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
    temporary, bad = to.with_name(f".{to.name}.new"), to.with_name(f"{to.stem}.quarantine.jsonl")
    bad_temporary = to.with_name(f".{bad.name}.new")
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as out, bad_temporary.open("wb") as quarantine, steps("collect", _blocks(source, first)) as advance:
            for number, row, raw in chain(first, rows):
                try:
                    out.write(orjson.dumps(_mapped(row, mapping)) + b"\n")
                    done.rows += 1
                except Fault as fault:
                    quarantine.write(Rejected(source.name, number, fault.code, fault.field, fault.reason, raw).as_json())
                    done.rejected[fault.code] += 1
                if number % REPORTED == 0:
                    advance(f"{number} rows")
        if not done.rows:
            reason = json.loads(bad_temporary.read_text("utf-8").splitlines()[0])
            raise UserError("no row is sound", where=str(source), how=f"row {reason['line']}: {reason['reason']}")
        temporary.replace(to)
        if done.rejected:
            bad_temporary.replace(bad)
            done.quarantine = str(bad)
    finally:
        temporary.unlink(missing_ok=True)
        bad_temporary.unlink(missing_ok=True)
    _remember(source, kind, columns, mapping)
    return done


def kind_of(source: Path) -> str:
    """jsonl, csv, parquet, folder or chat, told by the name and by the first line."""
    if not source.exists():
        known = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        raise UserError("no such file or folder", where=str(source), how=nearest(source.name, known))
    kind = "folder" if source.is_dir() else KINDS.get(source.suffix.lower(), "")
    if kind == "folder":
        if not (source / "state.json").exists() and not (source / "dataset_dict.json").exists():
            raise UserError("the folder holds no saved data set", where=str(source), how="write it with datasets' save_to_disk")
        return kind
    if not kind:
        raise UserError(f"unknown kind of file {source.suffix!r}", where=str(source), how=nearest(source.suffix, KINDS))
    if kind == "jsonl":
        first = next((line for _, line in read_lines(source) if line.strip()), b"")
        with suppress(Fault):
            value = parse_line(first)
            if isinstance(value, dict) and isinstance(value.get("messages"), list):
                return "chat"
    return kind


def read_rows(source: Path, kind: str) -> Iterator[Place]:
    """The rows of a source as they are, one at a time."""
    try:
        yield from {"jsonl": _jsonl, "chat": _chat, "csv": _csv, "parquet": _parquet, "folder": _folder}[kind](source)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        # ValueError: pyarrow's and datasets' word for a damaged file.
        raise UserError(f"cannot be read as {kind}: {str(error)[:200]}", where=str(source), how="check that the file is whole") from error


def _jsonl(source: Path) -> Iterator[Place]:
    for number, raw in read_lines(source):
        if not raw.strip():
            continue
        try:
            value = parse_line(raw)
            fault = None if isinstance(value, dict) else Fault("wrong_type", "", "the line is not an object")
        except Fault as found:
            fault = found
        yield number, fault or value, shorten(raw)


def _chat(source: Path) -> Iterator[Place]:
    """Transcripts in OpenAI's form: `user` the last message of a user before the last answer, `assistant` that answer, `system`, `id`."""
    for number, row, raw in _jsonl(source):
        if isinstance(row, Fault):
            yield number, row, raw
            continue
        messages = row.get("messages")
        said = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
        ends = [i for i, m in enumerate(said) if m.get("role") == "assistant"]
        asked = [m for m in said[: ends[-1]] if m.get("role") == "user"] if ends else []
        if not asked:
            yield number, Fault("missing_field", "messages", "no user message that an assistant answers"), raw
            continue
        rest = {name: value for name, value in row.items() if name != "messages"}
        system = "\n".join(str(m.get("content")) for m in said if m.get("role") == "system")
        yield number, rest | {"user": _text(asked[-1]), "assistant": _text(said[ends[-1]]), "system": system}, raw


def _csv(source: Path) -> Iterator[Place]:
    csv.field_size_limit(16 * 2**20)
    with source.open(encoding="utf-8-sig", newline="") as handle:
        rows = csv.reader(handle, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
        head = next(rows, [])
        for cells in rows:
            if not cells:
                continue
            raw = shorten(",".join(cells).encode("utf-8", "surrogatepass"))
            if len(cells) != len(head):
                yield rows.line_num, Fault("wrong_type", "", f"{len(cells)} cells, the head has {len(head)}"), raw
            else:
                yield rows.line_num, dict(zip(head, cells)), raw


def _parquet(source: Path) -> Iterator[Place]:
    import pyarrow.parquet as pq

    number = 0
    for batch in pq.ParquetFile(source).iter_batches(batch_size=REPORTED):
        for row in batch.to_pylist():
            number += 1
            yield number, row, shorten(json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))


def _folder(source: Path) -> Iterator[Place]:
    """A data set that was saved with `save_to_disk`, all of its splits one after the other; the column `split` names them."""
    from datasets import DatasetDict, load_from_disk

    found = load_from_disk(str(source))
    parts = found.items() if isinstance(found, DatasetDict) else [("", found)]
    number = 0
    for split, rows in parts:
        for row in rows:
            number += 1
            row = dict(row) | ({"split": str(split)} if split else {})
            yield number, row, shorten(json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))


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


def _text(message: Mapping[str, Any]) -> Any:
    """The text of a message; of content in parts the texts among them."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict) and part.get("type") == "text")
    return content
