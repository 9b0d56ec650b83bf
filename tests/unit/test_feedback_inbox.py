"""The inbox: durable, idempotent, checked against the task's schema."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pp_assets.feedback.inbox import Inbox, as_rows
from pp_assets.task.dataset import build_dataset
from pp_assets.task.examples import open_test_split, read_split
from pp_assets.task.spec import Task, load_task
from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT

TASK = """
version: 1
name: tickets
instruction_template: "{{ schema }} {{ input_text }}"
io_schema:
  output:
    type: object
    additionalProperties: false
    required: [kind, order]
    properties:
      kind: {enum: [billing, delivery]}
      order: {type: [string, "null"], x-verbatim: true}
"""


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "tasks" / "tickets"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(TASK)
    lines = [
        f'{{"input_text": "parcel number {i} of {i * 7} is late", "output_json": {{"kind": "delivery", "order": null}}}}' for i in range(40)
    ]
    (folder / "data.jsonl").write_text("\n".join(lines))
    return load_task("tickets", tmp_path / "tasks")


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "home" / "inbox.db")


GOOD = {"kind": "billing", "order": None}


def test_the_same_feedback_is_counted_once(task: Task, inbox: Inbox) -> None:
    first = inbox.add(task, "charge me once", output=GOOD)
    assert first.created and inbox.add(task, "charge me once", output=GOOD) == (first.seq, False)
    assert inbox.add(task, "charge me once", output=GOOD, id="mine") == (first.seq + 1, True)
    assert len(inbox.entries("tickets")) == 2


def test_an_id_that_is_taken_by_other_feedback_is_refused(task: Task, inbox: Inbox) -> None:
    inbox.add(task, "a text", rating=True, id="k1")
    with pytest.raises(UserError, match="id 'k1' is taken by other feedback"):
        inbox.add(task, "a text", rating=False, id="k1")


def test_the_kind_follows_from_what_is_given(task: Task, inbox: Inbox) -> None:
    inbox.add(task, "t1", output=GOOD, comment="was wrong")
    inbox.add(task, "t2", rating=True)
    inbox.add(task, "t3", rating=0.25)
    inbox.add(task, "t4", comment="odd")
    assert [(e.kind, e.rating, e.comment) for e in inbox.entries("tickets")] == [
        ("demonstration", None, "was wrong"),
        ("boolean", 1.0, None),
        ("float", 0.25, None),
        ("comment", None, "odd"),
    ]


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("where", {"output": {"kind": "sales", "order": None}}, r"output: \$\.kind: 'sales' is not one of"),
        ("where", {"output": {"kind": "billing"}}, None),
        ("where", {"output": {"kind": "billing", "order": "A-1"}}, "'A-1' does not occur in the input"),
        ("where", {}, "nothing to store; give an output, a rating or a comment"),
        ("  ", {"rating": True}, "the input is empty"),
        ("x" * 20001, {"rating": True}, "the input has 20001 characters"),
    ],
)
def test_what_cannot_be_stored_is_an_error_that_says_why(task: Task, inbox: Inbox, text: str, given: dict, said: str | None) -> None:
    with pytest.raises(UserError, match=said):
        inbox.add(task, text, **given)
    assert inbox.entries("tickets") == []


def test_a_later_demonstration_for_the_same_input_replaces_the_earlier_one(task: Task, inbox: Inbox) -> None:
    inbox.add(task, "hm", output=GOOD)
    inbox.add(task, "other", output=GOOD)
    inbox.add(task, "hm", output={"kind": "delivery", "order": None})
    found = inbox.demonstrations("tickets")
    assert [(e.input_text, e.output) for e in found] == [
        ("other", '{"kind":"billing","order":null}'),
        ("hm", '{"kind":"delivery","order":null}'),
    ]


def test_heads_tell_the_last_demonstration_of_each_task(task: Task, inbox: Inbox) -> None:
    assert inbox.heads() == {}
    inbox.add(task, "hm", output=GOOD)
    inbox.add(task, "hm", rating=True)
    assert inbox.heads() == {"tickets": 1}


def test_an_inbox_that_is_no_database_is_an_error_and_not_empty(inbox: Inbox) -> None:
    inbox.file.parent.mkdir(parents=True)
    inbox.file.write_bytes(b"this is not a database file" * 200)
    with pytest.raises(sqlite3.Error):
        inbox.heads()


def test_writers_at_the_same_time_lose_nothing(task: Task, inbox: Inbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        seqs = [a.seq for a in pool.map(lambda i: inbox.add(task, f"text {i % 60}", rating=True), range(120))]
    assert len(inbox.entries("tickets")) == 60 and len(set(seqs)) == 60


def test_what_was_acknowledged_survives_a_kill(task: Task, inbox: Inbox) -> None:
    code = f"""
        from pathlib import Path
        from pp_assets.feedback.inbox import Inbox
        from pp_assets.task.spec import load_task
        task = load_task("tickets", Path({str(task.folder.parent)!r}))
        inbox, n = Inbox(Path({str(inbox.file)!r})), 0
        while True:
            n += 1
            print(inbox.add(task, f"text {{n}}", rating=True).seq, flush=True)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().splitlines() if line.strip()]
    child.wait()
    assert set(acknowledged) <= {e.seq for e in inbox.entries("tickets")}


def test_the_file_is_synced_at_each_commit(task: Task, inbox: Inbox) -> None:
    inbox.add(task, "t", rating=True)
    with inbox._connected() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_demonstrations_become_training_rows_and_nothing_else(task: Task, inbox: Inbox, tmp_path: Path) -> None:
    inbox.add(task, "why was my card charged three times on a Sunday", output=GOOD)
    before, after = tmp_path / "before", tmp_path / "after"
    for out, extra in ((before, []), (after, as_rows(inbox.demonstrations("tickets")))):
        out.mkdir()
        build_dataset(task, out, extra)
    new = {e.input_text for e in read_split(after, "train")} - {e.input_text for e in read_split(before, "train")}
    assert new == {"why was my card charged three times on a Sunday"}
    tests = [{e.item_id for e in open_test_split(out, tmp_path / "ledger.jsonl", "tickets", "a test")} for out in (before, after)]
    assert tests[0] == tests[1]
