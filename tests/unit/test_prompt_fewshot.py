"""Examples by search: choice, count and order."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from suite_models import examples, task
from writing_world import World, ground_of, judged, seed_of

from pp_assets.data.generation.grid import Grid
from pp_assets.data.generation.slots import Slots
from pp_assets.evaluation.stats.groups import Clusters
from pp_assets.prompts.candidate import Candidate, Ground, Origin
from pp_assets.prompts.fewshot import CHOOSERS, COUNTS, Sets, in_orders, order_spread
from pp_assets.prompts.guards import guards
from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.search.account import Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.strategy import Rows
from pp_assets.prompts.wording import Shown, Wording
from pp_assets.task.examples import Example

SPEC = task()
TRAIN, VAL = examples(80, seed=1), examples(60, seed=2)
VAL = [type(row)(f"v{row.item_id}", row.input_text, row.output, group=f"v{row.group}") for row in VAL]
CORNERS = {"billing": (1.0, 0.0, 0.0), "delivery": (0.0, 1.0, 0.0), "returns": (0.0, 0.0, 1.0)}


def vectors(texts: list[str]) -> np.ndarray:
    """Near the corner of the row's kind; the first one of each kind lies on it."""
    kinds = {row.input_text: row.output["kind"] for row in TRAIN}
    tilted = np.array([CORNERS[kinds[text]] for text in texts]) + np.arange(len(texts))[:, None] * np.array([[1e-3, 2e-3, 3e-3]])
    return tilted / np.linalg.norm(tilted, axis=1, keepdims=True)


def ground(world: World | None = None, **options: Any) -> Ground:
    return ground_of(world, TRAIN, SPEC, embed=vectors, options=options or {"max_prompt_tokens": 10_000})


def test_choosers_choose_as_they_say() -> None:
    parent, grid = judged(World(), SPEC, seed_of(SPEC), TRAIN[:20]), Grid(Slots(SPEC.output_schema, TRAIN))
    labels = {grid.label(row.output) for row in TRAIN}

    def chosen(name: str, of: Ground) -> list[Example]:
        return CHOOSERS[name](of, parent, np.random.default_rng(0), 1.0)

    firsts = chosen("prototypes", ground())[: len(labels)]
    assert {grid.label(row.output) for row in firsts} == labels and chosen("prototypes", ground_of(None, TRAIN, SPEC)) == []
    assert (
        sorted(row.item_id for row in chosen("drawn", ground()))
        == [row.item_id for row in TRAIN]
        != [r.item_id for r in chosen("drawn", ground())]
    )
    own = dict(zip([row.item_id for row in TRAIN], vectors([row.input_text for row in TRAIN])))
    for first in firsts:
        others = np.array([own[row.item_id] for row in TRAIN if grid.label(row.output) == grid.label(first.output)])
        assert float(own[first.item_id] @ others.mean(0)) == pytest.approx(float((others @ others.mean(0)).max()))


def test_smaller_sets_are_the_beginning_of_larger_ones_and_fit() -> None:
    start = judged(World(base=0.85), SPEC, seed_of(SPEC), TRAIN[:30])
    made = Sets().propose(ground(), [start], 24, 3)
    assert made == Sets().propose(ground(), [start], 24, 3)
    by_name: dict[str, list[Candidate]] = {}
    for one in made:
        by_name.setdefault(one.origin.source, []).append(one)
    assert set(by_name) == {f"examples:{name}" for name in CHOOSERS}
    for name, several in by_name.items():
        several = several[: len(COUNTS)]
        assert [len(one.wording.shots) for one in several] == [8, 4, 2, 1], name
        assert all(one.wording.shots == several[0].wording.shots[: len(one.wording.shots)] for one in several)
    used = len(ground().train[0].input_text) * 2
    tight = Sets().propose(ground(max_prompt_tokens=used + 100), [start], 24, 3)
    assert tight and {len(one.wording.shots) for one in tight} == {1}, "there is room for one example"


def test_no_two_examples_are_of_one_group() -> None:
    twins = [replace(row, group="one") for row in TRAIN[:5]] + TRAIN[5:8]
    start = judged(World(), SPEC, seed_of(SPEC), TRAIN[:1])
    sets = Sets((4, 400), ("drawn",))
    [made] = sets.propose(ground_of(None, twins, SPEC), [start], 1, 0)
    assert sets.made == {4}, "400 are not there"
    groups = {row.item_id: row.group for row in twins}
    assert len({groups[shot.item_id] for shot in made.wording.shots}) == 4


def test_the_search_finds_that_examples_help(tmp_path: Path) -> None:
    world = World(base=0.6, demo=0.15)
    with Arena(SPEC, ChatTarget(world), tmp_path / "a.db", budget=Budget(1500)) as arena:
        found = Halving(rounds=1).search(arena, ground(world), seed_of(SPEC), [Sets((1, 6))], Rows(TRAIN, VAL), seed=1, guards=guards)
        assert arena.calls == world.asked["task"] <= 1500
    assert len(found[0].candidate.wording.shots) == 6 and found[0].scores.mean() > found[-1].scores.mean()


class Late(World):
    """The kind of the last example is answered better, that of the others worse."""

    identity = "late"

    def skill(self, prompt: str, name: str, kind: str) -> float:
        shown_kinds = re.findall(r'"kind":"(\w+)"', prompt)
        return 0.95 if shown_kinds and shown_kinds[-1] == kind else 0.5


@pytest.mark.parametrize(("world", "matters"), [(Late(), True), (World(base=0.8, demo=0.05), False)])
def test_how_much_the_order_matters_is_told(tmp_path: Path, world: World, matters: bool) -> None:
    rows = [row for row in VAL if row.output["kind"] != "returns"]
    chosen = [next(row for row in TRAIN if row.output["kind"] == kind) for kind in ("billing", "returns")]
    shots = tuple(Shown(row.input_text, row.output) for row in chosen)
    with Arena(SPEC, ChatTarget(world), tmp_path / "a.db", budget=Budget(None)) as arena:
        first = arena.judge(Candidate.of(SPEC, Wording("", SPEC.instruction_template, shots), Origin("set")), rows)
        found = in_orders(arena, first, 4, 0)
    assert len(found.judged) == 2, "two examples have two orders"
    assert found.spread is not None and (found.spread.p_value < 0.01) == matters
    assert found.spread.lowest <= found.spread.highest and found.spread.low <= found.spread.spread <= found.spread.high + 1e-9
    assert (found.spread.spread > 0.05) == matters


def test_the_spread_of_orders_is_that_beyond_chance() -> None:
    rng, clusters = np.random.default_rng(0), Clusters.of([str(i) for i in range(400)])
    true = np.array([0.5, 0.6, 0.7, 0.8])
    found = order_spread((rng.random((4, 400)) < true[:, None]).astype(float), clusters, 0)
    assert abs(found.spread - true.std(ddof=1)) < 0.04 and found.low < true.std(ddof=1) < found.high and found.p_value < 0.001
    p_values = [
        order_spread((rng.random((4, 60)) < 0.7).astype(float), Clusters.of([str(i) for i in range(60)]), i).p_value for i in range(40)
    ]
    assert np.mean(np.array(p_values) < 0.1) <= 0.25, "without an effect small p values are rare"


def test_the_world_is_as_it_says() -> None:
    late = Late()
    prompt = [{"role": "user", "content": 'Output: {"kind":"billing"}\nInput: My order A-1234'}]
    assert json.loads(late.ask(prompt).text)["order"] in ("A-1234", "none")
