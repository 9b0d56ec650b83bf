"""MIPRO on a model with known truth: better prompts within the budget, the same again, and nothing bought twice after a kill."""

from dataclasses import replace
from pathlib import Path

import pytest
from writing_world import SPLIT, TOLD, World, searched, seed_of, true_skill

from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.propose.operators import Operators
from pp_assets.prompts.search.mipro import BATCH, EVERY, Mipro, Plan, calls, plan, trials
from pp_assets.prompts.search.strategy import Rows
from pp_assets.prompts.wording import Shown


def test_the_plan_is_that_of_dspy_where_it_is_paid_for() -> None:
    assert [trials(n) for n in (6, 12, 18)] == [10, 18, 27]
    assert calls(10, 80) == 10 * BATCH + 3 * 80 and calls(4, 40) == 160
    assert plan(1000, 80) == Plan(6, 10, 80) and plan(1000, 500) == Plan(6, 10, 100)
    assert plan(2500, 300) == Plan(12, 18, 300) and plan(20_000, 2000) == Plan(18, 27, 1000)
    assert plan(200, 300) == Plan(6, 10, 25) and plan(40, 300) == Plan(6, 10, 16)


def test_a_better_prompt_is_found_within_the_budget(tmp_path: Path) -> None:
    start, gains = seed_of(TOLD), list[float]()
    for seed in (1, 2, 3):  # in each world some ten unpaired batches choose, which may be unlucky
        world = World(seed=seed)
        found, arena, events = searched(Mipro(), tmp_path / str(seed), world)
        gains.append(true_skill(world, found[0].candidate) - true_skill(world, start))
        assert sum(world.asked.values()) == arena.calls <= 900
        assert start.id in {one.candidate.id for one in found} and {len(one.rows) for one in found} == {100}
        means = [float(one.scores.mean()) for one in found]
        assert means == sorted(means, reverse=True) and len(found) >= 3
    assert min(gains) > 0 and sum(gains) / 3 > 0.1
    combined = [event for event in events if event["event"] == "proposed" and event["source"] == "mipro"]
    assert combined and all(len(event["parents"]) == 2 for event in combined)
    judged = [event["rows"] for event in events if event["event"] == "judged"]
    assert judged.count(BATCH) == 10 and judged.count(100) == 1 + 10 // EVERY


def test_the_same_search_finds_the_same(tmp_path: Path) -> None:
    first, second = (searched(Mipro(), tmp_path / str(i), World(seed=2))[0] for i in range(2))
    assert [(one.candidate, one.scores.tolist()) for one in first] == [(one.candidate, one.scores.tolist()) for one in second]


@pytest.mark.parametrize("stop", [2, 7, 12])
def test_after_a_kill_it_goes_on_as_if_there_had_been_none(tmp_path: Path, stop: int) -> None:
    whole = World(seed=4)
    one_go, _, _ = searched(Mipro(), tmp_path / "whole", whole)
    world = World(seed=4)
    with pytest.raises(KeyboardInterrupt):
        searched(Mipro(), tmp_path / "killed", world, stop=stop)
    found, arena, _ = searched(Mipro(), tmp_path / "killed", world)
    assert [one.candidate.id for one in found] == [one.candidate.id for one in one_go]
    assert world.asked == whole.asked and arena.calls == sum(whole.asked.values())


@pytest.mark.parametrize("budget", [20, 60, 130, 300])
def test_a_small_budget_is_kept(tmp_path: Path, budget: int) -> None:
    world = World(seed=1)
    found, arena, _ = searched(Mipro(), tmp_path, world, calls=budget)
    assert sum(world.asked.values()) == arena.calls <= budget
    assert seed_of(TOLD).id in {one.candidate.id for one in found}
    assert len(found) > 1 or budget < 130


def test_few_rows_are_judged_whole(tmp_path: Path) -> None:
    few = Rows(SPLIT.train, SPLIT.val[:40])
    found, _, events = searched(Mipro(), tmp_path, World(seed=1), rows=few)
    assert {event["rows"] for event in events if event["event"] == "judged"} == {40, 24} and len(found) >= 3


class Long:
    """Proposes prompts of which no two fit together."""

    source = "long"

    def propose(self, ground: Ground, parents: list[Judged], count: int, seed: int) -> list[Candidate]:
        own = parents[0].candidate.wording
        row = ground.train[0]
        shown = replace(own, shots=(Shown(row.input_text, row.output, item_id=row.item_id),) * 8)
        worded = [replace(own, system="word " * (300 + i)) for i in range(count)]
        return [Candidate.of(TOLD, one, Origin(self.source)) for one in (shown, *worded)]


def test_combinations_that_may_not_be_tried_end_nothing(tmp_path: Path) -> None:
    found, _, events = searched(Mipro(), tmp_path, World(seed=1), proposers=[Long()])  # type: ignore[list-item]
    refused = {event["candidate"] for event in events if event["event"] == "refused"}
    assert refused and not refused & {event["candidate"] for event in events if event["event"] == "judged"}
    assert len(found) > 1


def test_without_a_proposal_the_start_is_all_there_is(tmp_path: Path) -> None:
    found, _, _ = searched(Mipro(), tmp_path, World(seed=1), proposers=[Operators(names=())])
    assert [one.candidate for one in found] == [seed_of(TOLD)]
