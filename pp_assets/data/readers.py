"""Files and folders as people have them, read one row at a time: JSONL, CSV, Parquet, saved `datasets`, chat transcripts."""

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pp_assets.task.lines import Fault, parse_line, read_lines, shorten
from pp_resources.errors import UserError, nearest

KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", "": "folder"}
BATCH = 1000
Row = Mapping[str, Any]
Place = tuple[int, Row | Fault, str]
"""Number of the row from 1, the row or what is wrong with it, and its text for the quarantine."""


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
    for batch in pq.ParquetFile(source).iter_batches(batch_size=BATCH):
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


def _text(message: Mapping[str, Any]) -> Any:
    """The text of a message; of content in parts the texts among them."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict) and part.get("type") == "text")
    return content
