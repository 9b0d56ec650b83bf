"""`pp data` on files: what a user types, what is shown, exit codes, one wrong input of each kind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pp_gateway.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("PP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["data", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_from_a_csv_to_balanced_rows(run: Run, tmp_path: Path) -> None:
    lines = [f"mail {i} to a{i}@b.co,{'x' if i % 3 else 'y'}" for i in range(30)]
    (tmp_path / "in.csv").write_text("body,label\n" + "\n".join(lines) + "\n")
    code, out, _ = run("collect", "in.csv", "--map", "input_text=body", "--map", "output_json.kind=label", "--to", "a.jsonl")
    assert code == 0 and "30 rows to a.jsonl" in out and "mapping: input_text=body" in out
    assert "remembered mapping" in run("collect", "in.csv", "--to", "a2.jsonl")[1]
    found = json.loads(run("clean", "a.jsonl", "--to", "b.jsonl", "--mask", "--json")[1])
    assert found["changes"] == {"email": 30} and json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0])["input_text"].endswith(
        "[EMAIL_1]"
    )
    assert "20 of 30 rows in 2 cells" in run("balance", "b.jsonl", "--by", "kind", "--cap", "10", "--to", "c.jsonl")[1]
    stats = json.loads(run("stats", "c.jsonl", "--json")[1])
    assert stats["rows"] == 20 and stats["fields"]["kind"]["x"]["share"] == 0.5 and stats["tokens"]["min"] > 3
    difference = json.loads(run("diff", "b.jsonl", "c.jsonl", "--json")[1])
    assert difference["removed"]["inputs"] == 10 and difference["label_shifts"][0]["change"] in (0.1667, -0.1667)
    code, out, _ = run("validate", "c.jsonl", "--task", "support-triage")
    assert code == 1 and "0 sound lines, 20 not" in out


def test_leaks_between_two_files_end_with_one(run: Run, tmp_path: Path) -> None:
    for name, texts in (
        ("train", ["Hi, where is my lost card?", "what else is there"]),
        ("test", ["where is my lost card", "nothing of the kind"]),
    ):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"input_text": t, "output_json": {}}) + "\n" for t in texts))
    code, out, _ = run("leaks", "train.jsonl", "test.jsonl", "--json")
    found = json.loads(out)
    assert code == 1 and [one["held_out"] for one in found["leaks"]] == ["where is my lost card"]
    assert run("leaks", "test.jsonl", "test.jsonl")[0] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["collect", "none.csv", "--to", "x"], "no such file"),
        (["collect", "ok.jsonl", "--map", "nonsense", "--to", "x"], "is no PART=COLUMN"),
        (["clean", "none.jsonl", "--to", "x"], "no such file"),
        (["balance", "ok.jsonl", "--by", "kidn", "--to", "x"], "no field 'kidn'; did you mean 'kind'?"),
        (["validate", "none.jsonl", "--task", "support-triage"], "no such file"),
        (["validate", "ok.jsonl", "--task", "suport-triage"], "did you mean 'support-triage'?"),
        (["stats", "none"], "is no file, no task with data and no version"),
        (["diff", "ok.jsonl", "bad.jsonl"], "bad.jsonl:1: invalid JSON"),
        (["labels", "none"], "unknown task 'none'"),
        (["versions", "none"], "unknown task 'none'"),
        (["leaks", "ok.jsonl"], "a file has no held-out rows of its own"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(run: Run, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "ok.jsonl").write_text('{"input_text": "a", "output_json": {"kind": "x"}}\n')
    (tmp_path / "bad.jsonl").write_text("{broken\n")
    code, out, err = run(*words)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1 and not out
    assert not (tmp_path / "x").exists()
