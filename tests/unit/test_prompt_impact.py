"""What the parts of a prompt buy, in a world where that is known."""

from dataclasses import replace
from pathlib import Path

from suite_models import examples, task
from writing_world import RULES, World

from pp_assets.prompts.impact import impact, parts_of
from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.search.account import Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.wording import Shown, Wording
from pp_assets.task.prompt import template_fault

ROWS = examples(120)
KINDS = "The kinds ({{ labels.kind | join(', ') }}) are three."
TEMPLATE = f"Read this with care. {RULES['kind']}\n{KINDS}\nInput: {{{{ input_text }}}}\nNow answer."
SPEC = task(system_prompt="You answer. You use JSON.", instruction_template=TEMPLATE)


def test_a_prompt_falls_into_parts_that_can_each_be_left_out() -> None:
    shots = tuple(Shown(row.input_text, row.output) for row in examples(2, seed=9))
    wording = replace(Wording.of(SPEC), shots=shots)
    found = {part.name: part for part in parts_of(SPEC, wording)}
    assert list(found)[:3] == ["system prompt", "system prompt, sentence 1", "system prompt, sentence 2"]
    assert found["system prompt, sentence 2"].without.system == "You answer."
    texts = [part.text for part in found.values() if part.kind == "instruction"]
    assert texts == ["Read this with care.", RULES["kind"], KINDS, "Now answer."]
    assert found["list of labels"].without.template == TEMPLATE.replace(" ({{ labels.kind | join(', ') }})", "")
    assert [part.kind for part in found.values()][-3:] == ["example", "example", "examples"]
    assert found["example 2"].without.shots == shots[:1] and found["all examples"].without.shots == ()
    assert all(template_fault(part.without.template, '{"kind": []}') is None for part in found.values())
    assert len({part.without.digest(SPEC) for part in found.values()}) == len(found)


def test_blocks_of_a_template_stay_whole() -> None:
    template = "Read.{% if examples %} As here. {% endif %}\n{{ examples }}{{ input_text }}"
    found = parts_of(task(instruction_template=template), Wording("", template))
    assert all("{%" not in part.without.template or "endif" in part.without.template for part in found)


def test_the_part_that_helps_is_told_from_those_that_do_not(tmp_path: Path) -> None:
    world = World(base=0.5, lift=0.45)
    wording = Wording.of(SPEC)
    with Arena(SPEC, ChatTarget(world), tmp_path / "a.db", budget=Budget(None)) as arena:
        whole, found = impact(SPEC, arena, wording, ROWS, len)
        assert arena.calls == world.asked["task"] == len(ROWS) * (1 + len(found))
    by_text = {one.part.text: one for one in found}
    helps = by_text[RULES["kind"]]
    assert helps.verdict == "buys" and helps.effect.effect is not None and helps.effect.effect > 0.1
    assert helps.tokens == len(RULES["kind"]) + 1, "with the line end"
    assert {one.verdict for one in found if one is not helps} == {"not shown"}
    assert [one.effect.effect for one in found if one is not helps] == [0.0] * (len(found) - 1)
    assert helps.effect.p_holm is not None and helps.effect.p_value is not None and helps.effect.p_holm > helps.effect.p_value
    assert whole.scores.mean() - helps.effect.effect == helps.effect.other_value
