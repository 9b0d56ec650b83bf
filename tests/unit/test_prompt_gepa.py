"""GEPA on a model with known truth: it learns from failures, keeps a frontier, merges, and goes on after a kill."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from writing_world import RULES, SPLIT, TOLD, World, searched, seed_of, true_skill

from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.propose.operators import Operators
from pp_assets.prompts.propose.reflection import Reflection
from pp_assets.prompts.propose.template import added
from pp_assets.prompts.propose.variation import Crossover
from pp_assets.prompts.search.gepa import BATCH, Gepa, coverage, telling, unseen
from pp_assets.prompts.wording import Shown, Wording


def test_reflection_finds_all_rules_within_the_budget(tmp_path: Path) -> None:
    world = World(seed=1)
    found, arena, events = searched(Gepa(), tmp_path, world, proposers=[Reflection()], calls=1500)
    best = found[0].candidate
    assert all(rule in best.wording.template for rule in RULES.values())
    assert true_skill(world, best) > true_skill(world, seed_of(TOLD)) + 0.5
    assert sum(world.asked.values()) == arena.calls <= 1500
    assert best.origin.source == "reflection" and "does not say" in best.origin.note
    assert len({len(one.rows) for one in found}) == 1 and seed_of(TOLD).id in {one.candidate.id for one in found}
    rounds = [event for event in events if event["event"] == "round"]
    assert any(event["improved"] for event in rounds) and not all(event["improved"] for event in rounds)


def test_what_is_no_better_on_the_batch_is_judged_no_further(tmp_path: Path) -> None:
    _, _, events = searched(Gepa(), tmp_path, World(seed=1), proposers=[Operators()], calls=600)
    rejected = {event["candidate"] for event in events if event["event"] == "round" and not event["improved"]}
    judged = [event for event in events if event["event"] == "judged" and event["candidate"] in rejected]
    assert judged and all(event["rows"] <= BATCH for event in judged)


class OneRule:
    """Proposes the start's prompt with one rule, another in each step: what it makes can only be joined by a merge."""

    source = "one rule"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        rule = list(RULES.values())[seed % 3]
        own = seed_of(TOLD).wording
        return [Candidate.of(TOLD, added(TOLD, own, rule), Origin(self.source, (parents[0].candidate.id,)))]


def test_a_merge_joins_what_two_of_the_frontier_say(tmp_path: Path) -> None:
    found, _, events = searched(Gepa(), tmp_path, World(seed=6), proposers=[OneRule(), Crossover()], calls=2000)
    best = found[0].candidate
    assert best.origin.source == "crossover" and sum(rule in best.wording.template for rule in RULES.values()) >= 2
    parents = {one.candidate.id for one in found} & set(best.origin.parents)
    assert len(parents) == 2
    tried = [event["rows"] for event in events if event["event"] == "judged" and event["candidate"] == best.id]
    assert tried[0] <= 9 and tried[1] == 100, "on rows that tell first, then on all"


def test_all_proposers_take_part(tmp_path: Path) -> None:
    _, _, events = searched(Gepa(), tmp_path, World(seed=6))
    sources = {event["source"].partition(":")[0] for event in events if event["event"] == "proposed"}
    assert sources >= {"reflection", "operator", "demonstrations"}


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_after_a_kill_it_goes_on_as_if_there_had_been_none(tmp_path: Path, stop: int) -> None:
    whole = World(seed=4, broken=0.3)
    one_go, _, _ = searched(Gepa(), tmp_path / "whole", whole)
    world = World(seed=4, broken=0.3)
    with pytest.raises(KeyboardInterrupt):
        searched(Gepa(), tmp_path / "killed", world, stop=stop)
    found, arena, _ = searched(Gepa(), tmp_path / "killed", world)
    assert [(one.candidate, one.scores.tolist()) for one in found] == [(one.candidate, one.scores.tolist()) for one in one_go]
    assert world.asked == whole.asked and arena.calls == sum(whole.asked.values())


def test_it_ends_when_nobody_has_anything_new(tmp_path: Path) -> None:
    found, arena, _ = searched(Gepa(), tmp_path, World(seed=1), proposers=[Operators(names=("role",))], calls=100_000)
    assert arena.calls < 5000 and len(found) <= 2
    perfect = World(seed=1, base=1.0)
    found, arena, _ = searched(Gepa(), tmp_path / "perfect", perfect, calls=100_000)
    assert len(found) == 1 and perfect.asked["writer"] == 0


@given(arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.sampled_from([0.0, 0.5, 1.0])))
def test_the_frontier_covers_every_item(scores: np.ndarray) -> None:
    weights = coverage(scores)
    best = scores == scores.max(axis=0)
    assert best[weights > 0].any(axis=0).all(), "every item has one that stays and is best on it"
    assert all(weight in (0, count) for weight, count in zip(weights, best.sum(axis=1)))


def test_what_is_best_nowhere_alone_goes() -> None:
    assert coverage(np.array([[1, 1, 0], [0, 1, 1], [0, 1, 0]])).tolist() == [2, 2, 0]
    assert coverage(np.array([[1, 0], [1, 0.5]])).tolist() == [0, 2]
    assert coverage(np.array([[1.0, 1], [1, 1]])).tolist() == [2, 0], "of equal ones the first stays"


def test_telling_items_are_of_each_kind() -> None:
    first, second = np.array([1, 1, 1, 1, 1, 0, 0, 1, 0.5]), np.array([0, 0, 0, 0, 0, 1, 1, 1, 0.5])
    places = telling(first, second, np.random.default_rng(0))
    assert len(places) == 7 and set(places) >= {5, 6, 7, 8} and len(set(places)) == 7


def test_a_prompt_is_not_judged_by_what_it_shows() -> None:
    a, b, c, d = SPLIT.train[:4]
    twin = replace(b, group=a.group)
    shot = Shown(a.input_text, a.output, item_id=a.item_id)
    shows = Candidate.of(TOLD, Wording("", TOLD.instruction_template, (shot,)), Origin("x"))
    assert unseen(shows, [a, twin, c], [a, twin, c, d]) == [c] == unseen(shows, [twin, c], [a, twin, c])
    assert unseen(seed_of(TOLD), [a, twin, c], [a]) == [a, twin, c]
