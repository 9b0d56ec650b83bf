"""A task's data set: built once in bounded memory, read by split, the test split opened by a door that counts.

Files: clean.parquet (one row an example), quarantine.jsonl (every line that is not in it, with the reason), splits.json (item ids by
split), report.json (what a user should know).

Given official splits (strategy "files") are kept as they are: equal rows stay, told apart by their id, and what train shares with test is
reported as leakage. For every other strategy a repeated row is kept once, and no near-duplicate and no source_id is on two sides. Extra
rows (feedback) never move a row of the data and never reach an evaluation split: one that is close to evaluation data is quarantined.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pp_assets.task.dataset_report import ReportBuilder, hex16
from pp_assets.task.examples import Example, count_test_openings, iter_split, open_test_split, read_split
from pp_assets.task.grouping import DUPLICATE, Plan, plan_splits
from pp_assets.task.lines import shorten
from pp_assets.task.reader import Rejected, item_id
from pp_assets.task.scan import EXTRA, Facts, scan, spooled
from pp_assets.task.spec import Task, TaskSpec
from pp_assets.task.splits import SPLITS
from pp_resources.fingerprint import code_digest, digest, file_sha256

__all__ = [
    "Example",
    "build_dataset",
    "count_test_openings",
    "dataset_inputs",
    "iter_split",
    "open_test_split",
    "read_split",
]

CLEAN, QUARANTINE, MANIFEST, REPORT = "clean.parquet", "quarantine.jsonl", "splits.json", "report.json"
_STRINGS = ("item_id", "input_text", "output_json", "source_id", "meta", "negative_examples", "file")
SCHEMA = pa.schema([*((name, pa.string()) for name in _STRINGS), ("line", pa.int64()), ("split", pa.string()), ("group", pa.string())])
_STEPS = ("reader", "scan", "duplicates", "same_item", "similar", "grouping", "splits", "dataset", "dataset_report", "spec_file")
_MODULES = (*(f"pp_assets.task.{step}" for step in _STEPS), "pp_resources.json_schema")


@dataclass(frozen=True)
class _Built:
    spec: TaskSpec
    facts: Facts
    plan: Plan
    work: Path


def dataset_inputs(task: Task) -> dict[str, str]:
    """What the data set depends on, for `ArtifactStore.produce`: data files, the parts of the spec that matter, code."""
    spec = task.spec
    parts = {"data": spec.data, **spec.model_dump(mode="json", include={"name", "io_schema", "eval_split", "limits"})}
    files = {f"data.{split or 'all'}": file_sha256(path) for path, split in task.data_files() if path.is_file()}
    return {**files, "spec": digest(parts, ordered=True), "code": code_digest(*_MODULES)}


def build_dataset(task: Task, out: Path, extra_rows: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Fill the empty folder `out`; returns the report's numbers as metadata.

    `extra_rows` have the fields of a data line. Raises UserError when a data file is missing, when no row is valid, or when the rows are
    too few to split. Bad rows are no error: they go to quarantine.
    """
    work = out / ".work"
    work.mkdir(parents=True)
    try:
        with (out / QUARANTINE).open("wb") as quarantine:
            facts, texts = scan(task, work, quarantine, extra_rows)
            try:
                built = _Built(task.spec, facts, plan_splits(facts, task.spec, texts), work)
            finally:
                texts.close()
            facts.keys.clear()
            report = ReportBuilder(task.spec, facts, built.plan)
            with pq.ParquetWriter(out / CLEAN, SCHEMA, compression="zstd") as writer:
                for batch, rejected in _second_pass(built, report):
                    if batch.num_rows:
                        writer.write_batch(batch)
                    for line in rejected:
                        quarantine.write(line.as_json())
    finally:
        shutil.rmtree(work)
    hashes = _write_manifest(out / MANIFEST, built)
    found = report.finish(facts.item)
    (out / REPORT).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return {
        **found["rows"],
        "quarantined": found["quarantine"]["lines"],
        "quarantine": found["quarantine"]["by_code"],
        "groups": found["groups"]["count"],
        "largest_group": found["groups"]["largest"],
        "exact_duplicates": found["exact_duplicates"]["removed"],
        "near_duplicate_rows": found["near_duplicates"]["rows"],
        "contradictions": found["contradictions"]["inputs"],
        "leakage": {pair: {kind: entry["rows"] for kind, entry in kinds.items()} for pair, kinds in found["leakage"].items()},
        "splits_sha256": hashes,
        "warnings": found["warnings"],
    }


