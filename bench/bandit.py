"""Do variant weights keep their word? Wrong winners, values until there is one, regret, roll-backs, over simulated traffic.

    .venv/bin/python -m bench.bandit [--runs 1000] [--only clear,close] [--record]

Each scenario is played --runs times with fresh draws, side by side on arrays, by the functions that decide for one task
(`pp_assets.routing`), with a look after every cohort of 50 requests. The first variant is the champion. A winner is wrong when another
variant is as good as it: with equal variants any winner is. Regret is what was lost against always asking the best variant, in units of the
metric (correct answers), after all requests, those after the winner included. epsilon-greedy gives a tenth of the requests to a variant at
random and the rest to the best rate so far; uniform asks all alike. Neither ever stops. Intervals are exact (mid-p), 95 %.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from bench.bandit_rows import duplicates
from bench.throughput import processor, record
from pp_assets.evaluation.stats import generator, mid_p
from pp_assets.routing import engine, wealth
from pp_assets.routing.policy import Routing

HEADING = "## Variant weights (bench/bandit.py)"
COHORT, DELTA, ALPHA, LEAST = 50, 0.05, 0.05, 0.05
STRATEGIES = ("top-two", "epsilon-greedy", "uniform")


@dataclass(frozen=True)
class Scenario:
    """`rates` (variants,) of right answers; from cohort `turn` on they are `later`. Good and bad words come `delays` cohorts after the
    request, by variant ((good, bad), ...), and a cohort counts when `horizon` cohorts have passed; None: every word counts at once.
    `copies` of each word are counted. `costs` (variants,) of an answer, worth `price` a unit. `invalid` (variants,) rates of a guard with
    `tolerance`; `watched`: the rate of right answers is a guard, too. `float_spread`: answers are scored, Beta with this many trials."""

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
    noted: str = ""
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


SCENARIOS = [
    Scenario("clear: .80 against .60", (0.6, 0.8), 4000),
    Scenario("close: .75 against .70", (0.7, 0.75), 10000),
    Scenario("three: .80, .70, .60", (0.6, 0.8, 0.7), 6000),
    Scenario("equal: .70 and .70", (0.7, 0.7), 20000),
    Scenario("equal: four of .70", (0.7, 0.7, 0.7, 0.7), 20000),
    Scenario("equal within epsilon .05: .70 and .70", (0.7, 0.7), 10000, epsilon=0.05),
    Scenario("scores: .75 against .70, standard deviation .1", (0.7, 0.75), 4000, scored=19.0),
    Scenario("late words: .80 against .60, 10 cohorts late", (0.6, 0.8), 4000, delays=((0, 10), (0, 10)), horizon=10),
    Scenario("equal, bad words of one 10 cohorts late", (0.7, 0.7), 10000, delays=((0, 0), (0, 10)), horizon=10),
    Scenario("the same, every word counted at once", (0.7, 0.7), 10000, delays=((0, 0), (0, 10)), horizon=None, noted="other"),
    Scenario("equal, every word counted three times", (0.7, 0.7), 10000, copies=3, noted="other"),
    Scenario("equal, all get harder and easier in waves of ±.15", (0.7, 0.7), 20000, waves=0.15),
    Scenario("drift: .80 falls to .50 at request 3000, against .70", (0.7, 0.8), 10000, later=(0.7, 0.5), turn=60, watched=True),
    Scenario("cost: .80 for 1.0 against .78 for 0.2, worth .1 a unit", (0.8, 0.78), 10000, costs=(1.0, 0.2), price=0.1),
    Scenario("bad: .80 but 30 % invalid, against .60 with 2 %", (0.6, 0.8), 4000, invalid=(0.02, 0.3)),
    Scenario("bad by little: 12 % invalid against 2 %", (0.7, 0.7), 10000, invalid=(0.02, 0.12)),
    Scenario("equal, guards without tolerance", (0.7, 0.7, 0.7), 20000, invalid=(0.05, 0.05, 0.05), tolerance=0.0),
]


@dataclass
class Played:
    """What came of each run: the winner (-1: none) and after how many requests, requests until each variant was rolled back (inf: never),
    regret of each strategy."""

    winner: np.ndarray
    stopped: np.ndarray
    rolled_back: np.ndarray
    regret: dict[str, np.ndarray] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default="", help="beginnings of names of scenarios, with commas between")
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    args = parser.parse_args()
    chosen = [one for one in SCENARIOS if one.name.startswith(tuple(args.only.split(",")))]
    began, played = time.monotonic(), []
    for done, one in enumerate(chosen):
        print(f"[{done:3}/{len(chosen)}] {time.monotonic() - began:5.0f} s  {one.name}", file=sys.stderr, flush=True)
        played.append(measured(one, args.runs))
    table = as_table(chosen, played, args.runs, duplicates(args.runs // 5))
    print(table)
    if args.record:
        took = f"{time.process_time():.0f} CPU-s on one thread"
        record(HEADING, table, f"`python -m bench.bandit --runs {args.runs}`, {date.today()}, {processor()}, {took}")
    print(table.splitlines()[-1])


def measured(one: Scenario, runs: int) -> Played:
    """The decision engine and, for regret, the two other strategies on draws of their own."""
    found = play(one, runs, STRATEGIES[0])
    plain = replace(one, invalid=(), watched=False)
    found.regret |= {name: play(plain, runs, name).regret[name] for name in STRATEGIES[1:]}
    return found


def play(one: Scenario, runs: int, strategy: str) -> Played:
    k, cohorts = len(one.rates), one.requests // COHORT
    rng = generator(0, one.name, strategy)
    game = _Game(one, runs, cohorts)
    shares = np.full((runs, k), 1 / k)
    regret, counted = np.zeros(runs), np.zeros((runs, k, 3))
    for i in range(cohorts):
        asked = rng.multinomial(COHORT, shares)
        worth = one.worth(i)
        regret += asked @ (worth.max() - worth)
        values = drawn(one, rng, asked, i)
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


class _Game:
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
        found = np.zeros((self.runs, self.k))
        for ended in (False, True):
            part = (self.played.winner != engine.NOBODY) == ended
            totals = np.zeros((part.sum(), self.k, 3)) if ended else self.totals[part]
            if part.any():
                won, racing = self.played.winner[part], self.racing[part]
                found[part] = engine.shares(totals, racing, won, 0, LEAST, self.one.leader_share, LEAST if self.guards else 0.0)
        return found / found.sum(1, keepdims=True)


def _bad(rng: np.random.Generator, asked: np.ndarray, rates: np.ndarray) -> np.ndarray:
    good = asked - rng.binomial(asked, rates)
    return np.stack([asked, good, good], -1).astype(float)


def _less_cost(table: np.ndarray, worth: np.ndarray, span: float) -> np.ndarray:
    """Sums of (value - worth of its cost) in 0..1 over the range of that, from sums of values."""
    n, total, squares = (table[..., j] for j in range(3))
    shift = (span - 1) - worth
    return np.stack([n, (total + n * shift) / span, (squares + 2 * shift * total + n * shift**2) / span**2], -1)


def as_table(chosen: list[Scenario], played: list[Played], runs: int, same: tuple[int, int]) -> str:
    rows = [
        "| scenario | wrong winners | a winner | after requests (90 %) | rolled back | after requests | regret | ε-greedy | uniform |",
        "| --- | --- | --: | --: | --- | --: | --: | --: | --: |",
    ]
    worst = shown = 0.0
    for one, found in zip(chosen, played):
        wrong = is_wrong(one, found)
        bad = np.isfinite(found.rolled_back[:, 1:]).any(1)
        stopped, rolled = found.stopped[np.isfinite(found.stopped)], found.rolled_back[np.isfinite(found.rolled_back)]
        if not one.noted:
            worst, shown = max((worst, shown), (float(wrong.mean()), mid_p(float(wrong.sum()), runs)[1]))
        back = f"{_share(bad)} | {_quantiles(rolled)}" if one.invalid or one.watched else " | "
        regret = " | ".join(f"{found.regret[name].mean():.0f}" for name in STRATEGIES)
        rows.append(
            f"| {one.name} | {_share(wrong)} | {np.isfinite(found.stopped).mean():.3f} | {_quantiles(stopped)} | {back} | {regret} |"
        )
    by_name = {one.name.partition(":")[0]: found for one, found in zip(chosen, played)}
    result = {"wrong_winner_max": worst, "wrong_winner_max_high": shown, "duplicates_changed": same[1], "duplicate_runs": same[0]}
    if "clear" in by_name:
        result["clear_median"] = float(np.median(by_name["clear"].stopped))
    if "bad" in by_name:
        result["rollback_median"] = float(np.median(by_name["bad"].rolled_back[:, 1]))
    told = f"{same[0]} runs of {same[0]} decided alike from rows with every word said three times" if not same[1] else f"{same[1]} differ"
    return "\n".join([*rows, "", told, "", "RESULT " + " ".join(f"{key}={value:.4g}" for key, value in result.items())])


def is_wrong(one: Scenario, found: Played) -> np.ndarray:
    """(runs,): whether the winner is one that another variant is as good as, when it was declared; better by more than epsilon, with
    epsilon."""
    wrong = np.zeros(len(found.winner), dtype=bool)
    for run in np.flatnonzero(found.winner != engine.NOBODY):
        worth = one.worth(int(found.stopped[run]) // COHORT - 1)
        lead = worth[found.winner[run]] - np.delete(worth, found.winner[run]).max()
        wrong[run] = lead < -one.epsilon - 1e-12 if one.epsilon else lead <= 1e-12
    return wrong


def _share(hits: np.ndarray) -> str:
    low, high = mid_p(float(hits.sum()), float(len(hits)))
    return f"{hits.mean():.3f} [{low:.3f}, {high:.3f}]"


def _quantiles(values: np.ndarray) -> str:
    return f"{np.median(values):.0f} ({np.quantile(values, 0.9):.0f})" if len(values) else ""


if __name__ == "__main__":
    main()
