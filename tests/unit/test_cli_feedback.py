"""Feedback through the command line: stored once, checked against the task, read back."""

import json
from pathlib import Path

import pytest

from pp_gateway.cli import main

INPUT = "Where is my parcel? Order A-1042 was due on Monday."
OUTPUT = {"team": "delivery", "urgent": False, "order_id": "A-1042"}


@pytest.fixture(autouse=True)
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PP_TASKS", str(tmp_path / "tasks"))
    assert main(["task", "init", "demo"]) == 0
    capsys.readouterr()


def said(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_the_same_feedback_is_stored_once(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["feedback", "add", "demo", INPUT, "--output", json.dumps(OUTPUT), "--json"]
    assert main(command) == 0
    assert said(capsys) == {"task": "demo", "stored": 1, "known": 0, "entries": [{"seq": 1, "created": True}]}
    assert main(command) == 0
    assert said(capsys)["stored"] == 0
    assert main(["feedback", "list", "demo", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["kind"] == "demonstration" and entry["output"] == OUTPUT


def test_each_kind_of_feedback_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--bad", "--comment", "not [urgent]"], ["--rating", "0.25"], ["--comment", "words"]):
        assert main(["feedback", "add", "demo", INPUT, *given]) == 0
    capsys.readouterr()
    assert main(["feedback", "list", "demo"]) == 0
    shown = capsys.readouterr().out
    for part in ("boolean", "float", "comment", "0.25", "not [urgent]", "words"):
        assert part in shown
    assert main(["feedback", "list", "demo", "--after", "3"]) == 0
    assert capsys.readouterr().out == "no feedback on demo after 3\n"


def test_an_output_that_breaks_the_schema_is_refused_and_nothing_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", "add", "demo", INPUT, "--output", json.dumps(OUTPUT | {"team": "sales"})]) == 2
    assert "feedback for demo: output: $.team: 'sales' is not one of" in capsys.readouterr().err
    assert main(["feedback", "add", "demo", INPUT, "--output", json.dumps(OUTPUT | {"order_id": "A-9"})]) == 2
    assert "'A-9' does not occur in the input; copy it letter for letter" in capsys.readouterr().err
    assert main(["feedback", "list", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_an_id_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", "add", "demo", INPUT, "--good", "--id", "x1"]) == 0
    assert main(["feedback", "add", "demo", INPUT, "--bad", "--id", "x1"]) == 2
    assert "id 'x1' is taken by other feedback" in capsys.readouterr().err


def test_a_file_is_stored_line_by_line_and_may_be_sent_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "more.jsonl"
    rows = [
        {"input_text": INPUT, "output": OUTPUT},
        {"input_text": INPUT, "rating": True, "source": "shop"},
        {"input_text": "x", "comment": "odd"},
    ]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert main(["feedback", "add", "demo", "--file", str(file), "--json"]) == 0
    assert said(capsys)["stored"] == 3
    assert main(["feedback", "add", "demo", "--file", str(file)]) == 0
    assert capsys.readouterr().out == "demo: 0 stored, 3 known already\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"input_text": "x", "coment": "odd"}', ":2: unknown field 'coment'; did you mean 'comment'?"),
        ('{"input_text": "x", "rating": NaN}', ":2: not JSON: "),
        ("[1]", ":2: not an object with a text input_text"),
        ('{"input_text": 3}', ":2: not an object with a text input_text"),
        ('{"input_text": "x"}', ":2: feedback for demo: nothing to store"),
        ('{"input_text": "x", "output": {"team": "billing"}}', ":2: feedback for demo: output: $"),
    ],
)
def test_a_bad_line_of_a_file_is_named(line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps({"input_text": INPUT, "comment": "fine"}) + f"\n{line}\n")
    assert main(["feedback", "add", "demo", "--file", str(file)]) == 2
    assert message in capsys.readouterr().err
    assert main(["feedback", "add", "demo", "--file", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl: cannot be read" in capsys.readouterr().err
