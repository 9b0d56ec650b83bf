"""The review queue: decisions are kept, obeyed by the next run, and reachable by keys and by scripts."""

import json
import os
import pty
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pp_assets.data.generation.made import Generated
from pp_assets.data.queue import queue
from pp_assets.data.review import Decided, Decisions
from pp_assets.pipeline import GENERATED, Pipeline
from pp_assets.task.examples import Example
from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT, Settings

SCHEMA = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}}
ROW = Example("0" * 16, "some text", {"kind": "a"}, "s", "g", {"x": 1})


def test_decisions_are_on_the_disk_by_task_and_the_last_one_counts(tmp_path: Path) -> None:
    store = Decisions(tmp_path / "review" / "decisions.db")
    assert store.of("t") == Decided()
    store.decide("t", "1", "accept")
    store.decide("t", "2", "reject")
    store.decide("t", "3", "edit", "new text", {"kind": "b"})
    store.decide("other", "1", "reject")
    store.decide("t", "1", "reject")
    told = Decisions(tmp_path / "review" / "decisions.db").of("t")
    assert told == Decided(frozenset(), frozenset({"1", "2"}), {"3": ("new text", {"kind": "b"})})
    assert "3" in told and "9" not in told
    with pytest.raises(UserError, match="no decision"):
        store.decide("t", "1", "maybe")  # type: ignore[arg-type]
    (tmp_path / "bad.db").write_text("this is no database at all, it is text of some length")
    with pytest.raises(UserError, match="no store of decisions"):
        Decisions(tmp_path / "bad.db").of("t")


def test_rejected_rows_go_and_edited_ones_are_replaced_and_say_what_they_were() -> None:
    told = Decided(frozenset(), frozenset({"bad"}), {ROW.item_id: ("better text", {"kind": "b"})})
    made = Generated(ROW, ("p",), "noise", {"kind": "typos"}, 1)
    (new,) = told.generated(SCHEMA, [made, replace(made, example=replace(ROW, item_id="bad"))])
    assert (new.example.input_text, new.example.output, new.example.group) == ("better text", {"kind": "b"}, "g")
    assert new.params["edited_from"] == ROW.item_id and new.example.item_id != ROW.item_id
    assert told.rows(SCHEMA, [replace(ROW, item_id="bad"), replace(ROW, item_id="kept")]) == [replace(ROW, item_id="kept")]
    assert Decided(accepted=frozenset({"1"})).digest == Decided().digest != told.digest, "an acceptance changes no row"


def test_generating_shows_the_yield_of_each_stage_and_writes_a_card(pp) -> None:
    said = pp("generate", "alpha", "--json").json
    stages = [s["stage"] for s in said["generation"]["yields"]]
    assert stages[:4] == ["made", "parsed", "schema", "consistent"] and stages[-1] == "balance by cell"
    assert said["generation"]["generated"] == said["generation"]["yields"][-1]["left"] > 0
    assert said["generation"]["diversity"]["written"]["nearest"] > 0 and not any(said["generation"]["leaks"].values())
    card = Path(said["card"])
    assert "Make it again" in card.read_text() and "## Yield" in card.with_suffix(".md").read_text()
    told = pp("generate", "alpha")
    assert "cells" in told.out and "nothing recomputed" in told.out


