"""What a decision leaves for the next one, as plain values that survive JSON without loss."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from pp_assets.routing.policy import OBJECTIVE, Guard, Routing


class Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Latched(Plain):
    """Something that was decided once and stays: when the evidence for it was complete, and what it was."""

    at: float
    reason: str
    numbers: Mapping[str, float | int | str]


class Ledger(Plain):
    """The account of one metric: the end of the last cohort in it, how many there were, sums of each variant in 0..1 with 1 the best, and
    the logs of the stakes (variants x stakes; of the objective variants x variants x stakes), none before the first cohort."""

    until: float
    cohorts: int = 0
    totals: list[list[float]]
    wealth: list[list[float]] | list[list[list[float]]] = []


class State(Plain):
    """The account of an experiment. `since`: cohorts that began before have no part in it."""

    experiment: str
    since: float
    tests: dict[str, Ledger]
    winner: str | None = None
    won: Latched | None = None
    rolled_back: dict[str, Latched] = {}


class Watched(Plain):
    """One metric whose difference to the champion is tested. `warns`: a breach is told and rolls nothing back."""

    name: str
    low: float
    high: float
    higher_is_better: bool
    tolerance: float
    horizon: float
    warns: bool = False

    @classmethod
    def of(cls, guard: Guard) -> "Watched":
        kept = guard.model_dump(include={"low", "high", "higher_is_better", "tolerance", "horizon"})
        return cls(name=guard.name, **kept)


ANSWERED = ("answered less often", "answered more often")


def watched(policy: Routing) -> list[Watched]:
    """The guards, and whether feedback comes as often as the champion's: a winner by those who answer may be one by who answers."""
    answered = [
        Watched(name=name, low=0, high=1, higher_is_better=i == 0, tolerance=policy.answered_gap, horizon=policy.horizon, warns=True)
        for i, name in enumerate(ANSWERED)
    ]
    return [*(Watched.of(guard) for guard in policy.guards), *answered]


def fresh(policy: Routing, since: float) -> State:
    """An experiment in which nothing is known yet."""
    names = [OBJECTIVE, *(one.name for one in watched(policy))]
    empty = Ledger(until=since, totals=[[0.0, 0.0, 0.0] for _ in policy.variants])
    return State(experiment=policy.experiment, since=since, tests=dict.fromkeys(names, empty))
