"""Cohorts of a simulated task, for tests of decisions."""

from collections.abc import Mapping

import numpy as np

from pp_assets.routing.decision import Decision, decide
from pp_assets.routing.evidence import Cohort, Stats
from pp_assets.routing.policy import OBJECTIVE, Routing

EVERY = 100.0  # seconds between decisions


def share_of(hits: int, n: int) -> Stats:
    """So many ones among n values."""
    return Stats(n, float(hits), float(hits))


class World:
    """Answers of each variant: right at `rates`, flagged at `flags` by each guard, with feedback at `answered`."""

    def __init__(
        self,
        policy: Routing,
        rates: Mapping[str, float],
        flags: Mapping[str, Mapping[str, float]] | None = None,
        answered: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.policy, self.rates, self.flags, self.answered = policy, rates, flags or {}, answered or {}
        self.rng = np.random.default_rng(seed)
        self.cohorts: list[Cohort] = []

    def ask(self, decision: Decision) -> Cohort:
        """One cohort under the weights of a decision, with the copies of shadows."""
        counts = dict(zip(decision.weights, self.rng.multinomial(self.policy.cohort, list(decision.weights.values()))))
        counts |= {name: self.rng.binomial(self.policy.cohort, share) for name, share in decision.shadow.items()}
        stats = {name: self._stats(name, int(n)) for name, n in counts.items() if n}
        start = EVERY * len(self.cohorts)
        self.cohorts.append(Cohort(start, start + EVERY, stats, {name: int(n) for name, n in counts.items()}))
        return self.cohorts[-1]

    def _stats(self, name: str, n: int) -> dict[str, Stats]:
        found = {guard: share_of(int(self.rng.binomial(n, rates[name])), n) for guard, rates in self.flags.items()}
        if name in self.policy.weights:
            given = int(self.rng.binomial(n, self.answered.get(name, 1.0)))
            found[OBJECTIVE] = share_of(int(self.rng.binomial(given, self.rates[name])), given)
        return found

    def play(self, rounds: int) -> list[Decision]:
        """Decisions after each of so many cohorts, each from the state before and the newest cohorts that can matter."""
        made = [decide(None, [], self.policy, 0.0)]
        for _ in range(rounds):
            self.ask(made[-1])
            made.append(decide(made[-1].state, self.cohorts, self.policy, EVERY * len(self.cohorts)))
        return made[1:]
