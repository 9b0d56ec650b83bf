"""Stored predictions, the only thing a report is computed from: a gzip file of JSON lines per system, equal bytes for equal rows."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from pp_resources.artifacts import SLUG
from pp_resources.errors import UserError
from pp_resources.models.interface import Prediction

SYSTEMS = "systems.json"
SUFFIX = ".jsonl.gz"


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One test item and what one system answered.

    `expected` is JSON text; `output` is exactly what the system said, JSON or not. `group` joins items that are phrasings of one situation.
    `latency_ms` is batch wall time divided by batch size, `nearest` the similarity of the input to the nearest training row (Jaccard of
    character 3-grams), of a candidate that is reported; None where nobody asked.
    """

    item_id: str
    group: str
    input_text: str
    expected: str
    output: str
    confidence: float | None = None
    fields: Mapping[str, float] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    latency_ms: float = 0.0
    finish_reason: str = "stop"
    nearest: float | None = None


class System(TypedDict):
    """What is compared: a candidate (an adapter) or a baseline, with its answers on the same items."""

    name: str
    kind: Literal["candidate", "baseline"]
    description: str
    rows: list[PredictionRow]


_COLUMNS = {f.name for f in fields(PredictionRow)}
_NEEDED = {"item_id", "group", "input_text", "expected", "output"}


def make_rows(examples: Sequence[Any], predictions: Sequence[Prediction], dump: Callable[[Any], str]) -> list[PredictionRow]:
    """Join examples (`item_id`, `group`, `input_text`, `output`) with one prediction each. `dump` writes an expected output as JSON.

    Probabilities are kept to 6 decimals and latency to the microsecond, so that a row read back equals the row written.
    """
    if len(examples) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(examples)} examples")
    return [
        PredictionRow(
            item_id=e.item_id,
            group=e.group,
            input_text=e.input_text,
            expected=dump(e.output),
            output=p.text,
            confidence=None if p.confidence is None else round(float(p.confidence), 6),
            fields={path: round(float(value), 6) for path, value in p.fields.items()},
            tokens_in=int(p.tokens_in),
            tokens_out=int(p.tokens_out),
            latency_ms=round(float(p.latency_ms), 3),
            finish_reason=p.finish_reason,
        )
        for e, p in zip(examples, predictions)
    ]


def write_predictions(path: Path, rows: Iterable[PredictionRow]) -> None:
    """Write rows as gzip JSON lines without a time stamp. ASCII-escaped, since a model may emit text that UTF-8 cannot carry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as out:
        for row in rows:
            value = asdict(row)
            if row.nearest is None:
                del value["nearest"]
            out.write(json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n")


def read_predictions(path: Path) -> list[PredictionRow]:
    """Read rows back. A damaged file or line is a UserError that names the file and the line."""
    rows = []
    line = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line, text in enumerate(lines, 1):
                rows.append(_row(text, f"{path}:{line}"))
    except FileNotFoundError:
        raise UserError("no stored predictions", where=str(path), how="evaluate the variant again") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"cannot be read ({error})", where=f"{path}:{line + 1}", how="evaluate the variant again") from error
    return rows


def write_systems(folder: Path, systems: Sequence[System]) -> None:
    """Write `<system>.jsonl.gz` for each system, and `systems.json` with names, kinds and descriptions."""
    for system in systems:
        if not SLUG.match(system["name"]):
            raise UserError(f"{system['name']!r} is not a name", where="system", how="use lower-case letters, digits, '.', '_' and '-'")
        write_predictions(folder / f"{system['name']}{SUFFIX}", system["rows"])
    listed = [{key: system[key] for key in ("name", "kind", "description")} for system in systems]  # type: ignore[literal-required]
    (folder / SYSTEMS).write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_systems(folder: Path) -> list[System]:
    """The systems that `write_systems` stored in `folder`."""
    try:
        listed = json.loads((folder / SYSTEMS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error})", where=str(folder / SYSTEMS), how="evaluate the variant again") from error
    return [cast(System, {**entry, "rows": read_predictions(folder / f"{entry['name']}{SUFFIX}")}) for entry in listed]


def _row(text: str, where: str) -> PredictionRow:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"cannot be read ({error})", where=where, how="evaluate the variant again") from error
    if not isinstance(value, dict) or value.keys() - _COLUMNS or _NEEDED - value.keys():
        wrong = sorted(_NEEDED - value.keys() | value.keys() - _COLUMNS) if isinstance(value, dict) else [type(value).__name__]
        raise UserError(f"not a prediction row: {', '.join(wrong)} missing or unknown", where=where, how="evaluate the variant again")
    return PredictionRow(**value)
