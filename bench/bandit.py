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
from dataclasses import replace
from datetime import date

import numpy as np

from bench.bandit_game import COHORT, Played, Scenario, play
from bench.bandit_rows import duplicates
from bench.throughput import processor, record
from pp_assets.evaluation.stats import mid_p
from pp_assets.routing import engine

HEADING = "## Variant weights (bench/bandit.py)"
STRATEGIES = ("top-two", "epsilon-greedy", "uniform")


SCENARIOS = [
    Scenario("clear: .80 against .60", (0.6, 0.8), 4000),
    Scenario("close: .75 against .70", (0.7, 0.75), 10000),
    Scenario("three: .80, .70, .60", (0.6, 0.8, 0.7), 6000),
    Scenario("equal: .70 and .70", (0.7, 0.7), 10000),
    Scenario("equal: four of .70", (0.7, 0.7, 0.7, 0.7), 5000),
    Scenario("equal within epsilon .05: .70 and .70", (0.7, 0.7), 10000, epsilon=0.05),
    Scenario("scores: .75 against .70, standard deviation .1", (0.7, 0.75), 4000, scored=19.0),
    Scenario("late words: .80 against .60, 10 cohorts late", (0.6, 0.8), 4000, delays=((0, 10), (0, 10)), horizon=10),
    Scenario("equal, bad words of one 10 cohorts late", (0.7, 0.7), 10000, delays=((0, 0), (0, 10)), horizon=10),
    Scenario("the same, every word counted at once", (0.7, 0.7), 10000, delays=((0, 0), (0, 10)), horizon=None, noted=True),
    Scenario("equal, feedback on .9 of one and .3 of the other", (0.7, 0.7), 10000, answered=(0.9, 0.3)),
    Scenario("equal, every word counted three times", (0.7, 0.7), 10000, copies=3, noted=True),
    Scenario("equal, all get harder and easier in waves of ±.15", (0.7, 0.7), 10000, waves=0.15),
    Scenario("drift: .80 falls to .50 at request 3000, against .70", (0.7, 0.8), 10000, later=(0.7, 0.5), turn=60, watched=True),
    Scenario("the same drift, minimum share .15", (0.7, 0.8), 10000, later=(0.7, 0.5), turn=60, watched=True, least=0.15),
    Scenario("cost: .80 for 1.0 against .78 for 0.2, worth .1 a unit", (0.8, 0.78), 10000, costs=(1.0, 0.2), price=0.1),
    Scenario("bad: .80 but 30 % invalid, against .60 with 2 %", (0.6, 0.8), 4000, invalid=(0.02, 0.3)),
    Scenario("bad by little: 12 % invalid against 2 %", (0.7, 0.7), 10000, invalid=(0.02, 0.12)),
    Scenario("equal, guards without tolerance", (0.7, 0.7, 0.7), 10000, invalid=(0.05, 0.05, 0.05), tolerance=0.0),
]


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
    table = as_table(chosen, played, args.runs, duplicates(args.runs // 10))
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
        # A guard forbids what may be the best by rate: nothing to regret there.
        regret = " | ".join("" if one.invalid else f"{found.regret[name].mean():.0f}" for name in STRATEGIES)
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
