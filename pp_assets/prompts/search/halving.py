"""Our own search: rounds of proposals, each halved on the same rows until one or two are left to be judged on all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy

from pp_assets.prompts.candidate import Candidate, Ground, Judged, Proposer
from pp_assets.prompts.search.account import BudgetSpent
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.strategy import Guards, Intake, Rows, in_turn, rank
from pp_assets.task.examples import Example

ROUNDS = 3
FEWEST, MOST = 3, 12  # candidates of a round; where the budget cannot halve so many in each, there are fewer rounds
FIRST = 10  # rows that a candidate is judged on at first, at least
LEAST, EACH = 16, 8  # rows that candidates are chosen by: an eighth of the budget for one candidate, so many at least
# Mistakes of the best candidate to learn from; training rows are asked until so many show, for a sixth of the budget at most.
MISTAKES, TAUGHT = 24, 5
BLOCK = 8  # training rows that are asked at once
PARENTS = 3
RACE = 0.2  # a paired race drops what is worse than the best with an error rate of so much: too loose to choose by


@dataclass
class _Standing:
    """What is known while a search runs: `full` are those judged on all rows to choose by; `taught` training rows may be asked."""

    arena: Arena
    rows: Sequence[Example]
    train: Sequence[Example]
    taught: int
    full: dict[str, Judged] = field(default_factory=dict)

    @property
    def best(self) -> list[Judged]:
        return sorted(self.full.values(), key=rank)

    def parents(self, count: int) -> list[Judged]:
        """The best so far, the first of them with its mistakes on training rows. Of the others the wording counts: to see the mistakes of
        all would cost as much as another round."""
        best = self.best[0].candidate
        seen = self.arena.judge(best, (), "train")
        for end in range(BLOCK, self.taught + BLOCK, BLOCK):
            if len(seen.scores) and int((seen.scores < 1).sum()) >= MISTAKES:
                break
            seen = self.arena.judge(best, self.train[: min(end, self.taught)], "train")
        return [seen, *(self.arena.judge(one.candidate, (), "train") for one in self.best[1:count])]


@dataclass(frozen=True)
class Halving:
    """`rounds` of proposals share the budget. In a round every candidate is judged on the same first rows; the better half is judged on
    twice as many, and so on. With `race` those that are surely worse than the best after the first rows go at once. `until` ends the search
    when it holds for the best candidate on all rows."""

    rounds: int = ROUNDS
    race: bool = True
    until: Callable[[Judged], bool] = lambda _best: False
    name: str = "halving"

    def search(
        self, arena: Arena, ground: Ground, start: Candidate, proposers: Sequence[Proposer], rows: Rows, *, seed: int, guards: Guards
    ) -> list[Judged]:
        chosen = rows.val[: max(min(LEAST, len(rows.val)), arena.left // EACH)]
        now = _Standing(arena, chosen, rows.train, min(len(rows.train), arena.left // TAUGHT))
        intake = Intake(arena, ground, guards, {start.id: start})
        try:
            now.full[start.id] = arena.judge(start, chosen)
            rounds = self._rounds(now)
            for stage in range(rounds):
                if self.until(now.best[0]) or not self._round(now, intake, proposers, stage, rounds - stage, seed):
                    break
        except BudgetSpent as spent:
            arena.on_event({"event": "budget spent", "why": str(spent)})
        return now.best

    def _rounds(self, now: _Standing) -> int:
        each = cost(rungs(len(now.rows)), FEWEST) + now.taught
        return max(1, min(self.rounds, now.arena.left // max(1, each)))

    def _round(self, now: _Standing, intake: Intake, proposers: Sequence[Proposer], stage: int, to_come: int, seed: int) -> bool:
        """False where nobody proposes anything new. It takes one of `to_come` equal parts of what is left."""
        arena = now.arena
        before = arena.left
        parents = now.parents(PARENTS)
        share = before // to_come - (before - arena.left)
        sizes = rungs(len(now.rows))
        count = affordable(sizes, share)
        proposed = in_turn(proposers, intake.ground, parents, count, seed + stage, stage)
        field_ = intake.admit(proposed, stage)[:count]
        if not field_:
            return False
        known = now.best[0].candidate.id
        now.full |= {one.candidate.id: one for one in self._halved(now, field_, sizes, stage)}
        best = now.best[0]
        told = {"event": "round", "round": stage, "best": best.candidate.id, "score": best.score, **arena.spent}
        arena.on_event(told | {"tried": len(field_), "improved": best.candidate.id != known})
        return True

    def _halved(self, now: _Standing, field_: Sequence[Candidate], sizes: Sequence[int], stage: int) -> list[Judged]:
        standing = list(field_)
        judged: list[Judged] = []
        for rung, size in enumerate(sizes):
            judged = sorted((now.arena.judge(one, now.rows[:size]) for one in standing), key=rank)
            if size == sizes[-1]:
                break
            kept = judged[: max(1, (len(judged) + 1) // 2)]
            if self.race and not rung:
                kept = raced(kept)
            standing = [one.candidate for one in kept]
            for gone in judged:
                if gone.candidate not in standing:
                    told = {"event": "dropped", "candidate": gone.candidate.id, "round": stage, "rows": size}
                    now.arena.on_event(told | {"score": gone.score})
        return judged


def rungs(rows: int) -> list[int]:
    """Numbers of rows, each twice the one before, that end with all."""
    sizes = [rows]
    while sizes[0] >= 2 * FIRST and len(sizes) < 5:
        sizes.insert(0, -(-sizes[0] // 2))
    return sizes


def cost(sizes: Sequence[int], count: int) -> int:
    """Calls that halving `count` candidates takes."""
    total, before = 0, 0
    for size in sizes:
        total, before, count = total + count * (size - before), size, max(1, (count + 1) // 2)
    return total


def affordable(sizes: Sequence[int], calls: int) -> int:
    """The most candidates that so many calls can halve; 1 where not even that is sure."""
    return max([1, *(count for count in range(1, MOST + 1) if cost(sizes, count) <= calls)])


def raced(judged: Sequence[Judged]) -> list[Judged]:
    """Those that are not worse than the first one by a one-sided paired t test at RACE."""
    return [judged[0], *(one for one in judged[1:] if not _worse(one.scores - judged[0].scores))]


def _worse(gaps: np.ndarray) -> bool:
    if len(gaps) < 2 or gaps.mean() >= 0:
        return False
    spread = gaps.std(ddof=1)
    return bool(spread == 0 or scipy.stats.t.cdf(gaps.mean() / (spread / len(gaps) ** 0.5), len(gaps) - 1) < RACE)
