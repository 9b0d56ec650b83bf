"""GEPA (arXiv 2507.19457): reflective search that keeps all candidates that are best on some row, and learns from few failures.

Our own and not the package: its loop is short, and on our arena it has the resume, the budget, the guards and the rows of every other
strategy; the package would bring a cache, a budget and a state of its own beside them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pp_assets.evaluation.stats.groups import generator
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Proposer
from pp_assets.prompts.propose.variation import Crossover
from pp_assets.prompts.search.account import BudgetSpent
from pp_assets.prompts.search.arena import Arena, Split
from pp_assets.prompts.search.halving import LEAST
from pp_assets.prompts.search.strategy import Guards, Intake, Rows, rank
from pp_assets.task.examples import Example

BATCH = 8  # training rows of a step
SHARE = 8  # a full judgement takes at most this part of the budget, so that some candidates can be had
MERGES, EACH = 5, 3  # merges of a search; rows of each kind (first better, second better, equal) that one is tried on
STEPS = 200  # the most, where the budget knows no end
STALE = 3  # rounds of all proposers without anything new, after which there is nothing more to learn


@dataclass(frozen=True)
class Gepa:
    """A step: a parent drawn by how many rows it is best on, its answers to a few training rows, a proposal from its failures there. What
    does better on these rows is judged on all rows to choose by. After each accepted one, two of the frontier are crossed (`merge`).
    `until` ends the search when it holds for the best candidate."""

    steps: int = STEPS
    until: Callable[[Judged], bool] = lambda _best: False
    merge: Proposer = field(default_factory=Crossover)
    name: str = "gepa"

    def search(
        self, arena: Arena, ground: Ground, start: Candidate, proposers: Sequence[Proposer], rows: Rows, *, seed: int, guards: Guards
    ) -> list[Judged]:
        chosen = rows.val[: max(min(LEAST, len(rows.val)), arena.left // SHARE)]
        now = _Steps(arena, Intake(arena, ground, guards, {start.id: start}), chosen, rows.train, seed)
        makers = [one for one in proposers if one.source != self.merge.source]
        try:
            now.pool[start.id] = arena.judge(start, chosen)
            step = fruitless = 0
            while makers and rows.train and step < self.steps and fruitless < STALE * len(makers) and not self.until(now.best[0]):
                accepted, new = now.step(makers[step % len(makers)], step)
                fruitless = 0 if new else fruitless + 1
                if accepted:
                    now.try_merge(self.merge, step)
                step += 1
        except BudgetSpent as spent:
            arena.on_event({"event": "budget spent", "why": str(spent)})
        return now.best


@dataclass
class _Steps:
    """`pool`: candidates judged on all rows to choose by, in the order in which they were accepted."""

    arena: Arena
    intake: Intake
    rows: Sequence[Example]
    train: Sequence[Example]
    seed: int
    pool: dict[str, Judged] = field(default_factory=dict)
    merges: int = 0

    @property
    def best(self) -> list[Judged]:
        return sorted(self.pool.values(), key=rank)

    def step(self, maker: Proposer, number: int) -> tuple[bool, bool]:
        """(whether a candidate was accepted, whether one was tried)."""
        [parent] = self._drawn(number, 1)
        seen = self.arena.judge(parent, self._batch(number), "train")
        if seen.scores.min() >= 1:
            return False, False
        proposed = maker.propose(self.intake.ground, [seen], 1, self.seed + number)
        for child in self.intake.admit(proposed, number)[:1]:
            rows = unseen(child, seen.rows, self.train)
            if not rows or self._score(child, rows, "train") <= self._score(parent, rows, "train"):
                self._told(number, child, False)
                return False, True
            self._accept(child, number)
            return True, True
        return False, False

    def try_merge(self, merge: Proposer, number: int) -> None:
        """Crosses two of the frontier; kept where it is no worse than the better one on rows on which they differ and on some others."""
        parents = self._drawn(number, 2)
        if len(parents) < 2 or self.merges >= MERGES:
            return
        first, second = (self.pool[one.id] for one in parents)
        for child in self.intake.admit(merge.propose(self.intake.ground, [first, second], 1, self.seed + number), number)[:1]:
            self.merges += 1
            places = telling(first.scores, second.scores, generator(self.seed, "merge", str(number)))
            best = max(float(one.scores[places].mean()) for one in (first, second))
            if self._score(child, [self.rows[i] for i in places]) >= best:
                self._accept(child, number)
            else:
                self._told(number, child, False)

    def _accept(self, child: Candidate, number: int) -> None:
        self.pool[child.id] = self.arena.judge(child, self.rows)
        self._told(number, child, True)

    def _told(self, number: int, child: Candidate, accepted: bool) -> None:
        best = self.best[0]
        event = {"event": "round", "round": number, "best": best.candidate.id, "score": best.score, "tried": 1}
        self.arena.on_event({**event, "candidate": child.id, "improved": accepted, **self.arena.spent})

    def _drawn(self, number: int, count: int) -> list[Candidate]:
        """Different candidates of the frontier, drawn by how many rows they are best on."""
        judged = list(self.pool.values())
        weights = coverage(np.stack([one.scores for one in judged]))
        count = min(count, int((weights > 0).sum()))
        rng = generator(self.seed, "parent", str(number), str(count))
        return [judged[i].candidate for i in rng.choice(len(judged), count, replace=False, p=weights / weights.sum())]

    def _batch(self, number: int) -> list[Example]:
        """Training rows in turn, each once before one comes again."""
        size = min(BATCH, len(self.train))
        turn, place = divmod(number, len(self.train) // size)
        order = generator(self.seed, "turn", str(turn)).permutation(len(self.train))
        return [self.train[i] for i in order[place * size : (place + 1) * size]]

    def _score(self, candidate: Candidate, rows: Sequence[Example], split: Split = "val") -> float:
        return self.arena.judge(candidate, rows, split).score


def coverage(scores: np.ndarray) -> np.ndarray:
    """On how many items each candidate is best, (candidates,) of scores (candidates, items). One that is best nowhere alone, where others
    that stay are best on all of its items, has 0."""
    best = scores == scores.max(axis=0)
    stays = np.ones(len(scores), bool)
    for i in sorted(range(len(scores)), key=lambda i: (scores[i].mean(), -i)):
        stays[i] = False
        stays[i] = not best[stays].any(axis=0)[best[i]].all()
    found: np.ndarray = best.sum(axis=1) * stays
    return found


def telling(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Places of some items on which the one is better, the other is, and neither."""
    kinds = [np.flatnonzero(mask) for mask in (first > second, second > first, first == second)]
    return [int(i) for kind in kinds for i in sorted(rng.permutation(kind)[:EACH])]


def unseen(candidate: Candidate, rows: Sequence[Example], train: Sequence[Example]) -> list[Example]:
    """Those rows that a candidate does not show, nor one of their group in `train`: by what a prompt shows it cannot be judged."""
    ids = {shot.item_id for shot in candidate.wording.shots}
    groups = {row.group for row in train if row.item_id in ids and row.group}
    return [row for row in rows if row.item_id not in ids and row.group not in groups]
