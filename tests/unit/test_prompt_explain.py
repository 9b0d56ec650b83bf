"""Failures explained, and what becomes of the explanations."""

import json
from pathlib import Path

import numpy as np
from suite_models import examples, task
from writing_world import RULES, World, ground_of, seed_of

from pp_assets.prompts.candidate import Judged
from pp_assets.prompts.explain import Advised, by_place, changed, explain
from pp_assets.prompts.guards import guards
from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.search.account import Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.strategy import Rows
from pp_assets.task.examples import Example
from pp_resources.models.interface import Prediction

SPEC = task(rubric={"fields": {"kind": {"description": RULES["kind"]}, "urgent": {"description": RULES["urgent"]}}})
ROWS = examples(8)


def judged(*answers: object) -> Judged:
    """ROWS with these answers, the right one where nothing is given."""
    said = [row.output if answer is None else answer for row, answer in zip(ROWS, answers, strict=True)]
    texts = [answer if isinstance(answer, str) else json.dumps(answer) for answer in said]
    scores = np.array([float(answer == row.output) for answer, row in zip(said, ROWS)])
    return Judged(seed_of(SPEC), ROWS, [Prediction(text) for text in texts], scores)


def kind(row: Example, other: str) -> dict[str, object]:
    return {**row.output, "kind": other}


def test_failures_are_grouped_by_what_is_wrong() -> None:
    order = str(ROWS[5].output["order"])
    wrong = judged(
        None,
        "I do not know.",
        {"kind": "billing"},
        {**ROWS[3].output, "order": None},
        {**ROWS[4].output, "order": "Please"},
        {**ROWS[5].output, "order": order.lower()},
        {**ROWS[6].output, "order": f"order {ROWS[6].output['order']} is"},
        {**ROWS[7].output, "urgent": not ROWS[7].output["urgent"]},
    )
    found = {(one.place, one.kind): one for one in explain(SPEC, wrong)}
    kinds = {kind for place, kind in found if place == "order"}
    assert kinds >= {"a value is left out", "another part of the text is taken", "spelt in another way", "too much is copied"}
    assert ("form", "the answer is not JSON") in found and any(place == "urgent" and " is given as " in kind for place, kind in found)
    left_out = found["order", "a value is left out"]
    assert left_out.count == len(left_out.examples) and left_out.words.endswith(f"({left_out.count} of 8 answers).")
    copied = found["order", "too much is copied"]
    assert copied.advice == "order: copy the value alone, without the words around it." and copied.examples[0].row is ROWS[6]
    assert sum(by_place(list(found.values())).values()) == sum(one.count for one in found.values())
    assert explain(SPEC, judged(*[None] * 8)) == []


def test_a_confusion_is_named_with_the_rubric() -> None:
    row = next(i for i, row in enumerate(ROWS) if row.output["kind"] == "delivery")
    [one] = explain(SPEC, judged(*[kind(r, "returns") if i == row else None for i, r in enumerate(ROWS)]))
    assert one.words == "kind: delivery is given as returns (1 of 8 answers)."
    assert one.advice == f"kind: do not give returns where it is delivery. kind means: {RULES['kind']}"


def test_what_has_changed_is_told_by_kind() -> None:
    before = explain(SPEC, judged(*[kind(row, "billing") for row in ROWS]))
    after = explain(SPEC, judged(None, *[kind(row, "billing") for row in ROWS[1:]]))
    told = changed(before, after)
    assert sum(row[2] for row in told) - sum(row[3] for row in told) == (ROWS[0].output["kind"] != "billing")
    assert all(row[2] >= row[3] for row in told)


def test_advice_becomes_prompts_that_are_better_on_other_rows(tmp_path: Path) -> None:
    rows = [
        Example(f"{split}{row.item_id}", row.input_text, row.output, group=f"{split}{row.group}")
        for split, seed in (("t", 1), ("v", 2))
        for row in examples(80, seed)
    ]
    world = World(base=0.6, lift=0.35)
    ground = ground_of(None, rows[:80], SPEC)
    with Arena(SPEC, ChatTarget(world), tmp_path / "a.db", budget=Budget(1200)) as arena:
        found = Halving(rounds=2).search(arena, ground, seed_of(SPEC), [Advised()], Rows(rows[:80], rows[80:]), seed=0, guards=guards)
    best = found[0]
    assert best.candidate.origin.source == "explained" and "answers)." in best.candidate.origin.note
    assert RULES["kind"] in best.candidate.wording.template
    own = next(one for one in found if one.candidate.id == seed_of(SPEC).id)
    assert best.scores.mean() > own.scores.mean() + 0.1
    assert world.asked["writer"] == 0
