"""`pp dicl` on a small task: examples grow from its rows and from feedback, and people have the last word."""

import json
from pathlib import Path

import pytest
from command_line import command_line
from small_task import write_task

from pp_assets.pipeline import Pipeline
from pp_resources.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("installation")
    write_task(root / "tasks", "alpha")
    p = Pipeline(Settings(root / "pp", root / "tasks", 1))
    for stage in (p.seeds, p.contract, p.generated_data, p.clusters, p.evaluated_inputs):
        stage("alpha")
    return root


def test_examples_grow_are_browsed_taken_out_put_back_and_rolled_back(pp, home):
    said = pp("dicl", "grow", "alpha", "--json")
    assert said.code == 0, said.err
    first = said.json
    assert first["active"] == first["added"] > 5 and first["active"] + first["refused"] == first["candidates"]
    again = pp("dicl", "grow", "alpha")
    assert "0 new, 0 back, 0 taken out, 0 refused" in again.out and f"{first['active']} of rows" in again.out
    listed = pp("dicl", "list", "alpha", "--limit", "2", "--json").json
    assert listed["examples"] == first["active"] and len(listed["shown"]) == 2
    (one, other) = listed["shown"]
    assert isinstance(one["output"], dict) and one["origin"] == "row" and one["reason"] == "passed the gate"
    assert pp("dicl", "remove", "alpha", one["id"][:12], "--reason", "odd").out == "alpha: 1 of 1 examples taken out\n"
    assert pp("dicl", "grow", "alpha", "--json").json["back"] == 0
    shown = pp("dicl", "show", "alpha", one["id"], "--json").json
    assert [change["state"] for change in shown["history"]] == ["active", "removed"] and shown["reason"] == "odd"
    text = pp("dicl", "show", "alpha", one["id"]).out
    assert one["input"] in text and "odd" in text and "growth" in text
    assert pp("dicl", "restore", "alpha", one["id"], "--json").json["changed"] == [one["id"]]
    assert "2 examples" not in pp("dicl", "rollback", "alpha", "--to", "2020-01-01").out
    assert pp("dicl", "list", "alpha").out == "no active examples of alpha\n"
    back = pp("dicl", "rollback", "alpha", "--to", "2999-01-01", "--json").json
    assert back["taken_out"] == 0
    assert other["id"][:8] in pp("dicl", "list", "alpha", "--state", "all").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "alpha", "--state", "activ"), "unknown state 'activ'; did you mean 'active'?"),
        (("show", "alpha", "nope"), "there is no example 'nope'"),
        (("remove", "alpha", ""), "there is no example ''"),
        (("rollback", "alpha", "--to", "soon"), "--to: 'soon' is no time"),
        (("grow", "alhpa"), "unknown task 'alhpa'"),
    ],
)
def test_wrong_input_is_told_in_one_line(pp, words, message):
    said = pp("dicl", *words)
    assert said.code == 2 and message in said.err and not said.out


def test_without_a_store_there_is_nothing_and_nothing_is_made(home, capfd, tmp_path):
    (tmp_path / "tasks").symlink_to(home / "tasks")
    pp = command_line(tmp_path, capfd)
    assert json.loads(pp("dicl", "list", "alpha", "--json").out)["examples"] == 0
    assert not (tmp_path / "pp" / "store").exists()