def _second_pass(built: _Built, report: ReportBuilder) -> Iterator[tuple[pa.RecordBatch, list[Rejected]]]:
    """The spool again, batch by batch, with split and group; what is no part of the data set comes as rejected."""
    facts, plan = built.facts, built.plan
    for start, batch in spooled(built.work):
        rows = np.arange(start, start + batch.num_rows)
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        for row in rows[plan.occurrence[rows] > 0].tolist():
            i = row - start
            output = orjson.dumps(orjson.loads(columns["output_json"][i]), option=orjson.OPT_SORT_KEYS)
            columns["item_id"][i] = item_id(columns["input_text"][i], output, int(plan.occurrence[row]))
            facts.item[row] = int(columns["item_id"][i], 16)
        keep = np.flatnonzero(plan.code[rows] >= 0)
        for i in keep.tolist():
            report.add(start + i, columns["input_text"][i], columns["output_json"][i])
        arrays = [pa.array([columns[name][i] for i in keep.tolist()], pa.string()) for name in _STRINGS[:-1]]
        kept = rows[keep]
        arrays += [
            pa.array([facts.files[code] for code in facts.file[kept].tolist()], pa.string()),
            pa.array(facts.line[kept]),
            pa.array([SPLITS[code] for code in plan.code[kept].tolist()], pa.string()),
            pa.array([hex16(group) for group in plan.group[kept].tolist()], pa.string()),
        ]
        dropped = rows[plan.code[rows] < 0].tolist()
        rejected = [_rejected(built, row, {name: values[row - start] for name, values in columns.items()}) for row in dropped]
        yield pa.record_batch(arrays, schema=SCHEMA), rejected


def _rejected(built: _Built, row: int, values: dict[str, str | None]) -> Rejected:
    facts, code = built.facts, built.plan.code[row]
    if code == DUPLICATE:
        kind, reason = "duplicate", f"same input and output as {facts.place(built.plan.first[row])}"
    else:
        kind, reason = "evaluation_overlap", "near-duplicate of, or same source_id as, a row of val or test"
    file, line = facts.place(row).rsplit(":", 1)
    return Rejected(file, int(line), kind, "input_text", reason, shorten(orjson.dumps(values)))


def _write_manifest(path: Path, built: _Built) -> dict[str, str]:
    """splits.json, ids sorted; written piece by piece, since a million ids are 19 MB. Returns the SHA-256 of each split's ids."""
    facts, plan, split = built.facts, built.plan, built.spec.eval_split
    ids = {name: np.sort(facts.item[plan.code == code]) for code, name in enumerate(SPLITS)}
    hashes = {}
    for name, values in ids.items():
        sha = hashlib.sha256()
        for value in values.tolist():
            sha.update(f"{value:016x}\n".encode())
        hashes[name] = sha.hexdigest()
    head = {
        "splits_version": 1,
        "task": built.spec.name,
        "eval_split": split.model_dump(mode="json"),
        "counts": {name: len(values) for name, values in ids.items()},
        "extra_in_train": int(((facts.given == EXTRA) & (plan.code >= 0)).sum()),
        "sha256": hashes,
    }
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps(head, indent=1)[:-2] + ',\n "splits": {')
        for n, (name, values) in enumerate(ids.items()):
            out.write(f'{"," if n else ""}\n  "{name}": [')
            for i in range(0, len(values), 10_000):
                out.write(("," if i else "") + ",".join(f'"{value:016x}"' for value in values[i : i + 10_000].tolist()))
            out.write("]")
        out.write("\n }\n}\n")
    return hashes
