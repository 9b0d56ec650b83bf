"""Statistics, differences, balance and validation of rows in files and in versions of a task's data."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pp_assets.data.balance import balance, validate
from pp_assets.data.sources import find_source
from pp_assets.data.statistics import describe, diff, draw, quantiles
from pp_assets.task.spec import parse_spec
from pp_resources.artifacts import ArtifactStore
from pp_resources.errors import UserError


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text(
        "".join(json.dumps({"input_text": text, "output_json": {"kind": kind, "deep": {"n": 1}}}) + "\n" for text, kind in rows)
    )
    return path


ROWS = [(f"text number {i}", "a" if i % 5 else "b") for i in range(20)]


def test_what_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [*ROWS, ("Text  NUMBER 1", "a"), ("text number 2", "c")])
    found = describe(find_source(str(path), ArtifactStore(tmp_path)).rows(), lambda texts: [len(text) for text in texts])
    assert found["rows"] == 22 and found["duplicates"] == {"same_input": 2, "same_input_and_output": 1, "contradictions": 1}
    assert found["fields"]["kind"]["a"] == {"n": 17, "share": round(17 / 22, 4)} and found["fields"]["deep.n"] == {
        "1": {"n": 22, "share": 1.0}
    }
    assert found["tokens"] == found["chars"] and found["words"]["max"] == 3
    assert describe([])["chars"] is None and quantiles([3]) == {"min": 3, "p50": 3, "mean": 3.0, "p95": 3, "max": 3}
    draw(tmp_path / "a.png", found)
    draw(tmp_path / "b.png", found)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_difference_names_what_came_went_and_changed(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    old = write(tmp_path / "a.jsonl", ROWS)
    new = write(tmp_path / "b.jsonl", [("text number 0", "a"), *ROWS[1:18], ("something new", "c")])
    found = diff(find_source(str(old), store), find_source(str(new), store))
    assert found["added"] == {"inputs": 1, "first": ["something new"]} and found["removed"]["inputs"] == 2 and not found["same"]
    assert found["changed_output"] == {"inputs": 1, "first": ["text number 0"]}
    assert {"field": "kind", "value": "c", "a": 0.0, "b": 0.0526, "change": 0.0526} in found["label_shifts"]
    same = diff(find_source(str(old), store), find_source(str(write(tmp_path / "c.jsonl", ROWS[::-1])), store))
    assert same["same"] and same["label_shifts"] == []


def test_versions_are_found_by_digest_and_moves_between_splits_are_told(tmp_path: Path) -> None:
    from pp_assets.task.dataset import build_dataset
    from pp_assets.task.spec import Task

    store, made = ArtifactStore(tmp_path / "home"), []
    for seed in (0, 1):
        (tmp_path / "t").mkdir(exist_ok=True)
        write(tmp_path / "t" / "data.jsonl", [(f"{word} is a word by itself, {word}", "a") for word in dir(str)])
        output = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "deep": {"type": "object"}}}
        raw = {"name": "t", "instruction_template": "{{ input_text }}", "io_schema": {"output": output}, "eval_split": {"seed": seed}}
        task = Task(parse_spec(raw, "here"), tmp_path / "t", "", tmp_path / "t" / "task.yaml")
        made.append(store.produce("datasets", "t", {"seed": str(seed)}, lambda out, task=task: build_dataset(task, out)))
    found = diff(find_source(made[0].digest[:8], store), find_source("t", store))
    assert found["moved_split"]["inputs"] > 0 and found["added"]["inputs"] == found["removed"]["inputs"] == 0
    assert set(found["moved_split"]["by_move"]) <= {f"{a} -> {b}" for a in ("train", "val", "test") for b in ("train", "val", "test")}
    assert find_source(f"t@{made[0].digest[:8]}", store).version.digest == made[0].digest
    with pytest.raises(UserError, match="no file, no task"):
        find_source("tt", store)


def test_balance_caps_by_content_and_weights_have_a_mean_of_one(tmp_path: Path) -> None:
    source = write(tmp_path / "d.jsonl", ROWS)
    found = balance(source, tmp_path / "out.jsonl", ["kind"], cap=4)
    kept = (tmp_path / "out.jsonl").read_text().splitlines()
    assert found["kept"] == 8 and Counter(json.loads(line)["output_json"]["kind"] for line in kept) == {"a": 4, "b": 4}
    balance(write(tmp_path / "r.jsonl", ROWS[::-1]), tmp_path / "again.jsonl", ["kind"], cap=4)
    assert sorted((tmp_path / "again.jsonl").read_text().splitlines()) == sorted(kept)
    balance(source, tmp_path / "w.jsonl", ["kind", "deep.n"])
    weights = [(r["output_json"]["kind"], r["meta"]["weight"]) for r in map(json.loads, (tmp_path / "w.jsonl").read_text().splitlines())]
    assert sum(w for _, w in weights) == pytest.approx(20) and sum(w for k, w in weights if k == "a") == pytest.approx(10)
    for options, message in (({"by": ["knd"]}, "no field 'knd'"), ({"by": ["kind"], "cap": 0}, "leaves nothing")):
        with pytest.raises(UserError, match=message):
            balance(source, tmp_path / "x.jsonl", **options)
    assert not (tmp_path / "x.jsonl").exists()


def test_validation_names_the_lines_that_are_not_sound(tmp_path: Path) -> None:
    from pp_assets.task.spec import Task

    raw = {
        "name": "t",
        "instruction_template": "{{ input_text }}",
        "io_schema": {"output": {"type": "object", "properties": {"kind": {"enum": ["a"]}}}},
    }
    task = Task(parse_spec(raw, "here"), tmp_path, "", tmp_path / "task.yaml")
    found = validate(task, write(tmp_path / "d.jsonl", ROWS[:6]))
    assert (found["sound"], found["rejected"], [one["line"] for one in found["first"]]) == (4, 2, [1, 6])
    with pytest.raises(UserError, match="no such file"):
        validate(task, tmp_path / "none")
