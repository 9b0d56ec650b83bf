"""Rows between data stages as Parquet files: equal rows give equal bytes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pp_assets.data.generation.made import Generated
from pp_assets.task.examples import Example


def write_table(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, compression="zstd")


def read_table(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


_STRINGS = ("item_id", "input_text", "output_json", "source_id", "group", "method", "params")
GENERATED = pa.schema([*((name, pa.string()) for name in _STRINGS), ("parents", pa.list_(pa.string())), ("seed", pa.int64())])


def write_generated(path: Path, rows: Sequence[Generated]) -> None:
    records = [
        {
            "item_id": g.example.item_id,
            "input_text": g.example.input_text,
            "output_json": _json(g.example.output),
            "source_id": g.example.source_id,
            "group": g.example.group,
            "method": g.method,
            "params": _json(g.params),
            "parents": list(g.parents),
            "seed": g.seed,
        }
        for g in rows
    ]
    write_table(path, records, GENERATED)


def read_generated(path: Path) -> list[Generated]:
    return [
        Generated(
            Example(
                r["item_id"],
                r["input_text"],
                json.loads(r["output_json"]),
                r["source_id"],
                r["group"],
                {"parent": r["parents"][0], "method": r["method"]},
            ),
            tuple(r["parents"]),
            r["method"],
            json.loads(r["params"]),
            r["seed"],
        )
        for r in read_table(path)
    ]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
