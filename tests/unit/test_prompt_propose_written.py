"""Proposals that a model writes, read strictly; and what is made of two prompts or a part of one."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from suite_models import examples
from writing_world import RULES, TOLD, World, ground_of, judged, seed_of

from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.guards import guards
from pp_assets.prompts.propose.complaints import Complaints
from pp_assets.prompts.propose.failures import failures
from pp_assets.prompts.propose.grounded import TIPS, Grounded, summary
from pp_assets.prompts.propose.reflection import SHOWN, TOGETHER, Reflection
from pp_assets.prompts.propose.variation import Crossover, Variation
from pp_assets.prompts.propose.writing import FORM, Request, read, written
from pp_assets.prompts.wording import Shown, Wording
from pp_resources.models.chat import Reply
from pp_resources.models.interface import Prediction

SPEC = TOLD


class Writer:
    """Writes the same each time, and remembers what it was asked."""

    name, identity, price = "writer", "writer-1", None

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = texts, list[str]()

    def ask_all(self, asked: Any, **how: Any) -> list[Reply]:
        assert how["schema"] == FORM and how["temperature"] == 1.0
        self.asked += [messages[-1]["content"] for messages in asked]
        return [Reply(self.texts[i % len(self.texts)], 1, 1, False) for i in range(len(asked))]


def said(instruction: str, system: str = "", why: str = "It is\nclearer.") -> str:
    return json.dumps({"explanation": why, "system_prompt": system, "instruction": instruction})


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=5)


@pytest.fixture(scope="module")
def ground(world: World) -> Ground:
    return ground_of(world, examples(80), SPEC, complaints=("It gets the kind wrong", "Too slow"))


@pytest.fixture(scope="module")
def parent(world: World, ground: Ground) -> Judged:
    return judged(world, SPEC, seed_of(SPEC), ground.train[:40])


def test_what_is_written_takes_the_place_of_the_instructions(ground: Ground) -> None:
    writer = Writer(said("Give kind: billing, delivery or returns; urgent; {{ order }}.", "Be exact."))
    [made] = written(replace(ground, model=writer), [Request(seed_of(SPEC), "Do better.")], "grounded", 0)
    assert made.wording.system == "Be exact."
    assert made.wording.prompt(SPEC).before == "Give kind: billing, delivery or returns; urgent; {{ order }}.\nInput: "
    assert made.origin == Origin("grounded", (seed_of(SPEC).id,), "It is clearer.", "writer-1")
    [asked] = writer.asked
    assert "Return kind (billing, delivery, returns), urgent and order." in asked and "Do better." in asked and '"x-verbatim"' in asked


def test_names_that_were_left_out_come_with_the_schema(ground: Ground) -> None:
    [made] = written(replace(ground, model=Writer(said("Sort it."))), [Request(seed_of(SPEC), "")], "grounded", 0)
    assert made.wording.template.startswith("Sort it.\n") and "{{ schema }}" in made.wording.template
    assert guards(ground, made) == []


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "",
        "[]",
        '{"instruction": "x"}',
        said(" "),
        said("x")[:-1],
        f"```json\n{said('x')}\n```",
        '{"explanation": "", "system_prompt": "", "instruction": 3}',
        '{"explanation": "", "system_prompt": "", "instruction": "x", "more": 1}',
    ],
)
def test_an_answer_of_another_form_makes_no_candidate(ground: Ground, text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert read(text) is None
    made = written(replace(ground, model=Writer(text, said("Sort it."))), [Request(seed_of(SPEC), "")] * 2, "grounded", 0)
    assert len(made) == 1 and "holds no prompt" in caplog.text


def test_failures_stand_under_the_field_or_dimension_that_is_wrong() -> None:
    rows = examples(5)
    wrong = [
        dict(rows[0].output, urgent=not rows[0].output["urgent"]),
        None,
        rows[2].output,
        rows[3].output,
        dict(rows[4].output, kind="x"),
    ]
    wrong[4]["urgent"] = not rows[4].output["urgent"]  # type: ignore[index]
    answers = [Prediction("nothing" if one is None else json.dumps(one)) for one in wrong]
    tone = np.array([np.nan, np.nan, 0.5, 1, 0.2])
    found = failures(SPEC, Judged(seed_of(SPEC), rows, answers, np.array([0, 0, 0.5, 1, 0]), {"tone": tone}))
    assert {name: [one.row.item_id for one in group] for name, group in found.items()} == {
        "urgent": ["0000", "0004"],
        "form": ["0001"],
        "kind": ["0004"],
        "tone": ["0002"],
    }
    assert next(iter(found)) == "urgent" and found["kind"][0].dimensions == {"tone": 0.2}


def test_reflection_tells_what_goes_wrong_and_keeps_the_explanation(world: World, ground: Ground, parent: Judged) -> None:
    made = Reflection().propose(ground, [parent], 3, seed=1)
    worst = next(iter(failures(SPEC, parent)))
    assert RULES[worst] in made[0].wording.template and made[0].origin.note == f"The prompt does not say how {worst} is found."
    assert {one.origin.source for one in made} == {"reflection"} and made[0].origin.by == world.identity
    assert made == Reflection().propose(ground, [parent], 3, seed=1)
    better = judged(world, SPEC, made[0], parent.rows)
    assert better.scores.mean() > parent.scores.mean()
    perfect = replace(parent, scores=np.ones(len(parent.rows)))
    assert Reflection().propose(ground, [perfect], 3, seed=1) == []
    assert Reflection().propose(replace(ground, train=[]), [parent], 3, seed=1) == [], "rows that are held out teach nothing"
    assert Reflection().propose(replace(ground, model=None), [parent], 3, seed=1) == []


def test_reflection_shows_no_more_than_it_should(ground: Ground, parent: Judged) -> None:
    writer = Writer(said("x"))
    many = replace(parent, rows=[*parent.rows] * 40, answers=[*parent.answers] * 40, scores=np.tile(parent.scores, 40), dimensions={})
    for together, most in ((False, SHOWN), (True, TOGETHER)):
        Reflection(together=together).propose(replace(ground, model=writer), [many], 1, seed=1)
        asked = writer.asked[-1]
        assert 0 < asked.count("Expected: ") == asked.count("Answered: ") <= most


def test_a_grounded_request_says_what_the_data_are_like(ground: Ground, parent: Judged) -> None:
    writer = Writer(said("Sort it."))
    Grounded().propose(replace(ground, model=writer), [parent], len(TIPS), seed=2)
    assert len(set(writer.asked)) == len(TIPS) and all(any(tip in asked for asked in writer.asked) for tip in TIPS)
    told = summary(ground)
    share = sum(row.output["kind"] == "billing" for row in ground.train) / len(ground.train)
    assert told.startswith("80 rows; an input has ") and f"billing {share:.0%}" in told and told in writer.asked[0]
    nulls = ground_of(None, [replace(row, output={**row.output, "order": None}) for row in examples(4)], SPEC)
    assert "order: empty in 100%." in summary(nulls) and "order: empty" not in told
    assert Grounded().propose(replace(ground, model=None), [parent], 2, seed=2) == []


def test_complaints_go_to_the_writer_alone(ground: Ground, parent: Judged) -> None:
    writer = Writer(said("Take care."), said("Be quick."))
    made = Complaints().propose(replace(ground, model=writer), [parent], 5, seed=2)
    assert [one.origin.source for one in made] == ["feedback", "feedback"]
    assert "It gets the kind wrong" in writer.asked[0] and "Too slow" in writer.asked[1]
    assert Complaints().propose(replace(ground, model=None), [parent], 5, seed=2) == []


def test_variations_without_a_model_drop_and_reorder(ground: Ground) -> None:
    words = "Read it. Return kind, urgent and order.\nBe exact.\n{{ examples }}Input: {{ input_text }}"
    one = Judged(Candidate.of(SPEC, Wording("", words), Origin("seed")), [], [], np.zeros(0))
    plain = replace(ground, model=None)
    made = Variation().propose(plain, [one], 10, seed=3)
    assert {m.origin.source for m in made} == {"variation:dropped", "variation:reordered"} and 3 <= len(made) <= 4
    assert all(m.wording.template.endswith("{{ examples }}Input: {{ input_text }}") for m in made)
    assert made == Variation().propose(plain, [one], 10, seed=3)
    [written_] = Variation().propose(replace(ground, model=Writer(said("Other words."))), [one], 1, seed=3)
    assert written_.origin.source == "variation:paraphrase" and written_.wording.template.startswith("Other words.")


def test_a_cross_has_parts_of_both(ground: Ground) -> None:
    row = ground.train[0]
    shot = Shown(row.input_text, row.output, item_id=row.item_id)
    tail = "{{ examples }}Input: {{ input_text }}"
    a = Candidate.of(SPEC, Wording("A.", f"One.\nTwo.\n{tail}", (shot,)), Origin("x"))
    b = Candidate.of(SPEC, Wording("B.", f"Two.\nThree.\n{tail}"), Origin("x"))
    parents = [Judged(one, [], [], np.zeros(0)) for one in (a, b)]
    made = Crossover().propose(ground, parents, 20, seed=0)
    wordings = [one.wording for one in made]
    assert len(made) == 7 and all(one.origin.parents == (a.id, b.id) for one in made)
    assert Wording("B.", a.wording.template, (shot,)) in wordings and Wording("A.", b.wording.template) in wordings
    assert Wording("A.", f"One.\nTwo.\nThree.\n{tail}", (shot,)) in wordings
    assert Crossover().propose(ground, parents[:1], 20, seed=0) == []
