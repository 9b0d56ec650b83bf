"""Growth of worked examples on a real store: what comes, what goes, and what people decided stays."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_task import write_task
from test_dicl_gate import SCHEMA, embed

from pp_assets.data.leakage import HeldOut
from pp_assets.prompts.dicl.candidates import of_feedback
from pp_assets.prompts.dicl.gate import LEAK, Rules
from pp_assets.prompts.dicl.growth import GONE
from pp_assets.prompts.dicl.shelf import Shelf
from pp_assets.prompts.dicl.stage import Ground, grown, rules_of
from pp_assets.task.contract.derive import derive
from pp_assets.task.examples import Example
from pp_assets.task.spec import load_task
from pp_resources.errors import UserError
from pp_resources.store.ids import now
from pp_resources.store.opened import Store, open_store
from pp_resources.store.read_feedback import feedback_since
from pp_resources.store.read_work import decisions_on
from pp_resources.store.retention import erase, retain
from pp_resources.store.rows import Feedback, Inference


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "home")


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    write_task(tmp_path / "tasks", "t")
    task = load_task("t", tmp_path / "tasks")
    task = task.__class__(
        task.spec.model_copy(update={"io_schema": task.spec.io_schema.model_copy(update={"output": SCHEMA})}), *parts(task)
    )
    rows = [Example("r1", "where is my parcel", {"team": "delivery", "order": None})]
    rows.append(Example("r2", "the invoice is wrong", {"team": "billing", "order": None}))
    held = HeldOut(["when does the driver come"], frozenset(), frozenset())
    return Ground(task, rows, held, derive(task.spec), embed, "words@1")


def parts(task: Any) -> tuple[Any, ...]:
    return task.folder, task.digest, task.file


def said(store: Store, text: str, team: str, kind: str = "demonstration", **more: Any) -> Feedback:
    answer = json.dumps({"team": team, "order": None})
    values = {"output": answer} if kind == "demonstration" else {"answer": answer, "metric": "rating", **more}
    row = Feedback(kind=kind, task="t", input=text, **values)  # type: ignore[arg-type]
    store.write(row)
    return row


def active(store: Store) -> dict[str, str]:
    return {one.input: one.origin for one in Shelf(store, "t").all("active")}


def test_examples_grow_from_rows_demonstrations_and_praise_and_once_more_changes_nothing(store: Store, ground: Ground) -> None:
    said(store, "my card was charged twice", "billing")
    said(store, "the van never came", "delivery", "boolean", value=1)
    said(store, "what is this amount", "delivery", "boolean", value=0)
    said(store, "Hi, when does the driver come?", "delivery")
    told = grown(Shelf(store, "t"), ground, Rules())
    assert told | {"held": ""} == {
        "task": "t",
        "candidates": 5,
        "active": 4,
        "by_origin": {"demonstration": 1, "feedback": 1, "row": 2},
        "added": 4,
        "refused": 1,
        "back": 0,
        "taken_out": 0,
        "reasons": {LEAK: 1},
        "held": "",
    }
    (refused,) = Shelf(store, "t").all("removed")
    assert refused.input.startswith("Hi, when") and refused.reason.startswith(LEAK) and refused.origin == "demonstration"
    mark, before = Shelf(store, "t").mark(), Shelf(store, "t").all()
    again = grown(Shelf(store, "t"), ground, Rules())
    assert (again["added"], again["refused"], again["back"], again["taken_out"]) == (0, 0, 0, 0)
    assert Shelf(store, "t").mark() == mark and [one.reason for one in Shelf(store, "t").all()] == [one.reason for one in before]
    assert len(decisions_on(store, "t")) == 1


def test_feedback_that_is_superseded_or_called_bad_takes_its_example_out_again(store: Store, ground: Ground) -> None:
    first = said(store, "my card was charged twice", "delivery")
    said(store, "the van never came", "delivery", "boolean", value=1)
    grown(Shelf(store, "t"), ground, Rules())
    assert {"my card was charged twice", "the van never came"} <= active(store).keys()
    store.write(Feedback(kind="demonstration", task="t", input=first.input, output='{"team":"billing","order":null}', supersedes=first.id))
    said(store, "the van never came", "delivery", "boolean", value=0)
    told = grown(Shelf(store, "t"), ground, Rules())
    assert (told["added"], told["taken_out"]) == (1, 2) and "the van never came" not in active(store)
    old = next(one for one in Shelf(store, "t").all("removed") if one.input == first.input)
    assert old.reason == GONE and old.parents == (first.id,)
    # A row that stands in the data is taken out by bad feedback on its output, too.
    said(store, "the invoice is wrong", "billing", "boolean", value=0)
    assert grown(Shelf(store, "t"), ground, Rules())["reasons"]["called bad later"] == 1
    assert "the invoice is wrong" not in active(store)


def test_a_mixed_verdict_or_a_correction_makes_no_example(store: Store, ground: Ground) -> None:
    inference = Inference(task="t", variant="v", input="a strange parcel", output='{"team":"billing","order":null}', subject="rosa")
    store.write(inference)
    store.write(Feedback(kind="boolean", metric="right", value=1, inference=inference.id))
    shelf, rules = Shelf(store, "t"), Rules(metrics=("right", "kind"))
    assert "feedback" not in grown(shelf, ground, Rules())["by_origin"], "a metric that nobody named may mean anything"
    assert grown(shelf, ground, rules)["by_origin"]["feedback"] == 1
    (example,) = [one for one in shelf.all() if one.origin == "feedback"]
    assert example.subject == "rosa" and example.parents[0] == inference.id and len(example.parents) == 2
    store.write(Feedback(kind="float", metric="kind", value=0.2, inference=inference.id))
    assert "feedback" not in grown(shelf, ground, rules)["by_origin"]
    store.write(Feedback(kind="demonstration", output='{"team":"delivery","order":null}', inference=inference.id))
    assert grown(shelf, ground, rules)["by_origin"]["demonstration"] == 1
    erase(store, "rosa")
    assert not [one for one in shelf.all() if "strange" in one.input]
    assert grown(shelf, ground, rules)["candidates"] == 2


def test_who_is_erased_while_examples_grow_does_not_come_back(store: Store, ground: Ground) -> None:
    inference = Inference(task="t", variant="v", input="a strange parcel", output='{"team":"delivery","order":null}', subject="rosa")
    store.write(inference)
    store.write(Feedback(kind="boolean", metric="rating", value=1, inference=inference.id))

    def erasing(texts: Sequence[str]) -> np.ndarray:
        if any("strange" in text for text in texts):
            erase(store, "rosa")
        return embed(texts)

    grown(Shelf(store, "t"), Ground(ground.task, ground.rows, ground.held, ground.contract, erasing, ground.encoder), Rules())
    assert sorted(active(store)) == ["the invoice is wrong", "where is my parcel"]


def test_an_index_goes_on_from_the_one_before(store: Store, ground: Ground) -> None:
    shelf = Shelf(store, "t")
    grown(shelf, ground, Rules())
    first = shelf.index(ground.encoder)
    said(store, "my card was charged twice", "billing")
    grown(shelf, ground, Rules())
    second = shelf.index(ground.encoder, first)
    assert len(first) == 2 and len(second) == 3 and {id(one) for one in first.examples} < {id(one) for one in second.examples}
    assert second.matrix.tolist() == shelf.index(ground.encoder).matrix.tolist()


def test_an_example_outlives_feedback_that_was_deleted_with_its_time(store: Store, ground: Ground) -> None:
    said(store, "my card was charged twice", "billing")
    grown(Shelf(store, "t"), ground, Rules())
    assert retain(store, before=now() + 1)["feedback"] == 1
    told = grown(Shelf(store, "t"), ground, Rules())
    assert told["taken_out"] == 0 and "my card was charged twice" in active(store)


def test_other_held_out_rows_are_looked_at_again(store: Store, ground: Ground) -> None:
    shelf = Shelf(store, "t")
    grown(shelf, ground, Rules())
    moved = Ground(ground.task, ground.rows, HeldOut(["where is my parcel"], frozenset(), frozenset()), *rest(ground))
    for _ in range(2):
        grown(shelf, moved, Rules())
        assert list(active(store)) == ["the invoice is wrong"]
    assert len(decisions_on(store, "t")) == 2
    (leak,) = shelf.all("removed")
    with pytest.raises(UserError, match="may not be an example"):
        shelf.change([leak.id], "active", reason="mine", who="ann")
    shelf.roll_back(leak.changed - 1, reason="back", who="ann")
    assert list(active(store)) == ["the invoice is wrong"]
    grown(shelf, ground, Rules())
    assert "where is my parcel" in active(store)


def rest(ground: Ground) -> tuple[Any, ...]:
    return ground.contract, ground.embed, ground.encoder


def test_people_have_the_last_word_and_can_go_back_in_time(store: Store, ground: Ground) -> None:
    shelf = Shelf(store, "t")
    grown(shelf, ground, Rules())
    before = now()
    said(store, "my card was charged twice", "billing")
    grown(shelf, ground, Rules())
    (row,) = [one for one in shelf.all() if one.input == "where is my parcel"]
    assert (
        shelf.change([row.id[:6]], "removed", reason="odd", who="ann") == [row.id]
        and shelf.change([row.id], "removed", reason="", who="ann") == []
    )
    grown(shelf, ground, Rules())
    assert "where is my parcel" not in active(store) and shelf.history(row.id)[-1]["reason"] == "odd"
    assert len(shelf.roll_back(before, reason="quality fell", who="ann")) == 2
    assert list(active(store).values()) == ["row", "row"]
    told = grown(shelf, ground, Rules())
    assert (told["added"], told["back"], told["taken_out"]) == (0, 0, 0)
    with pytest.raises(UserError, match="there is no example 'nope'"):
        shelf.change(["nope"], "removed", reason="", who="ann")


def test_another_encoder_makes_every_example_anew(store: Store, ground: Ground) -> None:
    shelf = Shelf(store, "t")
    grown(shelf, ground, Rules())
    other = Ground(ground.task, ground.rows, ground.held, ground.contract, embed, "words@2")
    told = grown(shelf, other, Rules())
    assert (told["added"], told["taken_out"]) == (2, 2) and len(shelf.index("words@2")) == 2 and len(shelf.index("words@1")) == 0


def test_the_limits_are_those_of_the_task(ground: Ground) -> None:
    rules = rules_of(ground.task, per_label=7)
    assert (rules.by_person, rules.by_model, rules.near, rules.per_label, rules.total) == (0.0, 0.5, 0.98, 7, None)


def test_what_is_said_of_an_episode_or_on_another_scale_is_no_evidence(store: Store) -> None:
    answer = {"task": "t", "input": "where is it", "answer": '{"team":"delivery"}', "kind": "float", "metric": "rating"}
    inference = Inference(task="t", variant="v", input="my van", output='{"team":"delivery"}', episode="e")
    store.write_many([inference, Feedback(kind="boolean", metric="rating", value=1, episode="e"), Feedback(**answer, value=1)])
    (found,) = of_feedback(SCHEMA, feedback_since(store, "t"), {}).candidates
    assert found.input_text == "where is it"
    store.write(Feedback(**answer | {"input": "another"}, value=5))
    assert of_feedback(SCHEMA, feedback_since(store, "t"), {}).candidates == [], "1 of 5 is no praise"
