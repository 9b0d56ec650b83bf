"""What may not be tried, and why: one sound candidate, and one for each fault."""

from dataclasses import replace

import pytest
from suite_models import examples, task
from writing_world import ground_of, seed_of

from pp_assets.prompts.candidate import Candidate, Ground, Origin
from pp_assets.prompts.guards import ROOM, guards, room, unnamed
from pp_assets.prompts.wording import Shown, Wording
from pp_assets.task.contract.derive import derive
from pp_assets.task.validation_rules import PromptRule, ValidationRules

SPEC = task(instruction_template="Return kind ({{ labels.kind | join(', ') }}), urgent and order.\n{{ examples }}Input: {{ input_text }}")
TAIL = "\n{{ examples }}Input: {{ input_text }}"


@pytest.fixture(scope="module")
def ground() -> Ground:
    return ground_of(None, examples(20), SPEC, contract=derive(SPEC))


def faults(ground: Ground, wording: Wording) -> list[str]:
    return guards(ground, Candidate.of(SPEC, wording, Origin("test")))


def test_what_names_all_and_copies_nothing_may_be_tried(ground: Ground) -> None:
    row = ground.train[0]
    shown = (Shown(row.input_text, row.output, item_id=row.item_id),)
    said = '{"kind": "billing, delivery or returns", "urgent": true, "order": "as written"}'
    assert faults(ground, Wording("Be exact.", said + TAIL, shown)) == []
    assert faults(ground, Wording.of(SPEC)) == []
    assert faults(ground, Wording("", "Follow {{ schema }}" + TAIL)) == []


def test_a_template_must_hold_the_input_once(ground: Ground) -> None:
    for template in ("kind urgent order", "{{ input_text }}{{ input_text }}", "{{ nothing }}{{ input_text }}", "{% if %}{{ input_text }}"):
        broken = Candidate("x", Wording("", template), Origin("test"))
        [fault] = guards(ground, broken)
        assert "template" in fault


def test_a_system_prompt_is_no_template(ground: Ground) -> None:
    [fault] = faults(ground, replace(Wording.of(SPEC), system="Labels: {{ labels }}"))
    assert "system prompt" in fault
    own = SPEC.model_copy(update={"system_prompt": "An answer looks like {{}}."})
    wording = Wording("Take care. An answer looks like {{}}.", SPEC.instruction_template)
    assert guards(replace(ground, spec=own), Candidate.of(own, wording, Origin("test"))) == []


def test_a_prompt_has_room(ground: Ground) -> None:
    own = Wording.of(SPEC)
    assert room(ground, own) == ROOM
    [fault] = faults(ground, replace(own, system="x" * (ROOM + 7)))
    assert fault.startswith("it is 7 tokens longer")
    narrow = replace(ground, options={"max_prompt_tokens": 5}, count_tokens=lambda text: len(text.split()))
    assert room(narrow, own) < 0 and "longer" in guards(narrow, seed_of(SPEC))[0]


def test_rules_on_the_quality_of_a_prompt_hold_for_every_candidate(ground: Ground) -> None:
    ruled = SPEC.model_copy(update={"validation_rules": ValidationRules(prompt_quality=[PromptRule(clarity_score="> 0.9")])})
    vague = "kind urgent order TODO billing {{ labels.kind[1:] }}"
    clear = 'Answer with JSON. Write "kind" as billing, delivery or returns, "urgent" as true or false, "order" as written.'
    said = [guards(replace(ground, spec=ruled), Candidate.of(ruled, Wording("", text + TAIL), Origin("test"))) for text in (clear, vague)]
    assert said[0] == [] and len(said[1]) == 1 and "Rule prompt_quality: clarity_score > 0.9 is broken" in said[1][0]


def test_names_of_the_task_s_own_prompt_stay(ground: Ground) -> None:
    [fault] = faults(ground, Wording("", "Sort into billing or returns; give kind and urgent." + TAIL))
    assert "no longer names order, delivery" in fault
    assert unnamed(SPEC, Wording("", "kinds, urgently, orders, billings" + TAIL)) == [
        "kind",
        "urgent",
        "order",
        "billing",
        "delivery",
        "returns",
    ]
    assert faults(replace(ground, spec=task()), Wording("", "Read it." + TAIL)) == [], "its own prompt names none"


def test_instructions_are_not_copied_from_training_rows(ground: Ground) -> None:
    words = ground.train[0].input_text.split()
    own = SPEC.instruction_template
    [fault] = faults(ground, Wording("", f"A case: {' '.join(words[:5])}.\n{own}"))
    assert "words of a training row" in fault
    assert faults(ground, Wording("", f"A case: {' '.join(words[:4])}.\n{own}")) == []
    # Case and signs hide nothing; words that are the task's own are no copies.
    assert faults(ground, Wording(" - ".join(words[2:8]).upper(), own)) != []
    said = replace(ground, spec=task(description=" ".join(words[:6]), instruction_template=own))
    assert guards(said, Candidate.of(said.spec, Wording(" ".join(words[:6]), own), Origin("test"))) == []


def test_only_training_rows_are_shown(ground: Ground) -> None:
    own, row = Wording.of(SPEC), ground.train[3]
    other = examples(1, seed=99)[0]
    [fault] = faults(ground, replace(own, shots=(Shown(other.input_text, other.output),)))
    assert "no training row" in fault
    assert faults(ground, replace(own, shots=(Shown(row.input_text, {**row.output, "urgent": None}, item_id=row.item_id),))) != []
    swapped = {name: row.output[name] for name in reversed(row.output)}
    assert faults(ground, replace(own, shots=(Shown(row.input_text, swapped),))) == []


def test_a_known_candidate_is_not_tried_again(ground: Ground) -> None:
    seed = seed_of(SPEC)
    [fault] = guards(ground, seed, known={seed.id})
    assert "known" in fault
    commented = Candidate.of(SPEC, Wording("", "{# other words #}" + SPEC.instruction_template), Origin("test"))
    assert guards(ground, commented, known={seed.id}) == [fault]
