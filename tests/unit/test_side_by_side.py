"""Two commands at once: results in the order asked for, and the first failure with its code and its JSON."""

import json
from pathlib import Path

import pytest
import typer

from pp_gateway.cli.output import Output
from pp_gateway.cli.side_by_side import side_by_side


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PP_HOME", str(tmp_path / "pp"))
    monkeypatch.setenv("PP_TASKS", str(tmp_path / "tasks"))
    return tmp_path / "tasks"


def test_results_come_in_the_order_of_the_commands(tasks: Path) -> None:
    found = side_by_side([["task", "init", "one", "--json"], ["task", "init", "two", "--json"]], 1, Output(True))
    assert [Path(made["folder"]).name for made in found] == ["one", "two"]
    assert (tasks / "one" / "task.yaml").is_file() and (tasks / "two" / "task.yaml").is_file()


def test_a_failure_ends_with_its_exit_code_and_its_json_after_the_others_are_done(tasks: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        side_by_side([["task", "check", "nowhere", "--json"], ["task", "init", "two", "--json"]], 1, Output(True))
    said = capfd.readouterr()
    assert ended.value.exit_code == 2 and "nowhere" in json.loads(said.out)["error"]["what"] + json.loads(said.out)["error"]["where"]
    assert "pp: " in said.err and (tasks / "two" / "task.yaml").is_file()
