"""Reasonings written by a model: kept where they lead to the answer; prompts with and without them side by side."""

from dataclasses import replace
from pathlib import Path

import pytest
from suite_models import examples, task
from thinking_world import Thinker
from writing_world import World

from pp_assets.prompts.measured import beside
from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.reasoning import checks
from pp_assets.prompts.reasoning.benchmark import benchmark, pair_of
from pp_assets.prompts.reasoning.extract import extracted
from pp_assets.prompts.reasoning.rationales import NO_ANSWER, NOT_DERIVED, OWN, TOLD, rationales, shown_behind
from pp_assets.prompts.search.account import Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.wording import Wording

SPEC = task()
TRAIN = examples(60)
VAL = [replace(row, item_id=f"v{row.item_id}", group=f"v{row.group}") for row in examples(150, seed=5)]


def arena(tmp_path: Path, world: World, calls: int | None = None) -> Arena:
    return Arena(SPEC, ChatTarget(world), tmp_path / "cells.db", budget=Budget(calls))


def test_only_what_leads_to_the_answer_is_kept(tmp_path: Path) -> None:
    world = Thinker(base=0.8, silent=0.2, lies=0.3)
    with arena(tmp_path, world) as ring:
        found = rationales(SPEC, TRAIN, ring, world)
    checker = checks.StepChecker(SPEC.output_schema)
    assert set(found.sources) == {OWN, TOLD} and len(found.kept) + found.rejected.total() == len(TRAIN)
    assert all(not checker.faults(one.example.input_text, one.example.output, one.steps) for one in found.kept)
    assert found.rejected[NO_ANSWER] > 0 and found.rejected[checks.NOT_ENTAILED] > 0 and not found.stopped
    assert world.asked["writer"] == len(TRAIN) - found.sources[OWN], "the writer is asked where the model was wrong by itself"


def test_steps_that_do_not_lead_there_by_themselves_are_rejected(tmp_path: Path) -> None:
    class Stubborn(Thinker):
        def skill(self, prompt: str, name: str, kind: str) -> float:
            return World.skill(self, prompt, name, kind)

    world = Stubborn(base=0.7)
    with arena(tmp_path, world) as ring:
        found = rationales(SPEC, TRAIN, ring, world)
    assert found.rejected[NOT_DERIVED] > 0 and TOLD not in found.sources, "what was wrong stays wrong behind the steps"


def test_without_a_writer_a_model_keeps_what_it_got_right(tmp_path: Path) -> None:
    world = Thinker(base=0.8, loose=0.5)
    with arena(tmp_path, world) as ring:
        found = rationales(SPEC, TRAIN, ring)
    assert set(found.sources) == {OWN} and found.rejected[checks.CONTRADICTION] > 0 and world.asked["writer"] == 0


def test_a_spent_budget_ends_the_writing_with_what_there_is(tmp_path: Path) -> None:
    with arena(tmp_path, Thinker(), calls=10) as ring:
        found = rationales(SPEC, TRAIN, ring)
    assert found.kept == [] and "10 calls" in found.stopped


def test_a_text_with_steps_behind_it_names_no_answer_as_such() -> None:
    made = extracted(SPEC, TRAIN)[0]
    behind = shown_behind(made)
    assert behind.startswith(made.example.input_text) and all(f"- {step}" in behind for step in made.steps) and "{" not in behind


@pytest.mark.parametrize("thought", [0.15, 0.0])
def test_what_reasoning_is_worth_is_measured_against_its_twin(tmp_path: Path, thought: float) -> None:
    world = Thinker(base=0.75, thought=thought, loose=0.25)
    pair = pair_of(SPEC, Wording.of(SPEC), extracted(SPEC, TRAIN)[:3], "read off")
    assert [one.output for one in pair.plain.wording.shots] == [one.output for one in pair.reasoned.wording.shots]
    assert all(one.reasoning for one in pair.reasoned.wording.shots) and not any(one.reasoning for one in pair.plain.wording.shots)
    with arena(tmp_path, world) as ring:
        found = benchmark(SPEC, ring, pair, VAL)
    quality = found.beside.quality
    assert quality.p_value is not None and (quality.p_value < 0.05) == bool(thought) and quality.n == len(VAL)
    assert found.beside.tokens.effect is not None and found.beside.tokens.effect < -40, "steps are paid for"
    passing = found.consistency.passing
    assert passing.low is not None and passing.high is not None and passing.low < 0.75 < passing.high
    assert found.consistency.reasons[checks.CONTRADICTION] == round((1 - (passing.value or 0)) * len(VAL))
    assert found.consistency.when_passing.n + found.consistency.when_not.n == len(VAL)


def test_fewer_tokens_are_better(tmp_path: Path) -> None:
    with arena(tmp_path, World()) as ring:
        pair = pair_of(SPEC, Wording.of(SPEC), extracted(SPEC, TRAIN)[:2])
        short = ring.judge(replace(pair.plain, id="short", wording=Wording.of(SPEC)), VAL)
        long = ring.judge(pair.plain, VAL)
    found = beside(SPEC, short, long)
    assert found.tokens.effect is not None and found.tokens.effect > 0 and found.tokens.p_value is not None and found.tokens.p_value < 0.001