def test_decisions_by_id_are_obeyed_by_the_next_run(pp, home: Path, tmp_path: Path) -> None:
    pp("generate", "alpha")
    listed = pp("review", "alpha", "--list", "--json").json
    first, second, third = (item["item_id"] for item in listed["queue"][:3])
    assert listed["waiting"] == len(listed["queue"]) and listed["queue"][0]["why"]
    row = listed["queue"][1]
    (tmp_path / "row.json").write_text(json.dumps({"input_text": row["input_text"] + " really", "output_json": row["output"]}))
    assert pp("review", "alpha", "--reject", first, "--accept", third).code == 0
    edited = pp("review", "alpha", "--edit", second, str(tmp_path / "row.json"), "--export", str(tmp_path / "out.jsonl"), "--json").json
    assert (edited["accepted"], edited["rejected"], edited["edited"], edited["exported"]) == (1, 1, 1, 2)
    texts = [json.loads(text)["input_text"] for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert row["input_text"] + " really" in texts
    again = pp("generate", "alpha", "--json").json
    assert again["generation"]["generated"] == listed["waiting"] - 1
    left = pp("review", "alpha", "--list", "--json").json["queue"]
    assert not {first, second, third} & {item["item_id"] for item in left}
    assert any(item["input_text"].endswith(" really") for item in left)


def test_wrong_ids_and_wrong_rows_are_told_and_nothing_is_decided(pp, tmp_path: Path) -> None:
    pp("generate", "alpha")
    before = pp("review", "alpha", "--list", "--json").json
    one = before["queue"][0]["item_id"]
    (tmp_path / "row.json").write_text(json.dumps({"input_text": "x", "output_json": {"nothing": 1}}))
    for arguments in (("--reject", "none"), ("--edit", one, str(tmp_path / "row.json")), ("--edit", one, str(tmp_path / "missing")), ()):
        said = pp("review", "alpha", *arguments)
        assert said.code == 2 and len(said.err.strip().splitlines()) == 1, arguments
    assert pp("review", "alpha", "--list", "--json").json == before


def test_rows_with_a_label_in_doubt_are_in_the_queue_and_a_rejected_one_is_not_trained_on(pp, home: Path, tmp_path: Path) -> None:
    pp("generate", "alpha")
    place = Pipeline(Settings(home / "pp", home / "tasks", 1))
    for stage in (place.clusters, place.evaluated_inputs):
        stage("alpha")
    row = place.training_rows("alpha").train[0]
    path = next(iter(row.output))
    suspect = {"item_id": row.item_id, "field": path, "given": row.output[path], "suggested": row.output[path], "agreement": 0.0}
    (tmp_path / "label_errors.jsonl").write_text(json.dumps(suspect) + "\n")
    assert pp("review", "alpha", "--labels", str(tmp_path / "label_errors.jsonl"), "--json").json["suspects"] == 1
    (item,) = [item for item in queue(place, "alpha") if item.kind == "label in doubt"]
    assert item.item_id == row.item_id and item.disagreement == 1.0 and path in item.why
    assert pp("review", "alpha", "--reject", row.item_id).code == 0
    assert row.item_id not in {e.item_id for e in place.training_rows("alpha").train}
    (tmp_path / "bad.jsonl").write_text('{"item_id": "1"}\n')
    assert "lacks" in pp("review", "alpha", "--labels", str(tmp_path / "bad.jsonl")).err


def test_one_key_decides_in_a_terminal_and_a_stopped_review_goes_on(pp, home: Path) -> None:
    pp("generate", "alpha")
    waiting = pp("review", "alpha", "--list", "--json").json["waiting"]
    us, them = pty.openpty()
    environment = os.environ | {"PP_HOME": str(home / "pp"), "PP_TASKS": str(home / "tasks"), "PYTHONPATH": str(PROJECT_ROOT)}
    code = "import sys; from pp_gateway.cli import main; sys.exit(main(['review', 'alpha']))"
    with subprocess.Popen([sys.executable, "-c", code], stdin=them, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for key in (b"a", b"r", b"q"):
            said = next(text for text in process.stdout if "[a]ccept" in text)
            # Keys count from when the terminal gives them one by one.
            while termios.tcgetattr(them)[3] & termios.ICANON:
                time.sleep(0.01)
            os.write(us, key)
        left = process.stdout.read()
    os.close(us)
    os.close(them)
    assert process.returncode == 0 and "[s]kip" in said and f"{waiting - 2} waiting" in left
    assert pp("review", "alpha", "--list", "--json").json["waiting"] == waiting - 2


def test_generated_rows_are_left_out_unless_the_task_wants_them(pp, home: Path) -> None:
    place = Pipeline(Settings(home / "pp", home / "tasks", 1))
    for stage in (place.seeds, place.contract, place.generated_data, place.clusters, place.evaluated_inputs):
        stage("alpha")
    choice = place.generation_choice("alpha")
    assert choice.metadata["use"] is False and "the task says so" in choice.metadata["reason"]
    assert place.training_rows("alpha").generated == [] != place.kept_rows("alpha").generated
    assert place.store.current(GENERATED, "alpha")
