"""Rows by the name that a person gives: a JSONL file, a task (its current data), or a version of a task's data by its digest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pyarrow.parquet as pq

from pp_assets.task.lines import Fault, parse_line, read_lines
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_resources.artifacts import Artifact, ArtifactStore

DATASETS = "datasets"
LEAST_DIGITS = 6


class Row(NamedTuple):
    """One row: its input, its output as JSON text with sorted keys, its split ("" where it has none)."""

    input_text: str
    output: str
    split: str


@dataclass(frozen=True)
class Source:
    """Named rows that can be read again and again, one at a time. `version` is the artifact of a task's data, None for a file."""

    name: str
    rows: Callable[[], Iterator[Row]]
    version: "Artifact | None" = None


def find_source(named: str, store: "ArtifactStore") -> Source:
    """What `named` means: an existing file, else a task, else `task@digest` or a digest (its first digits are enough)."""
    path = Path(named)
    if path.is_file():
        return Source(named, lambda: file_rows(path))
    task, _, digits = named.partition("@")
    tasks = store.keys(DATASETS)
    if not digits and task in tasks:
        return _version(f"{task}@{(found := store.require(DATASETS, task, '')).digest[:12]}", found)
    wanted, within = (digits, [task]) if digits else (named, tasks)
    found_all = [v for name in within if name in tasks for v in store.versions(DATASETS, name) if v.digest.startswith(wanted)]
    # Two builds of equal content are one version.
    found_all = list({v.digest: v for v in found_all}.values()) if len(wanted) >= LEAST_DIGITS else []
    if len(found_all) != 1:
        what = f"{named!r} is no file, no task with data and no version" if not found_all else f"{named!r} begins {len(found_all)} versions"
        known = [v.digest[:12] for name in within if name in tasks for v in store.versions(DATASETS, name)]
        how = nearest(named, [*tasks, *known]) + f"; pp data versions TASK lists versions, {LEAST_DIGITS} digits tell one"
        raise UserError(what, where="data", how=how)
    return _version(f"{found_all[0].key}@{found_all[0].digest[:12]}", found_all[0])


def file_rows(path: Path) -> Iterator[Row]:
    """Rows of a JSONL file. A line that is no row is a UserError: what is compared must be whole (pp data clean sorts out the others)."""
    for number, raw in read_lines(path):
        if not raw.strip():
            continue
        try:
            value = parse_line(raw)
        except Fault as fault:
            raise UserError(fault.reason, where=f"{path}:{number}", how="pp data clean FILE puts such lines apart") from fault
        if not isinstance(value, dict) or not isinstance(value.get("input_text"), str):
            raise UserError("the line has no input_text", where=f"{path}:{number}", how="pp data collect makes rows of other columns")
        yield Row(value["input_text"], _sorted(value.get("output_json")), "")


def version_rows(folder: Path) -> Iterator[Row]:
    """Rows of a built data set, all splits. Labels of test rows are only counted by who asks, and no row of it is shown."""
    for batch in pq.ParquetFile(folder / "clean.parquet").iter_batches(columns=["input_text", "output_json", "split"]):
        for text, output, split in zip(*(batch.column(i).to_pylist() for i in range(3))):
            yield Row(text, _sorted(orjson.loads(output)), split)


def _version(name: str, found: "Artifact") -> Source:
    return Source(name, lambda: version_rows(found.path), found)


def _sorted(value: Any) -> str:
    value = orjson.loads(value) if isinstance(value, str) and value[:1] == "{" else value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
