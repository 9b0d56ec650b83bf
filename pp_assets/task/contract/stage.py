"""Builds the artifact of a contract: the file, the scores of the training rows, the picture of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pp_assets.evaluation.drawing import BLUE, GREY, RED, Bar, forest
from pp_assets.task.contract.asked import helpers
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import Scores, score_stream
from pp_assets.task.contract.spec import Contract
from pp_assets.task.contract.table import LOW, Tally, node_records
from pp_assets.task.examples import Example

WORST = 12


def build_contract(contract: Contract, rows: Sequence[Example], out: Path, *, encoder: str | None) -> dict[str, Any]:
    """contract.json (tree form, schema included), nodes.json, scores.parquet, scores.png; numbers and tables to show."""
    (out / "contract.json").write_text(json.dumps(contract.plain(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    counted, parts = Tally(contract), []
    for part in score_stream(contract, (Row(e.input_text, e.output) for e in rows), **helpers(contract, None, encoder)):
        counted.add(part)
        parts.append(part)
    records, nodes = counted.records(), node_records(contract)
    (out / "nodes.json").write_text(json.dumps({"nodes": nodes, "scores": records}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    total = np.concatenate([part.total for part in parts]) if parts else np.zeros(0)
    _write(out / "scores.parquet", rows, parts, contract)
    picture = _picture(records)
    if picture:
        (out / "scores.png").write_bytes(picture)
    broken = {r["path"]: r["broken"] for r in records if "/" in r["path"] and r["broken"]}
    low = [i for i in np.argsort(np.nan_to_num(total, nan=2.0)) if total[i] < LOW][:WORST]
    return {
        "contract": contract.digest,
        "rows": counted.rows,
        "nodes": len(nodes),
        "mean": records[0]["mean"],
        "low_rows": int((total < LOW).sum()),
        "not_scored": int(np.isnan(total).sum()),
        "broken": broken,
        "node_table": [{k: n[k] for k in ("path", "kind", "share", "settings", "marks")} for n in nodes],
        "scores": records,
        "worst": [{"item_id": rows[i].item_id, "score": round(float(total[i]), 4), "input": rows[i].input_text[:200]} for i in low],
    }


def _write(file: Path, rows: Sequence[Example], parts: Sequence[Scores], contract: Contract) -> None:
    names = ["total", *(d.label for d in contract.dimensions), *(path for path, _ in contract.nodes())]
    values = [np.hstack([p.total[:, None], p.dimensions, p.nodes]) for p in parts]
    table = np.vstack(values) if values else np.zeros((0, len(names)))
    columns = {"item_id": pa.array([e.item_id for e in rows], pa.string())}
    columns |= {name: pa.array(table[:, j], pa.float64(), from_pandas=True) for j, name in enumerate(names)}
    pq.write_table(pa.table(columns), file)


def _picture(records: Sequence[dict[str, Any]]) -> bytes | None:
    """Means of nodes with their intervals, red where half of them or more break it."""
    shown = [
        Bar(r["path"], r["mean"], r["low"], r["high"], RED if r["mean"] < LOW else GREY if r["path"] == "total" else BLUE)
        for r in records
        if r["mean"] is not None and ("/" in r["path"] or r["path"] == "total")
    ]
    return forest(shown, "scores of the training rows by node, with intervals", {1.0: ":"}, share=True) if shown else None
