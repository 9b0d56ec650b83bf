"""Rows from the files that people have."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pp_assets.data.collect import MEMORY, collect
from pp_resources.errors import UserError

ROWS = [{"ticket": f"t{i}", "body": f"text {i}, with a comma", "label": "a" if i % 2 else "b"} for i in range(50)]
MAPPING = {"input_text": "body", "output_json.category": "label", "source_id": "ticket"}
WANTED = [{"input_text": r["body"], "output_json": {"category": r["label"]}, "source_id": r["ticket"]} for r in ROWS]


def source(folder: Path, kind: str) -> Path:
    path = folder / f"data.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    elif kind == "csv":
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        from datasets import Dataset

        Dataset.from_list(ROWS).save_to_disk(str(path))
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder"])
def test_every_kind_of_source_gives_the_same_rows_and_its_mapping_is_remembered(tmp_path: Path, kind: str) -> None:
    found = source(tmp_path, kind)
    with pytest.raises(UserError, match="no column is the input text"):
        collect(found, tmp_path / "out.jsonl")
    done = collect(found, tmp_path / "out.jsonl", MAPPING)
    assert lines(tmp_path / "out.jsonl") == WANTED and done.rows == 50 and not done.remembered
    again = collect(found, tmp_path / "again.jsonl")
    assert again.remembered and again.mapping == MAPPING and lines(tmp_path / "again.jsonl") == WANTED
    assert (tmp_path / MEMORY).exists()


def test_transcripts_give_the_last_answered_question(tmp_path: Path) -> None:
    def chat(*said: tuple[str, str], **more: str) -> dict:
        return {"messages": [{"role": role, "content": text} for role, text in said], **more}

    path = tmp_path / "chat.jsonl"
    good = chat(("system", "s"), ("user", "one"), ("assistant", "{}"), ("user", "two"), ("assistant", '{"a": 1}'), id="c1")
    bad = [chat(("user", "nobody answers"), id="c2"), chat(("user", "x"), ("assistant", "no json"), id="c3")]
    path.write_text("".join(json.dumps(r) + "\n" for r in (good, *bad)))
    done = collect(path, tmp_path / "out.jsonl")
    assert lines(tmp_path / "out.jsonl") == [{"input_text": "two", "output_json": {"a": 1}, "source_id": "c1"}]
    assert dict(done.rejected) == {"missing_field": 1, "invalid_json": 1}
    assert [row["line"] for row in lines(Path(done.quarantine))] == [2, 3]


def test_bad_rows_are_kept_apart_with_place_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("body,label\nfine,a\n,b\ntoo,many,cells\n")
    done = collect(path, tmp_path / "out.jsonl", {"input_text": "body", "output_json.category": "label"})
    assert done.rows == 1
    assert [(row["line"], row["reason"]) for row in lines(Path(done.quarantine))] == [
        (3, "column 'body' holds no text"),
        (4, "3 cells, the head has 2"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "mapping", "message"),
    [
        ("none.jsonl", None, None, "no such file or folder"),
        ("d.xlsx", b"x", None, "unknown kind of file '.xlsx'"),
        ("d.parquet", b"not parquet", None, "cannot be read as parquet"),
        ("d.jsonl", b"", None, "no row can be read"),
        ("d.jsonl", b"{broken\n", None, "no row can be read; row 1: invalid JSON"),
        ("d.jsonl", b'{"body": "x"}\n', {"input_text": "bodi"}, "no column 'bodi'; did you mean 'body'"),
        ("d.jsonl", b'{"body": "x"}\n', {"inputtext": "body"}, "unknown part of a row 'inputtext'; did you mean 'input_text'"),
        ("d.jsonl", b'{"body": ""}\n', {"input_text": "body"}, "no row is sound; row 1: column 'body' holds no text"),
        ("d.csv", b"body\n\xff\xfe\n", None, "cannot be read as csv"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line_and_leaves_nothing(tmp_path: Path, name, content, mapping, message) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        collect(path, tmp_path / "out" / "out.jsonl", mapping)
    assert message in str(error.value).replace(str(path), "").replace(": ; ", "; ")
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_folder_that_holds_no_data_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="save_to_disk"):
        collect(tmp_path, tmp_path / "out.jsonl")
