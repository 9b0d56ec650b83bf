"""Rows kept away from a task, so that simulated customers know right answers that no model was trained or tested on.

Neither the training rows nor the test split will do for customers: what a model knows by heart says nothing, and what customers teach may
not come from held-out items. So a copy of the task is made whose data lacks some of the situations; those are `users.jsonl` beside it.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from pp_assets.data.generation.made import seed_of
from pp_assets.task.dataset import CLEAN, build_dataset
from pp_assets.task.examples import Example
from pp_assets.task.reader import LineChecker, Row
from pp_assets.task.spec import Task, load_task
from pp_resources.errors import UserError

FILE = "users.jsonl"


def hold_back(task: Task, tasks_dir: Path, *, share: float = 0.5, seed: int = 0) -> Task:
    """A copy of the task's folder under `tasks_dir`, without about `share` of its rows, which become `users.jsonl` in it.

    Whole groups go to one side: rows of one `source_id` and near-duplicates of them stay together. Rows that the task itself refuses
    are in neither file. Raises UserError where the task has given splits, or the copy exists.
    """
    folder = tasks_dir / task.name
    files = task.data_files()
    if len(files) != 1:
        raise UserError("the task's splits are given as files", where=str(task.file), how="hold rows back in a task with one data file")
    ((data, _),) = files
    if not data.resolve().is_relative_to(task.folder.resolve()):
        raise UserError("the task's data lies outside of its folder", where=str(task.file), how="copy it into the folder first")
    if folder.exists():
        raise UserError("is there already", where=str(folder), how="give an empty folder, or remove it")
    if not 0 < share < 1:
        raise UserError(f"{share} is no share", where="share", how="give a number between 0 and 1")
    known, held = _divided(task, data, share, seed)
    shutil.copytree(task.folder, folder, ignore=shutil.ignore_patterns("*.md"))
    (folder / task.spec.data).write_bytes(known)
    (folder / FILE).write_bytes(held)
    return load_task(task.name, tasks_dir)


def _divided(task: Task, data: Path, share: float, seed: int) -> tuple[bytes, bytes]:
    """The lines that the task keeps, and those held back."""
    import pyarrow.parquet as pq

    with TemporaryDirectory() as work:
        build_dataset(task, Path(work) / "data")
        rows = pq.read_table(Path(work) / "data" / CLEAN, columns=["line", "group"]).to_pylist()
    held = _chosen([row["group"] for row in rows], share, seed)
    lines = data.read_bytes().split(b"\n")
    parts: dict[bool, list[bytes]] = {False: [], True: []}
    for row in sorted(rows, key=lambda row: row["line"]):
        parts[row["group"] in held].append(lines[row["line"] - 1].strip() + b"\n")
    return b"".join(parts[False]), b"".join(parts[True])


def held_rows(task: Task) -> list[Example]:
    """The rows of `users.jsonl`, in the order of the file. Raises UserError where there are none, or for a bad line."""
    file = task.folder / FILE
    if not file.is_file():
        raise UserError(
            "no rows are held back", where=str(file), how="make a copy of the task with python -m examples.support_chat --hold-back FOLDER"
        )
    checker, made = LineChecker(task.spec), []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        row = checker.check(FILE, number, line, to_split=False)
        if not isinstance(row, Row):
            raise UserError(row.reason, where=f"{file}:{number}", how="correct the line or remove it")
        made.append(Example(row.item_id, row.input_text, orjson.loads(row.output_json), row.source_id, row.source_id or row.item_id))
    if not made:
        raise UserError("is empty", where=str(file), how="hold back a larger share of the rows")
    return made


def _chosen(groups: list[str], share: float, seed: int) -> set[str]:
    """Groups in an order drawn by seed, until they hold the share of the rows; never all."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    held: set[str] = set()
    count = 0
    for group in sorted(sizes, key=lambda name: seed_of(seed, "held back", name)):
        if count >= share * len(groups) or len(held) + 1 >= len(sizes):
            break
        held.add(group)
        count += sizes[group]
    return held
