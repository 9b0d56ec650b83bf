"""Simulated traffic between variants, many runs side by side, by the functions that decide for one task (`pp_assets.routing`)."""

from dataclasses import dataclass, field, replace

import numpy as np

from pp_assets.evaluation.stats import generator
from pp_assets.routing import engine, wealth
from pp_assets.routing.policy import Routing

COHORT, DELTA, ALPHA = 50, 0.05, 0.05


@dataclass(frozen=True)
class Scenario:
    """`rates` (variants,) of right answers; from cohort `turn` on they are `later`. Good and bad words come `delays` cohorts after the
    request, by variant ((good, bad), ...), and a cohort counts when `horizon` cohorts have passed; None: every word counts at once.
    `copies` of each word are counted. `costs` (variants,) of an answer, worth `price` a unit. `invalid` (variants,) rates of a guard with
    `tolerance`; `watched`: the rate of right answers is a guard, too. All rates move in waves of `waves`. `scored`: answers have scores,
    Beta with this many trials. `answered` (variants,) shares of requests with feedback. `noted`: a way of counting that is not ours, shown
    for comparison. `least` is the minimum share."""

    name: str
    rates: tuple[float, ...]
    requests: int
    later: tuple[float, ...] = ()
    turn: int = 0
    delays: tuple[tuple[int, int], ...] = ()
    horizon: int | None = 0
    copies: int = 1
    costs: tuple[float, ...] = ()
    price: float = 0.0
    invalid: tuple[float, ...] = ()
    tolerance: float = 0.05
    watched: bool = False
    waves: float = 0.0
    scored: float = 0.0
    epsilon: float = 0.0
    answered: tuple[float, ...] = ()
    noted: bool = False
    least: float = 0.05
    leader_share: float = Routing.model_fields["leader_share"].default

    def at(self, cohort: int) -> np.ndarray:
        """Rates of right answers, all of them moved by the same wave."""
        now = np.array(self.later if self.later and cohort >= self.turn else self.rates)
        return now + self.waves * np.sin(cohort / 6)

    def worth(self, cohort: int) -> np.ndarray:
        return self.at(cohort) - self.price * np.array(self.costs or [0.0] * len(self.rates))

    @property
    def span(self) -> float:
        """Width of the range of right answers less cost."""
        return 1 + self.price * max(self.costs, default=0.0)


@dataclass
class Played:
    """What came of each run: the winner (-1: none) and after how many requests, requests until each variant was rolled back (inf: never),
    regret of each strategy."""

    winner: np.ndarray
    stopped: np.ndarray
    rolled_back: np.ndarray
    regret: dict[str, np.ndarray] = field(default_factory=dict)


def play(one: Scenario, runs: int, strategy: str) -> Played:
    k, cohorts = len(one.rates), one.requests // COHORT
    rng = generator(0, one.name, strategy)
    game = Game(one, runs, cohorts)
    shares = np.full((runs, k), 1 / k)
    regret, counted = np.zeros(runs), np.zeros((runs, k, 3))
    for i in range(cohorts):
        asked = rng.multinomial(COHORT, shares)
        worth = one.worth(i)
        regret += asked @ (worth.max() - worth)
        values = drawn(one, rng, asked if not one.answered else rng.binomial(asked, one.answered), i)
        if strategy == "top-two":
            game.take_in(i, asked, values, rng)
            shares = game.shares()
        elif strategy == "epsilon-greedy":
            counted += values
            rate = (counted[..., 1] + 1) / (counted[..., 0] + 2) - one.price * np.array(one.costs or [0.0] * k)
            shares = 0.1 / k + 0.9 * (np.arange(k) == rate.argmax(1)[:, None])
    return replace(game.played, regret={strategy: regret})


def drawn(one: Scenario, rng: np.random.Generator, asked: np.ndarray, cohort: int) -> np.ndarray:
    """(runs, variants, 3): n, sum and sum of squares of the answers' values in 0..1."""
    rates = one.at(cohort)
    if not one.scored:
        hits = rng.binomial(asked, rates)
        return np.stack([asked, hits, hits], -1).astype(float)
    each = rng.beta(rates * one.scored, (1 - rates) * one.scored, (COHORT, *asked.shape))
    each *= np.arange(COHORT)[:, None, None] < asked
    return np.stack([asked, each.sum(0), (each**2).sum(0)], -1)


