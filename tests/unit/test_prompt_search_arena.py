"""The arena: nothing is asked twice, every call is counted, and a killed search has the counts of one that was not."""

from pathlib import Path

import numpy as np
import pytest
from prompt_world import SPEC, World, rows, worded
from suite_models import task

from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.search.account import Budget, BudgetSpent
from pp_assets.prompts.search.arena import Arena
from pp_assets.task.contract.derive import derive
from pp_resources.errors import UserError
from pp_resources.models.price import Price

ROWS = rows(60)


def arena(place: Path, world: World, calls: int = 1000, **more: object) -> Arena:
    budget = more.pop("budget", Budget(calls))
    return Arena(SPEC, ChatTarget(world), place / "cells.db", budget=budget, ledger=place / "ledger.jsonl", **more)


def test_a_row_is_asked_once_of_a_candidate_and_scored_by_the_primary_metric(tmp_path: Path) -> None:
    world, heard = World(), []
    with arena(tmp_path, world, on_event=heard.append) as ring:
        first = ring.judge(worded(), ROWS[:20])
        assert len(world.asked) == ring.calls == 20 and ring.tokens == sum(p.tokens_in + p.tokens_out for p in first.answers)
        more = ring.judge(worded(), ROWS[10:40])
        assert len(world.asked) == ring.calls == 40 and (more.scores[:10] == first.scores[10:]).all()
        assert ring.calls_for(worded(), ROWS) == 20 and ring.calls_for(worded("gain10"), ROWS) == 60 and ring.left == 960
        # The order of rows is the caller's.
        again = ring.judge(worded(), ROWS[:20][::-1])
        assert (again.scores == first.scores[::-1]).all() and 0.2 < first.scores.mean() < 0.8
        better = ring.judge(worded("gain50"), ROWS)
    assert better.scores.mean() > 0.9 and set(first.scores) == {0.0, 1.0}
    assert [event["new"] for event in heard] == [20, 20, 0, 60] and heard[-1]["calls"] == 100 and heard[0]["cost_usd"] is None


def test_no_call_is_made_that_passes_the_budget(tmp_path: Path) -> None:
    world = World()
    ring = arena(tmp_path, world, 50)
    ring.judge(worded(), ROWS[:40])
    with pytest.raises(BudgetSpent, match="20 calls would pass the budget: 10 are left of 50 calls"):
        ring.judge(worded(), ROWS)
    assert len(world.asked) == 40
    ring.judge(worded(), ROWS[:50])
    assert (len(world.asked), ring.left) == (50, 0)
    ring.judge(worded(), ROWS[:50])


@pytest.mark.parametrize("budget", [Budget(None, tokens=1500), Budget(None, usd=0.002)])
def test_tokens_and_dollars_are_passed_by_no_more_than_a_batch(tmp_path: Path, budget: Budget) -> None:
    world = World(price=Price(1.0, 2.0))
    ring = arena(tmp_path, world, budget=budget)
    with pytest.raises(BudgetSpent):
        for row in ROWS:
            ring.judge(worded(), [row])
    spent, most = (ring.tokens, 1500) if budget.tokens else (ring.cost, 0.002)
    assert most * 0.9 < spent <= most and ring.calls == len(world.asked)


def test_dollars_of_a_model_without_a_price_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody said what this model costs"):
        arena(tmp_path, World(), budget=Budget(None, usd=1.0))


class Killed(World):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def _one(self, messages: object) -> object:
        if len(self.asked) == self.after:
            raise KeyboardInterrupt
        return super()._one(messages)


def search(ring: Arena) -> list[tuple[int, int, int]]:
    """Some judgements, and what the counts were after each."""
    counts = []
    for words, upto in (("", 20), ("gain10", 20), ("gain20", 20), ("gain20", 40), ("", 40)):
        ring.judge(worded(words), ROWS[:upto])
        counts.append((ring.calls, ring.tokens, ring.left))
    return counts


def test_after_a_kill_the_counts_are_those_of_a_run_without_one(tmp_path: Path) -> None:
    whole = World()
    counts = search(arena(tmp_path / "whole", whole))
    assert counts[-1][0] == len(whole.asked) == 100
    for after in (3, 41, 97):
        place, first, second = tmp_path / str(after), Killed(after), World()
        with pytest.raises(KeyboardInterrupt):
            search(arena(place, first))
        (place / "ledger.jsonl").open("ab").write(b'["cut o')
        ring = arena(place, second)
        assert search(ring) == counts, "the search decides as if nothing had happened"
        total = len(first.asked) + len(second.asked)
        assert 100 <= total <= 100 + ring.batch and ring.account.again <= ring.batch
    other = World()
    ring = Arena(SPEC, ChatTarget(other), tmp_path / "whole" / "cells.db", ledger=tmp_path / "other.jsonl")
    search(ring)
    assert (ring.calls, len(other.asked)) == (0, 0), "what another search bought is free"


def test_a_dimension_of_the_contract_has_a_score_for_each_row(tmp_path: Path) -> None:
    contract = derive(SPEC)
    with arena(tmp_path, World(), contract=contract) as ring:
        judged = ring.judge(worded(), ROWS[:12])
    assert list(judged.dimensions) == [d.label for d in contract.dimensions]
    assert all(values.shape == (12,) for values in judged.dimensions.values())
    assert any(np.nanmin(values) < np.nanmax(values) for values in judged.dimensions.values())


@pytest.mark.parametrize(
    ("metric", "right"),
    [("field_f1.urgent", 1.0), ("value_f1", 1.0), ("field_exact.urgent", 1.0), ("valid_but_wrong_rate", 1.0), ("field_exact_mean", 1.0)],
)
def test_more_is_better_by_every_metric(tmp_path: Path, metric: str, right: float) -> None:
    spec = task(system_prompt="Answer as JSON.", primary_metric={"name": metric, "higher_is_better": metric != "valid_but_wrong_rate"})
    with Arena(spec, ChatTarget(World(base=2.0)), tmp_path / "a.db") as ring:
        assert (ring.judge(worded(spec=spec), ROWS[:10]).scores == right).all()
    with Arena(spec, ChatTarget(World(base=-1.0)), tmp_path / "b.db") as ring:
        wrong = ring.judge(worded(spec=spec), ROWS[:10]).scores
    assert wrong.max() < 1 or metric == "value_f1", "urgency is no extracted value"
