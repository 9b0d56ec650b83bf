"""The search: what is better is found within the budget, and what is not better is not released."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prompt_world import SPEC, Words, World, rows, worded
from suite_models import task

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.search.account import Account, Budget, BudgetSpent
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.gate import Limits, rule, worth_testing
from pp_assets.prompts.search.halving import Halving, affordable, cost, raced, rungs
from pp_assets.prompts.search.pareto import pareto, pareto_plot
from pp_assets.prompts.search.splits import balanced, search_rows
from pp_assets.prompts.search.strategy import Rows, in_turn
from pp_assets.prompts.search.tree import Tree, last_judged
from pp_assets.prompts.search.writer import KeptWriter
from pp_resources.models.chat import Reply
from pp_resources.models.interface import Prediction
from pp_resources.models.price import Price

ALL = rows(400)
SPLIT = Rows(ALL[:100], ALL[100:180])
WORDS = [f"gain{n}" for n in (5, -10, 20, 30, 10, -20, 15, 0, -5, 1, 2, 3)]


def free(_ground: Ground, candidate: Candidate) -> list[str]:
    return ["too long"] if "gain20" in candidate.wording.system else []


def searched(
    place: Path, world: World, words: Sequence[str] = WORDS, calls: int = 400, **how: Any
) -> tuple[list[Judged], Arena, list[Any]]:
    events: list[Any] = []
    ring = Arena(SPEC, ChatTarget(world), place / "cells.db", budget=Budget(calls), ledger=place / "ledger.jsonl", on_event=events.append)
    ground, proposers = Ground(SPEC, SPLIT.train), [Words(words)]
    found = Halving(**how).search(ring, ground, worded(), proposers, SPLIT, seed=1, guards=free)
    return found, ring, [*events, proposers[0]]


def test_what_is_best_is_found_within_the_budget(tmp_path: Path) -> None:
    world = World()
    found, ring, heard = searched(tmp_path, world)
    best, words = found[0].candidate, heard.pop()
    assert best.wording.system.startswith("gain30") and best.origin.parents == (worded().id,)
    assert len(world.asked) == ring.calls <= 400
    assert worded().id in {one.candidate.id for one in found} and len({len(one.rows) for one in found}) == 1
    train = {row.item_id for row in SPLIT.train}
    assert words.seen and all(set(ids) <= train for ids in words.seen), "proposers see training rows alone"
    refused = [event for event in heard if event["event"] == "refused"]
    assert [event["reasons"] for event in refused] == [["too long"]]
    assert not any(event["event"] == "judged" and event["candidate"] == refused[0]["candidate"] for event in heard)
    kinds = {event["event"] for event in heard}
    assert {"proposed", "refused", "judged", "dropped", "round"} <= kinds
    again, _, _ = searched(tmp_path / "again", World())
    assert [one.candidate.id for one in again] == [one.candidate.id for one in found]


def test_the_tree_compares_scores_on_the_rows_to_choose_by_alone(tmp_path: Path) -> None:
    found, _, heard = searched(tmp_path, World())
    start, best, tree = worded().id, found[0].candidate.id, Tree()
    tree.hear({"event": "start", "candidate": start, "source": "seed", "parents": [], "note": "", "by": ""})
    for event in heard[:-1]:
        tree.hear(event)
    tree.hear({"event": "judged", "candidate": best, "split": "test", "rows": 500, "score": 0.1})
    scores = {one.candidate.id: (float(one.scores.mean()), len(one.rows)) for one in found}
    assert {name: last_judged(tree.nodes[name]) for name in scores} == scores
    learnt = [one for one in tree.nodes[start]["judged"] if one["split"] == "train" and one["rows"]]
    assert learnt and max(one["rows"] for one in learnt) != scores[start][1], "what it was to learn from was asked too"
    states = {node["state"] for node in tree.plain if last_judged(node) == (None, 0)}
    assert "judged" not in states, "who was never asked was not judged"


@pytest.mark.parametrize("calls", [60, 150, 250])
def test_small_budgets_are_kept(tmp_path: Path, calls: int) -> None:
    world = World()
    found, ring, _ = searched(tmp_path, world, calls=calls)
    assert len(world.asked) == ring.calls <= calls and found[-1].scores.size >= 15


def test_a_budget_that_is_too_small_for_anything_gives_the_start(tmp_path: Path) -> None:
    found, _, heard = searched(tmp_path, World(), calls=20)
    assert [one.candidate.id for one in found] == [worded().id] and heard[-2]["event"] == "budget spent"


def test_a_search_ends_when_its_target_is_met(tmp_path: Path) -> None:
    _, whole, _ = searched(tmp_path / "whole", World(), calls=2000)
    found, ring, _ = searched(tmp_path / "until", World(), calls=2000, until=lambda best: best.scores.mean() >= 0.7)
    assert ring.calls < whole.calls and found[0].scores.mean() >= 0.7


def test_without_proposals_the_start_is_all_there_is(tmp_path: Path) -> None:
    found, ring, _ = searched(tmp_path, World(), words=[])
    assert len(found) == 1 and worth_testing(found, worded().id)[0] is None and ring.calls == 98


def test_where_one_has_nothing_to_give_another_is_asked_for_more() -> None:
    parent = Judged(worded(), ALL[:1], [Prediction("{}")], np.zeros(1))
    ask = lambda makers, count: [one.origin.note for one in in_turn(makers, Ground(SPEC, []), [parent], count, 0, 0)]  # noqa: E731
    assert ask([Words(WORDS), Words([]), Words(["gain9"])], 6) == ["gain5", "gain-10", "gain9", "gain20", "gain30", "gain10"]
    assert ask([Words(["gain1", "gain2"]), Words(["gain3", "gain4"])], 4) == ["gain1", "gain2", "gain3", "gain4"] and ask([], 4) == []


def test_halving_takes_the_calls_it_says() -> None:
    assert rungs(80) == [10, 20, 40, 80] and rungs(15) == [15] and rungs(1000)[-1] == 1000 and len(rungs(1000)) == 5
    assert cost([10, 20, 40, 80], 8) == 80 + 40 + 40 + 40
    assert affordable([10, 20, 40, 80], 200) == 8 and affordable([10], 5) == 1 and affordable([10], 10_000) == 12


def test_a_race_drops_what_is_surely_worse() -> None:
    def judged(name: str, scores: Sequence[float]) -> Judged:
        one = Candidate.of(SPEC, worded(name).wording, Origin("x"))
        return Judged(one, ALL[: len(scores)], [Prediction("{}")] * len(scores), np.array(scores))

    best, close, far, same = (
        judged("a", [1.0] * 10),
        judged("b", [1.0] * 9 + [0.0]),
        judged("c", [0.0] * 10),
        judged("d", [1.0] * 10),
    )
    assert raced([best, same, far]) == [best, same] and raced([best, far]) == [best]
    assert raced([judged("e", [1, 0] * 5), judged("f", [0, 1] * 5)])[1:], "as good"
    assert raced([best, close]) == [best], "a loose race: one row of ten is enough"


def test_rows_to_choose_by_are_held_aside_where_validation_is_small() -> None:
    twins = [replace(row, group=f"t{i // 3}") for i, row in enumerate(rows(120, 2))]
    val = [replace(row, item_id=f"v{row.item_id}", group=f"v{row.group}") for row in rows(20, 3)]
    split = search_rows(SPEC.output_schema, twins, val, 5)
    assert len(split.train) + len(split.val) == 140 and len(split.train) >= 60 and len(split.val) >= 78
    assert not {row.group for row in split.train} & {row.group for row in split.val}
    assert split == search_rows(SPEC.output_schema, twins[::-1], val[::-1], 5) != search_rows(SPEC.output_schema, twins, val, 6)
    full = search_rows(SPEC.output_schema, twins, [replace(one, item_id=f"w{i}", group=f"w{i}") for i, one in enumerate(rows(150))], 5)
    assert len(full.train) == 120 and len(full.val) == 150


def test_any_beginning_of_the_rows_has_the_shares_of_all() -> None:
    order = balanced(SPEC.output_schema, ALL, 1)
    assert sorted(row.item_id for row in order) == sorted(row.item_id for row in ALL)
    for kind in ("billing", "delivery", "returns"):
        share = np.mean([row.output["kind"] == kind for row in ALL])
        for upto in (15, 30, 100):
            assert abs(np.mean([row.output["kind"] == kind for row in order[:upto]]) - share) <= 2 / upto


def test_the_front_holds_what_nothing_beats(tmp_path: Path) -> None:
    with Arena(SPEC, ChatTarget(World()), tmp_path / "cells.db") as ring:
        judged = [
            ring.judge(worded(words), ALL[:40]) for words in ("", "gain40", "gain-40 and many more words than it needs", "gain40 again")
        ]
    points = pareto(judged, OutputReader(ring.scoring.schema, ring.scoring.compare))
    assert [one.front for one in points] == [True, True, False, False] and points[1].quality > points[0].quality
    assert points[0].tokens < points[1].tokens and points[0].invalid == 0 and points[0].latency_ms == pytest.approx(10)
    assert pareto_plot(points, {}, "object_exact_match").startswith(b"\x89PNG")


def both(place: Path, words: str, count: int = 400, **changes: Any) -> tuple[Any, Judged, Judged]:
    spec = task(system_prompt="Answer as JSON.", **changes)
    with Arena(spec, ChatTarget(World()), place / "cells.db", budget=Budget(None)) as ring:
        return spec, ring.judge(worded(words, spec), ALL[:count]), ring.judge(worded(spec=spec), ALL[:count])


def test_what_is_better_is_released_and_what_is_worse_is_called_so(tmp_path: Path) -> None:
    found = rule(*both(tmp_path, "gain20"))
    assert found.label == "RELEASE" and found.tested and 0.1 < found.comparison["effect"] < 0.3 and found.comparison["n"] == 400
    assert rule(*both(tmp_path, "gain-20")).label == "WORSE"
    json.dumps(found.plain, allow_nan=False)


def test_a_small_gain_is_not_proven_and_told_what_would_do(tmp_path: Path) -> None:
    found = rule(*both(tmp_path, "gain6", 40))
    assert found.label == "NOT PROVEN" and found.needed and found.needed > 40
    assert f"About {found.needed} test rows would show such an effect." in found.reasons


def test_a_gain_below_what_the_task_asks_for_is_not_released(tmp_path: Path) -> None:
    found = rule(*both(tmp_path, "gain20", primary_metric={"name": "object_exact_match", "min_effect": 0.3}))
    assert found.label == "NOT PROVEN" and "The gain is smaller than the 0.3 that the task asks for." in found.reasons


def test_limits_and_floors_hold_a_better_prompt_back(tmp_path: Path) -> None:
    spec, ours, own = both(tmp_path, "gain20")
    limited = rule(spec, ours, own, Limits(tokens=10))
    assert limited.label == "NOT PROVEN" and any("10 are allowed" in reason for reason in limited.reasons)
    fine = np.ones(len(ALL))
    kept = rule(spec, replace(ours, dimensions={"tone": fine}), replace(own, dimensions={"tone": fine}))
    assert kept.label == "RELEASE"
    lost = rule(spec, replace(ours, dimensions={"tone": fine * 0.5}), replace(own, dimensions={"tone": fine}))
    assert lost.label == "NOT PROVEN" and any(reason.startswith("Dimension 'tone' is surely worse") for reason in lost.reasons)
    broken = [replace(said, text="no") if i < 40 else said for i, said in enumerate(ours.answers)]
    invalid = rule(spec, replace(ours, answers=broken), own)
    assert any(reason.startswith("The share of valid answers is surely worse") for reason in invalid.reasons)


@pytest.mark.parametrize(("asked", "broken"), [({"sample_size": "> 10000"}, "sample_size"), ({"statistical_power": "> 0.99999"}, "power")])
def test_a_test_must_be_what_the_task_s_rules_ask_for(tmp_path: Path, asked: dict[str, str], broken: str) -> None:
    found = rule(*both(tmp_path, "gain20", validation_rules={"evaluation_validity": [asked, {"bias_checks": "passed"}]}))
    assert found.label == "NOT PROVEN" and [broken in reason for reason in found.reasons] == [False, True]


def test_no_slice_may_be_surely_worse(tmp_path: Path) -> None:
    spec, ours, own = both(tmp_path, "gain40")
    wrong = [
        own.answers[i] if row.output["kind"] != "returns" else replace(ours.answers[i], text='{"kind":"billing"}')
        for i, row in enumerate(ours.rows)
    ]
    better = [said if row.output["kind"] == "returns" else ours.answers[i] for i, (row, said) in enumerate(zip(ours.rows, wrong))]
    found = rule(spec, replace(ours, answers=better), own)
    assert found.label == "NOT PROVEN" and any(one["worse"] and "returns" in one["of"] for one in found.floors)


def test_a_best_one_that_was_not_better_where_it_was_chosen_is_not_tested(tmp_path: Path) -> None:
    found, _, _ = searched(tmp_path, World(noise=0.0), words=["gain-10", "gain-30"])
    chosen, why = worth_testing(found, worded().id)
    assert chosen is None and "No candidate was better" in why


class Pen:
    name, identity, price = "pen", "pen-1", Price(1, 1)

    def __init__(self, until: int = 10**9) -> None:
        self.said, self.until = 0, until

    def ask_all(self, asked: Any, *, seed: int = 0, **_how: Any) -> list[Reply]:
        if self.said >= self.until:
            raise KeyboardInterrupt
        self.said += len(asked)
        return [Reply(f"{messages[0]['content']} {seed}", 10, 5, False) for messages in asked]


def test_what_a_writer_says_is_kept_and_counted(tmp_path: Path) -> None:
    def asked(pen: Pen, calls: int = 100) -> tuple[list[str], Account]:
        account = Account(Budget(calls), tmp_path / "ledger.jsonl")
        with Arena(SPEC, ChatTarget(World()), tmp_path / "cells.db", account=account) as ring:
            writer = KeptWriter(pen, ring.store, account)
            said = writer.ask_all([[{"role": "user", "content": f"say {i}"}] for i in range(9)], temperature=1.0, seed=3)
            said += [writer.ask([{"role": "user", "content": "say 1"}], temperature=1.0, seed=seed) for seed in (3, 4)]
        return [one.text for one in said], account

    with pytest.raises(KeyboardInterrupt):
        asked(Pen(until=8))
    pen = Pen()
    said, account = asked(pen)
    assert said == [*(f"say {i} 3" for i in range(9)), "say 1 3", "say 1 4"]
    assert pen.said == 2 and account.calls == 10 and account.tokens == 150
    with pytest.raises(BudgetSpent):
        asked(Pen(), calls=5)
