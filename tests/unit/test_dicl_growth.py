"""What becomes a worked example and what does not: each rule of the gate, and growth on a real store."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_task import write_task

from pp_assets.data.leakage import HeldOut
from pp_assets.prompts.dicl.candidates import Candidate, of_feedback, text_of
from pp_assets.prompts.dicl.gate import LEAK, Findings, Rules, judge
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

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["team"],
    "properties": {"team": {"enum": ["delivery", "billing"]}, "order": {"type": ["string", "null"], "x-verbatim": True}},
}


def embed(texts: Sequence[str]) -> np.ndarray:
    """Words, each with a direction of its own; a text is their sum."""
    rows = []
    for text in texts:
        words = text.lower().replace("?", "").split() or ["nothing"]
        rows.append(sum(np.random.default_rng(list(word.encode())).normal(size=64) for word in words))
    found = np.array(rows, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def candidate(text: str, team: str = "delivery", origin: Any = "row", at: int = 0, **more: Any) -> Candidate:
    return Candidate(text, text_of(SCHEMA, {"team": team, **more}), origin, (f"p-{text[:5]}",), at)


def verdicts(candidates: list[Candidate], rules: Rules | None = None, **found: Any) -> list[str]:
    """The reasons, in the order of the candidates."""
    vectors = embed([one.input_text for one in candidates])
    reasons = judge(SCHEMA, candidates, vectors, Findings(found.pop("scores", {}), **found), rules or Rules())
    return [reasons[one.key] for one in candidates]


def test_what_is_wrong_by_itself_is_refused_with_the_reason() -> None:
    good, bad_label = candidate("where is my parcel"), candidate("where is the van", "shipping")
    copied, no_json = candidate("my order is late", order="A-7"), Candidate("who are you", "no JSON", "feedback", ())
    noise = candidate("%&/()=?§$%&/()")
    low, lower = candidate("a model said this", origin="feedback"), candidate("a person said that", origin="demonstration")
    many = [good, bad_label, copied, no_json, noise, low, lower]
    reasons = verdicts(many, scores={low.key: 0.4, lower.key: 0.4}, leaking={}, bad={})
    refused = ["", "against the schema", "a copied value is not in the input", "against the schema", "hardly any letters"]
    assert reasons == [*refused, "contract score below 0.5", ""]
    assert verdicts([good], leaking={good.key}, forced={good.key}) == [LEAK]
    assert verdicts([good], bad={good.key: 5}) == ["called bad later"]
    praised = candidate("where is my parcel", origin="feedback", at=9)
    assert verdicts([praised], bad={praised.key: 5}) == [""]


def test_duplicates_give_way_to_who_knows_better() -> None:
    row, person = candidate("Where is my parcel?"), candidate("where is my parcel", "billing", "demonstration", 3)
    other, later = candidate("where is my van"), candidate("is my van where", origin="demonstration", at=7)
    reasons = verdicts([row, person, other, later])
    assert reasons == [f"another output for nearly the input of {person.key[:8]}", "", f"a near duplicate of {later.key[:8]}", ""]
    assert verdicts([row, candidate("WHERE is my parcel?")]).count("") == 1
    assert verdicts([candidate("order 17 is late"), candidate("order 18 is late")]) == ["", ""]


def test_what_a_person_took_out_stays_out_with_its_copies_and_what_was_put_back_stays() -> None:
    out, copy = candidate("where is my parcel"), candidate("my parcel is where")
    corrected = candidate("is my parcel where", "billing")
    assert verdicts([out, copy, corrected], blocked={out.key}) == [
        "a person took it out",
        f"a near duplicate of {out.key[:8]}, which a person took out",
        "",
    ]
    assert verdicts([out, copy], forced={copy.key}) == [f"a near duplicate of {copy.key[:8]}", ""]


def rows_of_two_labels(wrong: int) -> list[Candidate]:
    draw = random.Random(0)
    words = {"delivery": ["parcel", "driver", "van", "late", "door"], "billing": ["invoice", "refund", "card", "charge", "bank"]}
    found = [candidate(" ".join(draw.sample(words[team], 3)) + f" case {i}", team) for i in range(40) for team in words]
    return found + [candidate(f"invoice refund bank charge {i}", "delivery") for i in range(wrong)]


def test_a_label_that_all_neighbours_deny_is_refused() -> None:
    reasons = verdicts(rows_of_two_labels(1))
    assert reasons[-1] == 'its neighbours say team: "billing", it says "delivery"' and not any(reasons[:-1])
    assert verdicts(rows_of_two_labels(1)[-1:]) == [""], "without neighbours nothing is contradicted"


def test_caps_keep_what_is_least_alike() -> None:
    texts = ["where is my parcel now", "where is my parcel today", "the van broke a window", "what does shipping cost abroad"]
    many = [candidate(text) for text in texts] + [candidate("wrong invoice total", "billing")]
    reasons = verdicts(many, Rules(per_label=3))
    assert sorted(map(bool, reasons[:2])) == [False, True] and not any(reasons[2:])
    assert verdicts(many, Rules(total=1, per_label=1)).count("") == 1
    assert verdicts(many, Rules(per_label=1), forced={one.key for one in many[:2]}) == [
        "",
        "",
        *["one of the most redundant of too many"] * 2,
        "",
    ]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_verdicts_do_not_depend_on_the_order(draw: random.Random) -> None:
    texts = ["where is my parcel", "Where is my parcel?", "hello where is my parcel", "my invoice", "the invoice is wrong", "a card charge"]
    many = {
        one.key: one
        for text in texts
        for team in ("delivery", "billing")
        for one in [candidate(text, team, draw.choice(["row", "feedback"]))]
    }
    expected = dict(zip(many, verdicts(list(many.values()), Rules(per_label=2))))
    mixed = list(many.values())
    draw.shuffle(mixed)
    assert dict(zip([one.key for one in mixed], verdicts(mixed, Rules(per_label=2)))) == expected


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
