"""Files of outputs to score, and of what people said of outputs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from pp_assets.task.contract.fit import Marks
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import CHUNK, score_rows, score_stream
from pp_assets.task.contract.spec import Contract
from pp_assets.task.contract.table import Tally
from pp_assets.task.spec_file import strict_json
from pp_resources.errors import UserError, nearest
from pp_resources.progress import steps

INPUT, OUTPUT = ("input_text", "llm_input"), ("output", "output_json", "llm_output")
MORE = ("label", "score", "rating", "chosen", "rejected", "source_id", "meta", "negative_examples")
LIKERT = ("strongly disagree", "disagree", "neutral", "agree", "strongly agree")
HOW = "give score (0..1), rating (1..5 or 'Strongly agree'), or chosen and rejected"


class Line(NamedTuple):
    """One line of a file: where it stands, and what it holds."""

    where: str
    value: Mapping[str, Any]


def read_lines(file: Path) -> Iterator[Line]:
    """The objects of a JSONL file, one at a time. Raises UserError naming file, line and nearest key."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, text in enumerate(lines, 1):
                if text.strip():
                    yield Line(where := f"{file}:{number}", _object(text, where))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=str(file), how="give JSON lines in UTF-8") from error


def row_of(line: Line) -> Row:
    """The row of a line: input_text, output, and label where there is one; or a line of a task's data."""
    return Row(_text(line), _one(line, OUTPUT), line.value.get("label"))


def score_file(contract: Contract, file: Path, to: Path | None, options: Mapping[str, Any]) -> Tally:
    """Score the lines of a file, chunk by chunk; with `to` the scores of each row are written there as JSON lines, all or nothing."""
    total = sum(1 for _ in file.open("rb")) if file.is_file() else 0
    counted = Tally(contract)
    with ExitStack() as stack, steps("rows", -(-total // CHUNK)) as advance:
        out = stack.enter_context(written_whole(to)) if to else None
        for part in score_stream(contract, (row_of(line) for line in read_lines(file)), **options):
            counted.add(part)
            if out:
                out.writelines(orjson.dumps(part.row(i)) + b"\n" for i in range(len(part)))
            advance(f"{counted.rows} rows")
    return counted


@contextmanager
def written_whole(file: Path) -> Iterator[Any]:
    """A binary file that takes its name when all of it is written."""
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("wb") as out:
            yield out
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def read_marks(file: Path, contract: Contract, **options: Any) -> Marks:
    """Score what a file of marked outputs holds: lines with `score`, with `rating`, or with `chosen` and `rejected`, one kind in a file.
    Outputs of one input are one group. `options` as in `score_rows`."""
    lines = list(read_lines(file))
    if not lines:
        raise UserError("holds no line", where=str(file), how=HOW)
    return marks_of(lines, contract, **options)


def marks_of(lines: Sequence[Line], contract: Contract, **options: Any) -> Marks:
    """The same of lines that are in memory, one or more."""
    if "chosen" in lines[0].value:
        rows, marks = [], None
        for line in lines:
            for key in ("chosen", "rejected"):
                if key not in line.value:
                    raise UserError(f"{key!r} is missing", where=line.where, how="all lines of a file must be of one kind")
                rows.append(Row(_text(line), line.value[key], line.value.get("label")))
        pairs = np.arange(len(rows)).reshape(-1, 2)
    else:
        rows, marks, pairs = [row_of(line) for line in lines], np.array([_mark(line) for line in lines]), None
    found = score_rows(contract, rows, **options)
    return Marks(found.raw, found.shut, found.closed, [row.input_text for row in rows], marks, pairs)


def _object(text: str, where: str) -> Mapping[str, Any]:
    try:
        value = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=where) from error
    if not isinstance(value, Mapping):
        raise UserError("is not an object", where=where, how="give one with input_text and output")
    for key in value:
        if key not in (known := (*INPUT, *OUTPUT, *MORE)):
            raise UserError(f"unknown field {key!r}", where=where, how=nearest(key, known))
    return value


def _text(line: Line) -> str:
    found = _one(line, INPUT)
    if not isinstance(found, str):
        raise UserError("input_text is not text", where=line.where)
    return found


def _one(line: Line, names: tuple[str, ...]) -> Any:
    given = [name for name in names if name in line.value]
    if len(given) != 1:
        raise UserError(
            f"{' and '.join(given)} together" if given else f"{names[0]!r} is missing", where=line.where, how=f"give {names[0]}"
        )
    return line.value[given[0]]


def _mark(line: Line) -> float:
    given = [key for key in ("score", "rating") if key in line.value]
    if len(given) != 1:
        raise UserError("has no mark" if not given else "score and rating together", where=line.where, how=HOW)
    said = line.value[given[0]]
    if isinstance(said, str) and said.strip().casefold() in LIKERT and given == ["rating"]:
        return LIKERT.index(said.strip().casefold()) / (len(LIKERT) - 1)
    low, high = (0, 1) if given == ["score"] else (1, 5)
    if isinstance(said, bool) or not isinstance(said, int | float) or not low <= said <= high:
        raise UserError(f"{given[0]} {said!r} is no mark", where=line.where, how=HOW)
    return (said - low) / (high - low)