class Game:
    """Many runs of `decision.decide` side by side: the same engine, with runs as the first axis."""

    def __init__(self, one: Scenario, runs: int, cohorts: int) -> None:
        k = len(one.rates)
        self.one, self.runs, self.k = one, runs, k
        self.totals, self.races = np.zeros((runs, k, 3)), np.zeros((runs, k, k, len(wealth.STAKES)))
        self.guards = {name: (np.zeros((runs, k, 3)), np.full((runs, k, len(wealth.STAKES)), -np.inf)) for name in self._guarded()}
        self.words = np.zeros((cohorts + 64, runs, k, 3))
        self.racing, self.suspected = np.ones((runs, k), dtype=bool), np.zeros((runs, k), dtype=bool)
        self.played = Played(np.full(runs, engine.NOBODY), np.full(runs, np.inf), np.full((runs, k), np.inf))

    def _guarded(self) -> list[str]:
        return ["invalid"] * bool(self.one.invalid) + ["right"] * self.one.watched

    def take_in(self, i: int, asked: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> None:
        for name, (totals, bets) in self.guards.items():
            table = values if name == "right" else _bad(rng, asked, np.array(self.one.invalid))
            growth = engine.guard_growth(totals, table, 0, self.one.tolerance)
            self.guards[name] = (totals + table, wealth.staked(bets, growth, i))
        self._roll_back(i)
        self._send(i, values)
        seen = i if self.one.horizon is None else i - self.one.horizon
        if seen >= 0:
            self._race(self.words[seen], i)

    def _send(self, i: int, values: np.ndarray) -> None:
        """Words of cohort i: where there is a horizon, all that came within it count for that cohort; else each for the one it comes in."""
        for variant in range(self.k):
            good, bad = self.one.delays[variant] if self.one.delays and self.one.horizon is None else (0, 0)
            n, hits, squares = (values[:, variant, j] for j in range(3))
            if good == bad == 0:
                self.words[i, :, variant] += self.one.copies * values[:, variant]
                continue
            self.words[i + good, :, variant] += np.stack([hits, hits, squares], -1)
            self.words[i + bad, :, variant, 0] += n - hits

    def _race(self, table: np.ndarray, i: int) -> None:
        if self.one.price:
            table = _less_cost(table, self.one.price * np.array(self.one.costs), self.one.span)
        open_runs = np.flatnonzero(self.played.winner == engine.NOBODY)
        self.races[open_runs] += engine.race_growth(self.totals[open_runs], table[open_runs], self.one.epsilon / self.one.span)
        self.totals += table
        won = engine.winner(wealth.log_e(self.races[open_runs]), self.racing[open_runs], self.suspected[open_runs], DELTA)
        self.played.winner[open_runs] = won
        self.played.stopped[open_runs[won != engine.NOBODY]] = (i + 1) * COHORT

    def _roll_back(self, i: int) -> None:
        needed = np.log(max(1, len(self.guards)) / ALPHA)
        self.suspected[:] = False
        for _, bets in self.guards.values():
            e = wealth.log_e(bets, wealth.reserve(i + 1))
            e[:, 0] = -np.inf
            breach = e >= needed
            self.suspected |= e > 0
            self.played.rolled_back[breach & self.racing] = (i + 1) * COHORT
            self.racing &= ~breach

    def shares(self) -> np.ndarray:
        """Those of runs that a winner ended need no beliefs."""
        found, least = np.zeros((self.runs, self.k)), self.one.least
        for ended in (False, True):
            part = (self.played.winner != engine.NOBODY) == ended
            totals = np.zeros((part.sum(), self.k, 3)) if ended else self.totals[part]
            if part.any():
                won, racing = self.played.winner[part], self.racing[part]
                found[part] = engine.shares(totals, racing, won, 0, least, self.one.leader_share, least if self.guards else 0.0)
        return found / found.sum(1, keepdims=True)


def _bad(rng: np.random.Generator, asked: np.ndarray, rates: np.ndarray) -> np.ndarray:
    good = asked - rng.binomial(asked, rates)
    return np.stack([asked, good, good], -1).astype(float)


def _less_cost(table: np.ndarray, worth: np.ndarray, span: float) -> np.ndarray:
    """Sums of (value - worth of its cost) in 0..1 over the range of that, from sums of values."""
    n, total, squares = (table[..., j] for j in range(3))
    shift = (span - 1) - worth
    return np.stack([n, (total + n * shift) / span, (squares + 2 * shift * total + n * shift**2) / span**2], -1)
