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
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.rows import Feedback, Inference

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
    return Inbox(tmp_path / "home")


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


@pytest.mark.parametrize("name", ["store/store.db", "feedback/inbox.db"])
def test_an_inbox_that_is_no_database_is_an_error_and_not_empty(inbox: Inbox, name: str) -> None:
    file = inbox.home / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is not a database file" * 200)
    for read in (inbox.heads, inbox.counts, lambda: inbox.entries("tickets")):
        with pytest.raises(StoreUnavailable, match="not a database"):
            read()
    assert file.exists()


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
        inbox, n = Inbox(Path({str(inbox.home)!r})), 0
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
    with inbox.store.writing() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2


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


OLD = """
CREATE TABLE feedback (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL, input_text TEXT NOT NULL,
    output TEXT, rating REAL, comment TEXT, source TEXT NOT NULL, at TEXT NOT NULL, content TEXT NOT NULL, answer TEXT, UNIQUE (task, id))
"""


def old_inbox(home: Path) -> Path:
    """The file of before there was a store, with a gap in its numbers, a process that never closed it, and a rating that is no number."""
    file = home / "feedback" / "inbox.db"
    file.parent.mkdir(parents=True)
    at = "2026-11-01T09:30:00.125+00:00"
    rows = [
        (1, "a", "tickets", "demonstration", "hm", '{"kind":"billing","order":null}', 0.0, "was wrong", "cli", at, "c", "{}"),
        (2, "b", "other", "comment", "hm", None, None, "odd", "mail", at, "c", None),
        (5, "a", "other", "boolean", "hm", None, 1.0, None, "cli", at, "c", None),
        (6, "n", "other", "float", "hm", None, None, None, "cli", at, "c", None),
    ]
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(OLD)
    db.executemany("INSERT INTO feedback VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)
    db.commit()
    return file


def test_an_inbox_of_before_is_taken_over_once_with_its_numbers(inbox: Inbox, task: Task) -> None:
    file = old_inbox(inbox.home)
    (found,) = inbox.entries("tickets")
    assert (found.seq, found.id, found.rating, found.comment, found.answer) == (1, "a", 0.0, "was wrong", "{}")
    assert found.at == "2026-11-01T09:30:00.125+00:00" and inbox.heads() == {"tickets": 1}
    assert [(e.seq, e.id, e.kind, e.source) for e in inbox.entries("other")] == [(2, "b", "comment", "mail"), (5, "a", "boolean", "cli")]
    assert not file.exists() and inbox.add(task, "new", rating=True).seq == 6
    with sqlite3.connect(file.with_name("inbox.taken-over-1.db")) as db:
        assert db.execute("SELECT COUNT(*) FROM feedback").fetchone() == (4,)
    assert '"id": "n"' in file.with_name("inbox.refused.jsonl").read_text()


def test_what_was_taken_over_half_is_taken_over_again_without_counting_twice(inbox: Inbox, task: Task) -> None:
    inbox.add(task, "first", rating=True)
    file = old_inbox(inbox.home)
    aside = file.read_bytes(), file.with_name("inbox.db-wal").read_bytes()
    assert [e.seq for e in inbox.entries("other")] == [3, 6]
    file.write_bytes(aside[0])  # as if the process had been killed before it could rename the file
    file.with_name("inbox.db-wal").write_bytes(aside[1])
    assert [e.seq for e in inbox.entries("other")] == [3, 6] and file.with_name("inbox.taken-over-2.db").exists()


def test_what_is_said_of_an_answer_of_the_gateway_is_in_the_inbox_once_it_can_be(inbox: Inbox, task: Task) -> None:
    demo = Feedback(kind="demonstration", inference="i1", output='{"kind":"billing","order":null}', source="api")
    inbox.store.write(demo)
    inbox.store.write(Feedback(kind="boolean", metric="right", episode="e", value=0))
    seen = inbox.add(task, "another", output=GOOD).seq
    assert [e.seq for e in inbox.entries("tickets")] == [seen] == list(inbox.heads().values())
    inbox.store.write(Inference(id="i1", task="tickets", variant="base", input="pay twice", output="{}", episode="e"))
    (late,) = inbox.entries("tickets", after=seen)
    assert (late.id, late.input_text, late.answer, late.kind) == (demo.id, "pay twice", "{}", "demonstration")
    assert inbox.heads() == {"tickets": late.seq} and inbox.counts() == {"tickets": 2}
    assert [e.input_text for e in inbox.demonstrations("tickets")] == ["another", "pay twice"]
    right = Feedback(kind="demonstration", inference="i1", output='{"kind":"delivery","order":null}', supersedes=demo.id)
    inbox.store.write(right)
    assert [e.output for e in inbox.demonstrations("tickets")][1] == right.output
