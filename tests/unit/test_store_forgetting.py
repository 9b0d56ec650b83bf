"""Retention, erasure of a person, export, and the commands for them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import command_line
from sqlalchemy import select
from store_rows import AT, inference, kept_scores, requests

from pp_assets.routing.stage import last_decision
from pp_resources.store.buckets import DAY, WIDTHS
from pp_resources.store.export import export
from pp_resources.store.ids import MICRO, now
from pp_resources.store.journal import Journal, journals_of, new_journal
from pp_resources.store.journal_erasure import erase_from_journals
from pp_resources.store.opened import Store, open_store
from pp_resources.store.read_feedback import feedback_on
from pp_resources.store.read_inferences import list_inferences
from pp_resources.store.read_trends import decisions_between
from pp_resources.store.read_work import decisions_on
from pp_resources.store.rebuild import rebuild
from pp_resources.store.retention import erase, retain
from pp_resources.store.rows import Feedback
from pp_resources.store.schema import episodes, feedback, served
from pp_resources.store.work import Decision, Example, QueueItem

SECRET = "my name is Rosalind Quux"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def rated(n: int, **more) -> Feedback:
    return Feedback(**({"kind": "boolean", "metric": "right", "inference": f"i{n}", "value": 1} | more))


def sums(store: Store) -> list:
    return [(kept_scores(store, width), requests(store, width)) for width in WIDTHS]


def left(store: Store) -> set[str]:
    return {row.id for row in list_inferences(store).rows}


def test_retention_takes_what_is_old_and_leaves_the_sums(store: Store) -> None:
    store.write_many([inference(n, episode=f"e{n // 4}") for n in range(12)])
    store.write_many([rated(n) for n in range(12)])
    store.write_many([Feedback(kind="float", metric="stars", episode=f"e{n}", value=n) for n in range(3)])
    store.write_many([Feedback(kind="boolean", metric="right", task=task, input="x", value=1, at=AT) for task in ("t", "u")])
    store.write(QueueItem(inference="i1", task="t", reason="low"))
    before = sums(store)
    # The first episode goes, of the second one half.
    assert retain(store, before=AT + 6 * 40 * MICRO, task="t") == {"inferences": 6, "feedback": 8, "queue": 1, "decisions": 0}
    assert left(store) == {f"i{n}" for n in range(6, 12)} and sums(store) == before
    with store.reading() as db:
        assert set(db.execute(select(episodes.c.id)).scalars()) == {"e1", "e2"} == set(db.execute(select(served.c.episode)).scalars())
        assert db.execute(select(feedback.c.task).where(feedback.c.input == "x")).scalars().all() == ["u"]
    assert rebuild(store)["differed"] == 0 and sums(store) == before
    store.write(rated(7, value=0))  # what is left goes on
    assert kept_scores(store, DAY)["t", "b", 0, "right"] == (6, 5.0) and rebuild(store)["differed"] == 0


def test_retention_of_all_takes_feedback_whose_target_never_came(store: Store) -> None:
    store.write_many([rated(99, at=AT), rated(98, at=AT + 10)])
    assert retain(store, before=AT + 5) == {"inferences": 0, "feedback": 1, "queue": 0, "decisions": 0, "jobs": 0}


def test_a_correction_that_is_younger_keeps_what_it_corrects(store: Store) -> None:
    about = {"kind": "boolean", "metric": "m", "task": "t", "input": "x"}
    store.write_many([Feedback(**about, value=1, at=AT), Feedback(**about, value=0, at=AT + 10)])
    assert retain(store, before=AT + 5)["feedback"] == 0 and kept_scores(store, DAY) == {("t", "", 0, "m"): (1, 0.0)}


def test_old_weights_go_but_for_those_in_force_and_what_people_decided_stays(store: Store) -> None:
    def decision(task: str, kind: str, minute: int) -> Decision:
        return Decision(id=f"{task} {kind} {minute}", task=task, kind=kind, data={"minute": minute}, at=AT + minute * 60 * MICRO)

    told = ("promotion", "rollback", "flywheel", "next_step", "dicl-growth")
    rows = [decision("t", "weights", minute) for minute in range(2500)] + [decision("u", "weights", minute) for minute in range(3)]
    store.write_many([*rows, *(decision(task, kind, minute) for task in "tu" for kind in told for minute in range(2))])
    before = AT + 2400 * 60 * MICRO

    def seen(task: str) -> list[int]:
        return [row["data"]["minute"] for row in decisions_between(store, task, "weights", since=before // MICRO)]

    shown = seen("t"), seen("u"), last_decision(store, "t"), last_decision(store, "u")
    assert retain(store, before=before, task="u")["decisions"] == 2 and len(decisions_on(store, "t", kind="weights", limit=9999)) == 2500
    assert retain(store, before=before)["decisions"] == 2399 and retain(store, before=before)["decisions"] == 0
    assert (seen("t"), seen("u"), last_decision(store, "t"), last_decision(store, "u")) == shown
    kept = decisions_on(store, "t", kind="weights", limit=9999)
    assert [row["data"]["minute"] for row in kept] == list(range(2499, 2398, -1)), "the one in force at that time, and all since"
    assert retain(store, before=AT + 9999 * 60 * MICRO)["decisions"] == 100 and last_decision(store, "t") == shown[2]
    assert [len(decisions_on(store, task, kind=kind)) for task in "tu" for kind in told] == [2] * 10


def test_after_an_erasure_no_file_of_the_store_holds_the_persons_words(store: Store, tmp_path: Path) -> None:
    vector = np.ones(2, np.float32).tobytes()
    store.write_many([inference(n, input=SECRET if n < 3 else "other", subject="rosa" if n < 3 else "bob") for n in range(6)])
    store.write_many(
        [
            rated(1, comment=f"someone quotes: {SECRET}"),
            rated(4, value=0, subject="bob"),
            rated(4, value=1, subject="rosa", source="rosa's phone", key="rosa-key"),
            Feedback(kind="comment", inference="i5", comment=SECRET, subject="rosa"),
            Feedback(kind="demonstration", inference="i4", output="{}", subject="bob"),
            Feedback(kind="demonstration", inference="i4", output=f'"{SECRET}"', subject="rosa"),
            Feedback(kind="float", metric="stars", task="t", input=SECRET, value=3, subject="rosa"),
            Example(task="t", input=SECRET, output="{}", embedding=vector, encoder="e", origin="i1"),
            Example(task="t", input=SECRET, output="{}", embedding=vector, encoder="e", subject="rosa"),
            Example(task="t", input="other", output="{}", embedding=vector, encoder="e", origin="i4"),
            QueueItem(inference="i2", task="t", reason="low"),
        ]
    )
    before = sums(store)
    assert erase(store, "rosa") == {"inferences": 3, "feedback": 3, "feedback_without_sender": 2, "queue": 1, "examples": 2}
    assert left(store) == {"i3", "i4", "i5"} and sums(store) == before and rebuild(store)["differed"] == 0
    assert [(one.kind, one.value, one.counts, one.subject) for one in feedback_on(store, "i4")] == [
        ("boolean", 0.0, False, "bob"),
        ("boolean", 1.0, True, None),
        ("demonstration", None, True, "bob"),
    ]
    for file in (tmp_path / "store").iterdir():
        assert b"Rosalind" not in file.read_bytes() and b"rosa" not in file.read_bytes(), file.name
    assert erase(store, "rosa")["inferences"] == 0


def test_rows_of_an_erased_person_do_not_come_back_from_a_journal(store: Store, tmp_path: Path) -> None:
    early = inference(1, subject="rosa")
    said = Feedback(kind="comment", inference="i1", comment=SECRET)
    erase(store, "rosa")
    assert [ack.created for ack in store.write_many([said, early])] == [False, False] and left(store) == set()
    assert store.write(inference(2, subject="rosa", at=now())).created  # who comes back is a person like others


def test_journals_are_rewritten_without_the_person(tmp_path: Path) -> None:
    folder = journals_of(tmp_path)
    held, left_behind = new_journal(folder), new_journal(folder)
    rows = [inference(1, subject="rosa", input=SECRET), inference(2, subject="bob")]
    held.append(rows)
    left_behind.append(rows)
    left_behind.close()
    (folder / "refused.jsonl").write_text('{"reason":"damaged","row":"… rosa …"}\n{"reason":"damaged","row":"…"}\n')
    assert erase_from_journals(folder, "rosa") == {"rows": 2, "held": 1}
    assert [row.id for row in Journal(left_behind.file).read().rows] == ["i2"] and SECRET.encode() not in left_behind.file.read_bytes()
    assert (folder / "refused.jsonl").read_text().count("\n") == 1


def test_each_day_is_one_file_with_all_its_rows(store: Store, tmp_path: Path) -> None:
    rows = [inference(n, at=AT + n * 3 * 3600 * MICRO, tags={"n": str(n)}, subject=f"s{n}") for n in range(20)]
    store.write_many([*rows, rated(3, at=AT), rated(4, at=AT)])
    files = export(store, tmp_path / "out")
    days = {(AT // MICRO + n * 3 * 3600) // DAY for n in range(20)}
    assert len(files) == len(days) + 1 and sum(one["rows"] for one in files) == 22
    found = pq.read_table(tmp_path / "out" / "inferences").to_pylist()
    assert {row["id"]: (row["at"], row["input"], row["tags"]) for row in found} == {
        row.id: (row.at, row.input, f'{{"n":"{row.id[1:]}"}}') for row in rows
    }
    erase(store, "s3")
    again = export(store, tmp_path / "out", since=AT // MICRO, until=AT // MICRO + DAY)
    assert (
        len(again) == 3
        and sum(one["rows"] for one in again) == sum(one["rows"] for one in files if one["file"] in {a["file"] for a in again}) - 2
    )
    assert "i3" not in pq.read_table(tmp_path / "out" / "inferences")["id"].to_pylist() and not list(tmp_path.rglob("*.part"))


def test_the_commands_tell_what_they_did(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pp = command_line(tmp_path, capfd)
    assert pp("store", "status", "--json").json["exists"] is False and not (tmp_path / "pp" / "store").exists()
    store = open_store(tmp_path / "pp")
    store.write_many([inference(1), inference(2, subject="rosa"), inference(3, at=now()), rated(1), rated(9)])
    shown = pp("store", "status", "--json").json
    assert (shown["inferences"], shown["feedback"], shown["feedback_waiting"], shown["journals"]) == (3, 2, 1, 0) and shown["bytes"] > 0
    assert "feedback waiting" in pp("store", "status").out
    assert pp("store", "export", str(tmp_path / "out"), "--json").json["rows"] == 5
    assert "5 rows in" in pp("store", "export", str(tmp_path / "out")).out
    assert pp("store", "erase", "rosa", "--json").json["inferences"] == 1
    assert pp("store", "rebuild", "--json").json["differed"] == 0 and "0 differed" in pp("store", "rebuild").out
    assert "deleted: 1 inferences, 1 feedback, 0 queue, 0 decisions, 0 jobs" in pp("store", "retain", "--older-than", "1").out
    assert "0 inferences" in pp("store", "erase", "rosa").out
    bad = pp("store", "export", str(tmp_path / "out"), "--since", "yesterday")
    assert bad.code == 2 and "'yesterday' is no day" in bad.err
