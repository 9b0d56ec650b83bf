"""`pp queue` in a terminal and for scripts: the same work as on the page."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from queue_place import SAID, put, queue_place, texts

from pp_resources.store.read_feedback import feedback_on


@pytest.fixture
def home(tmp_path: Path) -> Path:
    queue_place(tmp_path, claim_minutes=5)
    (tmp_path / "home").rename(tmp_path / "pp")
    return tmp_path


@pytest.fixture
def store(home: Path):
    from pp_resources.store.opened import open_store

    return open_store(home / "pp")


def test_nothing_waits_where_nothing_was_handed_off(pp, home):
    assert pp("queue", "list", "toy", "--json").json["items"] == [] and "nothing waits" in pp("queue", "next", "toy").out
    assert not (home / "pp" / "store").exists() and pp("queue", "show", "toy", "i1").code == 2


def test_items_are_listed_taken_answered_and_taken_back(pp, store):
    for n, text in enumerate(texts(3)):
        put(store, n, json.dumps({**SAID, "order": f"A-{1000 + n}"}), text=text)
    told = pp("queue", "list", "toy")
    assert "i0" in told.out and "toy: 3 wait, 0 in work, 0 answered today" in told.out
    shown = pp("queue", "show", "toy", "i1")
    assert texts(2)[1] in shown.out and "unsure  category 0.410, urgent 0.550" in shown.out
    assert pp("queue", "next", "toy", "--by", "ann", "--json").json["item"]["id"] == "i0"
    assert pp("queue", "next", "toy", "--by", "bob", "--json").json["item"]["id"] == "i1"
    refused = pp("queue", "answer", "toy", "i0", "--right", "--by", "bob")
    assert refused.code == 2 and "is claimed by ann until" in refused.err
    assert pp("queue", "answer", "toy", "i0", "--right", "--by", "ann", "--json").json["agrees"] is True
    (said,) = feedback_on(store, "i0")
    assert said.kind == "demonstration" and json.loads(said.output)["order"] == "A-1000" and said.source == "queue:ann"
    wrong = pp("queue", "answer", "toy", "i1", "--output", '{"category": "gift"}', "--by", "bob")
    assert wrong.code == 2 and "nothing was stored" in wrong.err and not feedback_on(store, "i1")
    assert pp("queue", "release", "toy", "i1", "--by", "bob").out == "toy: i1 is open\n"
    assert pp("queue", "skip", "toy", "i1", "--by", "cy").out == "toy: i1 is dismissed\n"
    assert "i0 is claimed until" in pp("queue", "undo", "toy", "i0", "--by", "ann").out and not feedback_on(store, "i0")
    assert pp("queue", "undo", "toy", "i0", "--by", "ann").code == 2
    assert "i2 is claimed until" in pp("queue", "claim", "toy", "i2", "--by", "ann").out
    assert [one["id"] for one in pp("queue", "list", "toy", "--state", "claimed", "--json").json["items"]] == ["i0", "i2"]


def test_one_key_an_item_in_a_terminal(pp, store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for n, text in enumerate(texts(5)):
        put(store, n, "no json" if n == 1 else json.dumps({**SAID, "order": None}), text=text)
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\ncat > $1 <<'E'\n{json.dumps({**SAID, 'order': None, 'urgent': True})}\nE\n")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    # The second answer is no JSON: it cannot be right, and is edited. The third is skipped, that is undone, and skipped again.
    keys = iter("aaesusgq")
    monkeypatch.setattr("typer.getchar", lambda: next(keys))
    monkeypatch.setattr("pp_gateway.cli.queue.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    told = pp("queue", "next", "toy", "--by", "ann")
    assert told.code == 0, told.err
    assert "what the model said is no JSON" in told.out
    found = {
        one["id"]: one
        for state in ("answered", "dismissed")
        for one in pp("queue", "list", "toy", "--state", state, "--json").json["items"]
    }
    assert {id: one["state"] for id, one in found.items()} == {"i0": "answered", "i1": "answered", "i2": "dismissed"}
    assert found["i0"]["agrees"] is True and found["i1"]["agrees"] is False and found["i1"]["answer"]["urgent"] is True
    assert not pp("queue", "list", "toy", "--state", "claimed", "--json").json["items"], "what was held is given back"


@pytest.mark.parametrize(
    "args",
    [
        ("list", "toy", "--state", "lost"),
        ("answer", "toy", "i1"),
        ("answer", "toy", "i1", "--right", "--output", "{}"),
        ("show", "tyo", "i1"),
    ],
)
def test_what_cannot_be_done_is_one_line(pp, args):
    assert pp("queue", *args).code == 2


def test_an_item_of_another_task_is_not_touched(pp, store, home):
    put(store, 1, "{}")
    other = home / "tasks" / "other"
    (home / "tasks" / "toy").rename(other)
    file = other / "task.json"
    file.write_text(file.read_text().replace('"toy"', '"other"'))
    refused = pp("queue", "skip", "other", "i1")
    assert refused.code == 2 and "is an item of toy" in refused.err
