"""Data sets: nothing is lost, nothing leaks, the order of lines does not matter, opening the test split is counted."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pp_assets.task.dataset import (
    Example,
    build_dataset,
    count_test_openings,
    dataset_inputs,
    iter_split,
    open_test_split,
    read_split,
)
from pp_assets.task.spec import Task, load_task
from pp_resources.artifacts import ArtifactStore
from pp_resources.errors import UserError

OUTPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["team"],
    "properties": {"team": {"type": "string", "enum": ["a", "b", "c"]}, "order": {"type": ["string", "null"], "x-verbatim": True}},
}
Row = dict[str, Any]


def make_task(folder: Path, files: dict[str, list[Row] | bytes], **fields: Any) -> Task:
    spec = {"version": 1, "name": "demo", "instruction_template": "{{ input_text }}", "io_schema": {"output": OUTPUT}, **fields}
    (folder / "demo").mkdir(parents=True, exist_ok=True)
    (folder / "demo" / "task.json").write_text(json.dumps(spec))
    for name, rows in files.items():
        data = rows if isinstance(rows, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        (folder / "demo" / name).write_bytes(data)
    return load_task("demo", folder)


def build(task: Task, out: Path, extra: list[Row] | None = None) -> tuple[dict[str, Any], list[Row]]:
    out.mkdir()
    metadata = build_dataset(task, out, extra or [])
    return metadata, pq.read_table(out / "clean.parquet").to_pylist()


def rows(count: int, seed: int = 0) -> list[Row]:
    pick = random.Random(seed)
    words = ["".join(pick.choices("abcdefghijklmnop", k=pick.randint(3, 9))) for _ in range(900)]
    return [{"input_text": " ".join(pick.choices(words, k=12)), "output_json": {"team": pick.choice("abc")}} for _ in range(count)]


def quarantine(out: Path) -> list[Row]:
    return [json.loads(line) for line in (out / "quarantine.jsonl").read_text("utf-8").splitlines()]


def side(clean: list[Row], key: str = "input_text") -> dict[str, str]:
    return {row[key]: row["split"] for row in clean}


def test_every_line_is_kept_or_in_quarantine(tmp_path: Path) -> None:
    good = rows(100)
    lines = [json.dumps(row).encode() for row in good]
    lines.insert(3, b"not json")
    lines.insert(10, b"")
    lines.insert(20, lines[0])
    lines.insert(50, json.dumps({"input_text": "x", "output_json": {"team": "z"}}).encode())
    lines.append(b"\xff\xfe")
    task = make_task(tmp_path, {"data.jsonl": b"\n".join(lines)})
    metadata, clean = build(task, tmp_path / "out")
    assert (metadata["read"], metadata["blank"], metadata["kept"], metadata["quarantined"]) == (105, 1, 100, 4)
    assert {row["line"] for row in clean} | {row["line"] for row in quarantine(tmp_path / "out")} == set(range(1, 106)) - {11}
    assert metadata["quarantine"] == {"invalid_json": 1, "schema": 1, "encoding": 1, "duplicate": 1}
    duplicate = quarantine(tmp_path / "out")[-1]
    assert duplicate["line"] == 21 and duplicate["reason"] == "same input and output as data.jsonl:1"
    columns = ["item_id", "input_text", "output_json", "source_id", "meta", "negative_examples", "file", "line", "split", "group"]
    assert list(clean[0]) == columns
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clean.parquet", "quarantine.jsonl", "report.json", "splits.json"]


def test_the_manifest_names_every_item_of_every_split(tmp_path: Path) -> None:
    metadata, clean = build(make_task(tmp_path, {"data.jsonl": rows(80)}), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "splits.json").read_text())
    for split in ("train", "val", "test"):
        assert manifest["splits"][split] == sorted(row["item_id"] for row in clean if row["split"] == split)
        assert manifest["counts"][split] == metadata[split] > 0
    assert manifest["sha256"] == metadata["splits_sha256"]


def test_equal_data_gives_equal_bytes_and_another_order_the_same_splits(tmp_path: Path) -> None:
    data = rows(150)
    data += [row | {"input_text": row["input_text"] + "!"} for row in data[:30]]
    for i, row in enumerate(data):
        row["source_id"] = f"s{i % 70}"
    task = make_task(tmp_path, {"data.jsonl": data})
    _, first = build(task, tmp_path / "one")
    build(task, tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    random.Random(1).shuffle(data)
    _, again = build(make_task(tmp_path, {"data.jsonl": data}), tmp_path / "three")
    assert {r["item_id"]: (r["split"], r["group"]) for r in first} == {r["item_id"]: (r["split"], r["group"]) for r in again}
    assert (tmp_path / "one" / "splits.json").read_bytes() == (tmp_path / "three" / "splits.json").read_bytes()


SPLITS = [{"strategy": "random"}, {"strategy": "stratified"}, {"strategy": "group"}, {"strategy": "time", "time_field": "t"}]


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split["strategy"])
def test_near_duplicates_and_sources_stay_on_one_side(tmp_path: Path, split: Row) -> None:
    data = rows(200)
    for i, row in enumerate(data):
        row |= {"source_id": f"s{i // 2}", "meta": {"t": i}}
    near = [row | {"input_text": row["input_text"].upper() + " ok", "source_id": f"n{i}"} for i, row in enumerate(data[:60])]
    metadata, clean = build(make_task(tmp_path, {"data.jsonl": data + near}, eval_split=split), tmp_path / "out")
    where = side(clean)
    assert all(where[row["input_text"]] == where[old["input_text"]] for row, old in zip(near, data))
    assert all(len({row["split"] for row in clean if row["source_id"] == f"s{n}"}) == 1 for n in range(100))
    assert all(count == 0 for kinds in metadata["leakage"].values() for count in kinds.values())
    assert metadata["near_duplicate_rows"] == 120 and abs(metadata["test"] - 52) <= 6


def test_exact_duplicates_join_the_sources_of_both_lines(tmp_path: Path) -> None:
    data = rows(60)
    data[0]["source_id"] = data[1]["source_id"] = "left"
    data[2]["source_id"] = "right"
    data.append(data[0] | {"source_id": "right"})
    _, clean = build(make_task(tmp_path, {"data.jsonl": data}), tmp_path / "out")
    assert len({row["group"] for row in clean[:3]}) == 1 and len({row["split"] for row in clean[:3]}) == 1


def test_contradictions_and_classes_are_reported(tmp_path: Path) -> None:
    data = rows(60)
    data += [{"input_text": data[0]["input_text"].upper(), "output_json": {"team": team}} for team in "abc"]
    metadata, clean = build(make_task(tmp_path, {"data.jsonl": data}), tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert metadata["contradictions"] == 1 and metadata["kept"] == 63
    found = report["contradictions"]["first"][0]
    assert found["places"] == ["data.jsonl:1", "data.jsonl:61", "data.jsonl:62", "data.jsonl:63"]
    assert found["outputs"] == [f'{{"team":"{team}","order":null}}' for team in "abc"]
    for team in "abc":
        counts = report["classes"]["team"][team]
        assert counts == {s: sum(r["split"] == s and f'"{team}"' in r["output_json"] for r in clean) for s in ("train", "val", "test")}
    assert any("contradicting outputs (4 rows)" in warning for warning in metadata["warnings"])


def given(train: list[Row], test: list[Row], val: list[Row] | None = None) -> tuple[dict[str, Any], Row]:
    files = {"train": "train.jsonl", "test": "test.jsonl"} | ({"val": "val.jsonl"} if val is not None else {})
    data = {"train.jsonl": train, "test.jsonl": test} | ({"val.jsonl": val} if val is not None else {})
    return data, {"strategy": "files", "files": files}


def test_given_splits_are_kept_as_they_are_and_leakage_is_reported(tmp_path: Path) -> None:
    train, test, val = rows(80), rows(40, seed=1), rows(20, seed=2)
    leaked = [train[0], train[1] | {"input_text": train[1]["input_text"] + "!"}, test[0]]
    data, split = given(train, test + leaked, val)
    metadata, clean = build(make_task(tmp_path, data, eval_split=split), tmp_path / "out")
    assert (metadata["train"], metadata["val"], metadata["test"], metadata["quarantined"]) == (80, 20, 43, 0)
    assert metadata["leakage"]["train/test"] == {"same_input": 1, "near_duplicate": 1, "source_id": 0}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    by_text = {row["input_text"]: row["item_id"] for row in clean if row["split"] == "train"}
    assert report["leakage"]["train/test"]["same_input"]["item_ids"] == [by_text[train[0]["input_text"]]]
    assert any("leakage: rows of train that are also in test: 1 same_input, 1 near_duplicate" in w for w in metadata["warnings"])
    test_ids = [row["item_id"] for row in clean if row["split"] == "test"]
    assert len(set(test_ids)) == 43 and report["exact_duplicates"] == {"removed": 0, "kept_in_given_splits": 1}


def test_val_is_carved_from_train_by_groups_when_it_is_not_given(tmp_path: Path) -> None:
    train = [row | {"source_id": f"s{i // 4}"} for i, row in enumerate(rows(160))]
    data, split = given(train, rows(40, seed=1))
    metadata, clean = build(make_task(tmp_path, data, eval_split=split), tmp_path / "out")
    assert metadata["train"] + metadata["val"] == 160 and metadata["val"] == 20 and metadata["test"] == 40
    assert all(len({row["split"] for row in clean if row["source_id"] == f"s{n}"}) == 1 for n in range(40))


def test_extra_rows_join_train_and_never_touch_evaluation(tmp_path: Path) -> None:
    data = rows(120)
    task = make_task(tmp_path, {"data.jsonl": data})
    _, before = build(task, tmp_path / "before")
    by_side = {split: [row["input_text"] for row in before if row["split"] == split] for split in ("train", "val", "test")}
    extra = [
        {"input_text": "something quite new from the users", "output_json": {"team": "a"}, "source_id": "f1"},
        {"input_text": by_side["train"][0] + " indeed", "output_json": {"team": "a"}},
        {"input_text": by_side["test"][0] + " indeed", "output_json": {"team": "a"}},
        {"input_text": "another new one of the same user", "output_json": {"team": "b"}, "source_id": "f1"},
        {"input_text": "bad", "output_json": {"team": "z"}},
        data[5],
    ]
    metadata, after = build(task, tmp_path / "after", extra)
    was, now = ({r["item_id"]: (r["split"], r["group"]) for r in clean} for clean in (before, after))
    assert was.items() <= now.items()
    added = [row for row in after if row["file"] == "extra"]
    assert [(row["line"], row["split"]) for row in added] == [(1, "train"), (2, "train"), (4, "train")]
    assert added[0]["group"] == added[2]["group"]
    assert added[1]["group"] == next(row["group"] for row in before if row["input_text"] == by_side["train"][0])
    codes = {(row["line"], row["code"]) for row in quarantine(tmp_path / "after")}
    assert codes == {(3, "evaluation_overlap"), (5, "schema"), (6, "duplicate")}
    assert metadata["quarantined"] == 3


def test_data_that_cannot_be_used_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task\.json: data: no such file: .*data\.jsonl; did you mean 'dta\.jsonl'\?"):
        build(make_task(tmp_path / "1", {"dta.jsonl": []}), tmp_path / "a")
    with pytest.raises(UserError, match=r"no valid row in data\.jsonl \(1 lines read\); data\.jsonl:1: invalid JSON"):
        build(make_task(tmp_path / "2", {"data.jsonl": b"{"}), tmp_path / "b")
    with pytest.raises(UserError, match=r"only 1 independent group"):
        build(make_task(tmp_path / "3", {"data.jsonl": [row | {"source_id": "s"} for row in rows(9)]}), tmp_path / "c")
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["quarantine.jsonl"]


def test_examples_are_read_by_split_and_in_batches(tmp_path: Path) -> None:
    data = [row | {"meta": {"n": i}, "source_id": f"s{i}"} for i, row in enumerate(rows(60))]
    metadata, clean = build(make_task(tmp_path, {"data.jsonl": data}), tmp_path / "out")
    train = read_split(tmp_path / "out", "train")
    wanted = [row for row in clean if row["split"] == "train"]
    assert len(train) == metadata["train"] and isinstance(train[0], Example)
    assert [(e.item_id, e.input_text, e.source_id, e.group) for e in train] == [
        (row["item_id"], row["input_text"], row["source_id"], row["group"]) for row in wanted
    ]
    assert list(train[0].output) == ["team", "order"] and data[train[0].meta["n"]]["input_text"] == train[0].input_text
    batches = list(iter_split(tmp_path / "out", "train", batch_size=10))
    assert max(map(len, batches)) <= 10 and [e for batch in batches for e in batch] == train
    with pytest.raises(UserError, match="unknown split 'valid'; did you mean 'val'"):
        read_split(tmp_path / "out", "valid")
    with pytest.raises(UserError, match="no data set here"):
        read_split(tmp_path / "nowhere", "train")


def test_opening_the_test_split_is_counted(tmp_path: Path) -> None:
    metadata, _ = build(make_task(tmp_path, {"data.jsonl": rows(60)}), tmp_path / "out")
    ledger = tmp_path / "ledger" / "test_openings.jsonl"
    with pytest.raises(UserError, match="the test split is not read here; use open_test_split, which counts each opening"):
        read_split(tmp_path / "out", "test")
    assert count_test_openings(ledger, "demo") == 0
    assert len(open_test_split(tmp_path / "out", ledger, "demo", "evaluate lora-r8")) == metadata["test"]
    with ledger.open("a") as torn:
        torn.write('{"task": "de')
    open_test_split(tmp_path / "out", ledger, "demo", "evaluate encoder-lora")
    open_test_split(tmp_path / "out", ledger, "other", "look")
    assert count_test_openings(ledger, "demo") == 2 and count_test_openings(ledger, "other") == 1
    assert json.loads(ledger.read_text().splitlines()[0])["reason"] == "evaluate lora-r8"


def test_a_use_of_the_test_split_that_goes_on_after_a_kill_is_counted_once(tmp_path: Path) -> None:
    build(make_task(tmp_path, {"data.jsonl": rows(60)}), tmp_path / "out")
    ledger = tmp_path / "test_openings.jsonl"
    for use in ("search-1", "search-1", "search-2", "search-1", "", ""):
        assert open_test_split(tmp_path / "out", ledger, "demo", "test of a searched prompt", use)
    assert count_test_openings(ledger, "demo") == 4, "two searches, and two looks without a name"
    open_test_split(tmp_path / "out", ledger, "other", "test of a searched prompt", "search-1")
    assert count_test_openings(ledger, "other") == 1


def test_a_data_set_is_built_again_only_when_something_that_matters_changed(tmp_path: Path) -> None:
    store, files = ArtifactStore(tmp_path / "store"), {"data.jsonl": rows(60)}

    def produce(task: Task) -> Any:
        return store.produce("datasets", task.name, dataset_inputs(task), lambda out: build_dataset(task, out))

    first = produce(make_task(tmp_path, files))
    assert not first.reused and first.metadata["kept"] == 60
    assert produce(make_task(tmp_path, files, description="other words", gates=[])).reused
    assert produce(make_task(tmp_path, files, eval_split={"seed": 1})).stale_because == ("spec",)
    assert produce(make_task(tmp_path, {"data.jsonl": rows(61)}, eval_split={"seed": 1})).stale_because == ("data.all",)
