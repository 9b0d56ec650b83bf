"""Demonstration sets: training rows alone, of a parent's right answers, near to many, of every label, and within the room of a prompt."""

from dataclasses import replace

import numpy as np
import pytest
from suite_models import examples, task
from writing_world import World, ground_of, judged, seed_of

from pp_assets.prompts.candidate import Candidate, Ground, Judged
from pp_assets.prompts.guards import guards, room
from pp_assets.prompts.propose.demonstrations import KINDS, ORDERS, Demonstrations, classes, knn
from pp_assets.prompts.wording import Wording
from pp_resources.models.interface import Prediction

SPEC = task()
RNG = np.random.default_rng(0)
ROOMY = {"max_prompt_tokens": 10_000}


@pytest.fixture(scope="module")
def ground() -> Ground:
    return ground_of(None, examples(80), SPEC, options=ROOMY)


@pytest.fixture(scope="module")
def parent(ground: Ground) -> Judged:
    return judged(World(seed=2), SPEC, seed_of(SPEC), ground.train[:40])


def sets(ground: Ground, parent: Judged, *kinds: str, count: int = 8) -> list[Candidate]:
    return Demonstrations(kinds or tuple(KINDS)).propose(ground, [parent], count, seed=4)


def test_sets_are_training_rows_with_their_origin(ground: Ground, parent: Judged) -> None:
    made = sets(ground, parent)
    assert len(made) == 8 == len({one.id for one in made}) and all(guards(ground, one) == [] for one in made)
    assert {one.origin.source for one in made} == {"demonstrations:bootstrapped", "demonstrations:classes", "demonstrations:corrected"}
    assert made == sets(ground, parent) and made[0].origin.parents == (parent.candidate.id,)
    assert {len(one.wording.shots) for one in sets(ground, parent, "classes")} == {2, 4, 8}
    assert len({one.origin.note for one in made}) > 3


def test_bootstrapped_rows_were_answered_right_and_corrected_ones_wrong(ground: Ground, parent: Judged) -> None:
    right = {row.item_id for row, score in zip(parent.rows, parent.scores) if score == 1}
    assert 0 < len(right) < len(parent.rows)
    for kind, wanted in (("bootstrapped", right), ("corrected", {row.item_id for row in parent.rows} - right)):
        for one in sets(ground, parent, kind):
            assert {shot.item_id for shot in one.wording.shots} <= wanted
    others = replace(ground, train=ground.train[40:])
    assert sets(others, parent, "bootstrapped", "corrected") == [], "the parent was judged on others"


def test_a_right_answer_s_reasoning_is_shown(ground: Ground, parent: Judged) -> None:
    steps = [Prediction(one.text, reasoning=(f"step {i}",)) for i, one in enumerate(parent.answers)]
    thinking = Candidate.of(SPEC, replace(Wording.of(SPEC), reasoned=True), parent.candidate.origin)
    [made] = sets(ground, replace(parent, candidate=thinking, answers=steps), "bootstrapped", count=1)
    places = {row.item_id: i for i, row in enumerate(parent.rows)}
    assert made.wording.reasoned and all(shot.reasoning == (f"step {places[shot.item_id]}",) for shot in made.wording.shots)


def test_every_label_has_as_many_rows(ground: Ground) -> None:
    rows = classes(ground, None, np.random.default_rng(1), 1.0)  # type: ignore[arg-type]
    assert len(rows) == len(ground.train)
    kinds = [(row.output["kind"], row.output["urgent"]) for row in rows[:12]]
    assert len(set(kinds[:6])) == 6 and sorted(kinds[:6]) == sorted(kinds[6:])


def test_near_rows_cover_all_and_no_outlier_comes_first(ground: Ground) -> None:
    middles = np.eye(4)[[0] * 30 + [1] * 30 + [2] * 19 + [3]]
    vectors = middles + np.random.default_rng(3).normal(0, 0.05, (80, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    place = {row.input_text: i for i, row in enumerate(ground.train)}
    near = replace(ground, embed=lambda texts: vectors[[place[text] for text in texts]])
    chosen = [int(middles[place[row.input_text]].argmax()) for row in knn(near, None, RNG, 1.0)]  # type: ignore[arg-type]
    assert sorted(chosen[:3]) == [0, 1, 2] and chosen[3] == 3
    assert knn(ground, None, RNG, 1.0) == [], "no encoder"  # type: ignore[arg-type]


def test_a_set_fits_and_holds_no_twins(ground: Ground, parent: Judged) -> None:
    own = Wording.of(SPEC)
    narrow = replace(ground, options={"max_prompt_tokens": 10_000 - room(ground, own) + 500})
    made = sets(narrow, parent)
    assert made and all(room(narrow, one.wording) >= 0 and 1 <= len(one.wording.shots) <= 3 for one in made)
    assert sets(replace(ground, options={"max_prompt_tokens": 10_000 - room(ground, own) + 10}), parent) == []
    twins = replace(ground, train=[replace(row, group="one") for row in ground.train])
    again = replace(parent, rows=twins.train[:40])
    assert {len(one.wording.shots) for one in sets(twins, again, "classes", "bootstrapped")} == {1}


def test_orders_are_orders(ground: Ground, parent: Judged) -> None:
    [made] = sets(ground, parent, "classes", count=1)
    shots = list(made.wording.shots)
    assert all(sorted(order(shots), key=repr) == sorted(shots, key=repr) for order in ORDERS.values())
    assert ORDERS["first chosen last"](shots) == shots[::-1]
