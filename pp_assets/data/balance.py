"""Rows of a file chosen, weighed or checked: balance by cell of chosen fields, validation against a task. Two passes, row by row."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pp_assets.data.sources import file_rows
from pp_assets.task.lines import parse_line, read_lines
from pp_assets.task.reader import LineChecker, Rejected
from pp_assets.task.spec import Task
from pp_resources.errors import UserError, nearest
from pp_resources.json_schema import get_path

SHOWN = 20
_MISSING = object()


def balance(source: Path, to: Path, by: Sequence[str], *, cap: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Write the rows of a JSONL file with at most `cap` rows of each cell of the fields `by` (dotted, of output_json); without a cap all
    rows, each with `meta.weight`: cells weigh the same, the mean is 1. Which rows stay depends on their content and the seed alone."""
    if not source.is_file():
        raise UserError("no such file", where=str(source), how="give a JSONL file")
    if source.resolve() == to.resolve():
        raise UserError("a file is not overwritten by its balanced copy", where=str(to), how="give another name with --to")
    cells, keys = list[str](), list[int]()
    for row in file_rows(source):
        cells.append(_cell(orjson.loads(row.output), by, source))
        keys.append(int.from_bytes(hashlib.blake2b(f"{seed}\n{row.input_text}\n{row.output}".encode(), digest_size=7).digest(), "little"))
    if not cells:
        raise UserError("no rows", where=str(source), how="give a file with rows")
    before = Counter(cells)
    kept = _chosen(cells, keys, cap) if cap is not None else np.ones(len(cells), dtype=bool)
    temporary = to.with_name(f".{to.name}.new")
    to.parent.mkdir(parents=True, exist_ok=True)
    lines = (parse_line(raw) for _, raw in read_lines(source) if raw.strip())
    try:
        with temporary.open("wb") as out:
            for value, keep, cell in zip(lines, kept.tolist(), cells, strict=True):
                if keep:
                    if cap is None:
                        weight = round(len(cells) / (len(before) * before[cell]), 6)
                        value = value | {"meta": (value.get("meta") or {}) | {"weight": weight}}
                    out.write(orjson.dumps(value) + b"\n")
        temporary.replace(to)
    finally:
        temporary.unlink(missing_ok=True)
    after = Counter(cell for cell, keep in zip(cells, kept.tolist()) if keep)
    table = [{"cell": cell, "before": n, "after": after[cell]} for cell, n in sorted(before.items(), key=lambda pair: (-pair[1], pair[0]))]
    return {"rows": len(cells), "kept": int(kept.sum()), "cells": len(before), "weighted": cap is None, "table": table}


def validate(task: Task, source: Path) -> dict[str, Any]:
    """Check every line of a JSONL file against a task: counts, and the first lines that are not sound with their reasons."""
    if not source.is_file():
        raise UserError("no such file", where=str(source), how="give a JSONL file")
    checker, codes, first, sound = LineChecker(task.spec), Counter[str](), list[dict[str, Any]](), 0
    for number, raw in read_lines(source):
        if not raw.strip():
            continue
        row = checker.check(source.name, number, raw)
        if isinstance(row, Rejected):
            codes[row.code] += 1
            if len(first) < SHOWN:
                first.append({"line": row.line, "field": row.field, "code": row.code, "reason": row.reason})
        else:
            sound += 1
    return {"task": task.name, "file": str(source), "sound": sound, "rejected": sum(codes.values()), "by_code": dict(codes), "first": first}


def _chosen(cells: Sequence[str], keys: Sequence[int], cap: int) -> np.ndarray:
    """Which rows are among the `cap` of their cell with the smallest hashes."""
    if cap < 1:
        raise UserError(f"a cap of {cap} leaves nothing", where="--cap", how="give a whole number from 1 on")
    taken: Counter[str] = Counter()
    kept = np.zeros(len(cells), dtype=bool)
    for i in np.argsort(np.array(keys, dtype=np.uint64), kind="stable").tolist():
        kept[i] = taken[cells[i]] < cap
        taken[cells[i]] += 1
    return kept


def _cell(output: Any, by: Sequence[str], source: Path) -> str:
    values = []
    for path in by:
        value = get_path(output, path, _MISSING) if isinstance(output, dict) else _MISSING
        if value is _MISSING:
            known = sorted(output) if isinstance(output, dict) else []
            raise UserError(f"a row has no field {path!r}", where=str(source), how=nearest(path, known))
        values.append(value if isinstance(value, str) else orjson.dumps(value).decode())
    return ", ".join(values)
