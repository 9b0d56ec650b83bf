"""What every way of searching is: candidates in, finalists out, on one arena, under one budget, by one seed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Protocol

from pp_assets.prompts.candidate import Candidate, Ground, Judged, Proposer
from pp_assets.prompts.search.arena import Arena
from pp_assets.task.examples import Example

Guards = Callable[[Ground, Candidate], list[str]]
"""Why a candidate may not be tried, one sentence each; asked before a call is spent on it."""


@dataclass(frozen=True)
class Rows:
    """`train`: what proposers see and candidates are improved by; `val`: what they are chosen by. No row is in both, and none is a test
    row."""

    train: Sequence[Example]
    val: Sequence[Example]


class Strategy(Protocol):
    """The same arguments give the same finalists, where the same answers were free before: what is free leaves budget for more."""

    @property
    def name(self) -> str: ...

    def search(
        self, arena: Arena, ground: Ground, start: Candidate, proposers: Sequence[Proposer], rows: Rows, *, seed: int, guards: Guards
    ) -> list[Judged]:
        """Finalists, the best first, all judged on the same validation rows; `start` (the task's own wording) is always among them. Asks
        through `arena` alone, whose budget is that of the search: where it is spent, what was found so far is given."""
        ...


@dataclass
class Intake:
    """Lets candidates in: each reading once, none that a guard speaks against. Tells the arena's listener {"event": "proposed", …} and
    {"event": "refused", …}, which make the tree of a search."""

    arena: Arena
    ground: Ground
    guards: Guards
    known: dict[str, Candidate] = field(default_factory=dict)

    def admit(self, proposed: Iterable[Candidate], stage: int) -> list[Candidate]:
        """Those that may be tried, in their order; `stage` is the number of the round."""
        found = []
        for one in proposed:
            if one.id in self.known:
                continue
            self.known[one.id] = one
            told = {"candidate": one.id, "round": stage, "source": one.origin.source, "parents": list(one.origin.parents)}
            self.arena.on_event({"event": "proposed", **told, "note": one.origin.note, "by": one.origin.by})
            reasons = self.guards(self.ground, one)
            if reasons:
                self.arena.on_event({"event": "refused", "candidate": one.id, "round": stage, "reasons": reasons})
            else:
                found.append(one)
        return found


def rank(one: Judged) -> tuple[float, float, str]:
    """Better scores first; of equal ones that which reads and writes fewer tokens."""
    return -one.score, one.tokens, one.candidate.id


def in_turn(
    proposers: Sequence[Proposer], ground: Ground, parents: Sequence[Judged], count: int, seed: int, stage: int
) -> Iterator[Candidate]:
    """Proposals of all, one of each in turn: the first proposer begins in every round, with one more than its share, and of the others
    another one goes on. Where some have nothing to give, the others are asked for more, the first of `proposers` first."""
    if not proposers:
        return
    share = -(-count // len(proposers))
    made = [one.propose(ground, parents, share + (not place), seed) for place, one in enumerate(proposers)]
    for place, one in enumerate(proposers):
        short = count - len({candidate.id for given in made for candidate in given})
        if short > 0 and len(made[place]) >= share:
            made[place] = one.propose(ground, parents, len(made[place]) + short, seed)
    at = 1 + stage % max(1, len(proposers) - 1)
    yield from made[0][:1]
    for turn in zip_longest(made[0][1:], *made[at:], *made[1:at]):
        yield from (one for one in turn if one is not None)
