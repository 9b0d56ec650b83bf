"""The same feedback said once and said three times, row by row through `decide`: whether any decision differs."""

import numpy as np

from pp_assets.evaluation.stats import generator
from pp_assets.routing.decision import decide
from pp_assets.routing.evidence import Cohort, Word, collect
from pp_assets.routing.policy import OBJECTIVE, Routing
from pp_assets.routing.state import State
from pp_assets.routing.sticky import choose

POLICY = Routing(metric="resolved", champion="a", weights={"a": 1.0, "b": 1.0}, horizon=60.0, cohort=50)
RATES = {"a": 0.7, "b": 0.8}
COHORTS = 16


def duplicates(runs: int) -> tuple[int, int]:
    """(runs, how many of them had another decision anywhere when every word was said three times, in another order)."""
    differ = 0
    for run in range(runs):
        rng = generator(run, "duplicates")
        states: list[State | None] = [None, None]
        weights: dict[str, float] = dict(POLICY.weights)
        same = True
        for i in range(COHORTS):
            words = said(rng, run, i, weights)
            made = [decide(state, [cohort(i, rows)], POLICY, 100.0 * i + 160) for state, rows in zip(states, (words, repeated(rng, words)))]
            same &= made[0] == made[1]
            states, weights = [one.state for one in made], made[0].weights
        differ += not same
    return runs, differ


def said(rng: np.random.Generator, run: int, i: int, weights: dict[str, float]) -> list[Word]:
    found = []
    for j in range(POLICY.cohort):
        target = f"{run}-{i}-{j}"
        variant = choose(weights, "bench", target)
        asked = 100.0 * i + 2 * j
        found.append(Word(target, target, variant, OBJECTIVE, float(rng.random() < RATES[variant]), asked, asked + 30 * rng.random()))
    return found


def repeated(rng: np.random.Generator, words: list[Word]) -> list[Word]:
    """Retries come up to 30 seconds later with the same value."""
    again = [word._replace(at=word.at + delay) for word in words for delay in (0.0, 30 * rng.random(), 0.0)]
    return [again[i] for i in rng.permutation(len(again))]


def cohort(i: int, words: list[Word]) -> Cohort:
    asked = {name: sum(word.variant == name for word in words) // (len(words) // POLICY.cohort) for name in POLICY.answering}
    return Cohort(100.0 * i, 100.0 * (i + 1), collect(words, POLICY.horizon), asked)
