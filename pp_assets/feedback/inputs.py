"""Inputs that a task met in use: from the feedback inbox or from a file of lines, each with its time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pp_assets.feedback.inbox import Feedback
from pp_assets.task.lines import Fault, parse_line, read_lines
from pp_resources.errors import UserError

TIMES = ("at", "time", "timestamp", "created_at")


@dataclass(frozen=True)
class Met:
    """One input; `at` is when, None where nothing says so."""

    id: str
    input_text: str
    at: datetime | None = None


def of_inbox(entries: Iterable[Feedback]) -> list[Met]:
    """Each input once, at the time when it first came: an answer that gets two ratings was one input."""
    first: dict[str, Met] = {}
    for entry in entries:
        first.setdefault(entry.input_text, Met(entry.id, entry.input_text, datetime.fromisoformat(entry.at)))
    return list(first.values())


def of_file(file: Path) -> list[Met]:
    """Lines with `input_text` and, at the top or in `meta`, at, time, timestamp or created_at (ISO 8601, or seconds since 1970); or plain
    texts in a file that does not end in .jsonl. Raises UserError naming the line."""
    if not file.is_file():
        raise UserError("no such file", where=str(file), how="give JSON lines with input_text, or a text file with an input a line")
    plain = file.suffix != ".jsonl"
    return list(_plain(file) if plain else _json_lines(file))


def between(rows: Sequence[Met], start: datetime | None, end: datetime | None, where: str) -> list[Met]:
    """The rows of start <= time < end. Raises UserError where a row has no time."""
    untimed = next((row for row in rows if row.at is None), None)
    if untimed is not None:
        raise UserError(f"{untimed.id} has no time", where=where, how=f"give each line one of {', '.join(TIMES)}")
    return [row for row in rows if (start is None or row.at >= start) and (end is None or row.at < end)]  # type: ignore[operator]


def time_range(text: str) -> tuple[datetime | None, datetime | None]:
    """`2026-11-01..2026-11-08`; either end may be left out. Times without a zone are UTC."""
    start, dots, end = text.partition("..")
    if not dots or not (start or end):
        raise UserError(f"{text!r} is no range of times", where="--range", how="write START..END, such as 2026-11-01..2026-11-08")
    return (moment(start, "--range") if start else None, moment(end, "--range") if end else None)


def moment(value: Any, where: str) -> datetime:
    """A time from ISO 8601 text or from seconds since 1970."""
    try:
        found = datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError) as error:
        raise UserError(f"{value!r} is no time", where=where, how="write ISO 8601, such as 2026-11-01T09:30") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _plain(file: Path) -> Iterator[Met]:
    for number, raw in read_lines(file):
        if raw.strip():
            try:
                yield Met(f"line {number}", raw.decode("utf-8").strip())
            except UnicodeDecodeError as error:
                raise UserError("not UTF-8", where=f"{file}:{number}", how="save the file as UTF-8") from error


def _json_lines(file: Path) -> Iterator[Met]:
    for number, raw in read_lines(file):
        if not raw.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = parse_line(raw)
        except Fault as fault:
            raise UserError(fault.reason, where=where, how="one JSON object a line") from fault
        if not isinstance(row, dict) or not isinstance(row.get("input_text"), str) or not row["input_text"].strip():
            raise UserError("not an object with a text input_text", where=where)
        meta = row["meta"] if isinstance(row.get("meta"), dict) else {}
        said = next((place[key] for place in (row, meta) for key in TIMES if key in place), None)
        yield Met(str(row.get("id") or f"line {number}"), row["input_text"], None if said is None else moment(said, where))
