"""Does the statistics keep its word? False winners between equal systems, coverage of intervals, power against what was promised.

    .venv/bin/python -m bench.stats [--repeats 4000] [--record]

Everything goes through the functions that reports and commands use. A/A: two equal systems are compared, at a fixed n or with a look after
each batch; a winner is what `pp compare` calls one. Coverage: how often a 95 % interval holds the truth that the data was drawn from.
Power: how often an effect is found on as many items as `pp power` asks for, against the power that it promises for them. A cell has
--repeats draws (shares with one trial an item ten times as many, since those cost little); at 4000 a coverage of .95 is known to ± .007.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bench.throughput import processor, record
from pp_assets.evaluation.compare import compare_scored, within_margin
from pp_assets.evaluation.head_to_head import winner
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.scoring import Scored, Scoring
from pp_assets.evaluation.stats import (
    Clusters,
    Spread,
    always_valid_p,
    bootstrap_weights,
    design_effect,
    f1,
    generator,
    grouped_items,
    grouped_power,
    items_for,
    look,
    nested_mean,
    power_with,
    proportion_interval,
    resampled_interval,
)
from pp_assets.evaluation.tables import Table

HEADING = "## Statistics that keep their word"
METRIC = "object_exact_match"
RATES, SIZES, ALPHA, COVERED = (0.5, 0.9, 0.98), (20, 50, 300), 0.05, 0.95
SPEC = Scoring("bench", 0, {}, {}, METRIC, True, ALPHA, 0.0, ())
Found = dict[str, float]


class Cell(NamedTuple):
    """One simulated situation: what it is, and a function of its random draws that gives measured rates."""

    kind: str
    name: str
    run: Callable[[np.random.Generator, int], Found]


class Pair:
    """Two systems on the same items, to be filled with drawn answers."""

    def __init__(self, groups: np.ndarray) -> None:
        self.rows = tuple(PredictionRow(f"{i:06d}", f"{g:06d}", "", "", "") for i, g in enumerate(groups))
        self.clusters = Clusters.of([row.group for row in self.rows])

    def scored(self, table: Table) -> Scored:
        made = Scored(SPEC, self.rows, (), (), {METRIC: table}, ())
        made.__dict__["clusters"] = self.clusters  # the cached property, equal in all repeats
        return made

    def hits(self, right: np.ndarray) -> Scored:
        return self.scored(Table(np.stack([right.astype(float), np.ones(len(right))], axis=1), "right"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--only", help="kinds of cells: aa, sequential, coverage, power or margin")
    parser.add_argument("--record", action="store_true", help="write the tables into RESULTS.md")
    args = parser.parse_args()
    found = [(cell, measured(cell, args.repeats)) for cell in told(list(cells()), args.only)]
    table = as_tables(found)
    print(table)
    if args.record:
        took = f"{time.process_time():.0f} CPU-s on one thread"
        record(HEADING, table, f"`python -m bench.stats --repeats {args.repeats}`, {date.today()}, {processor()}, {took}")
    print(table.splitlines()[-1])


def told(all_cells: list[Cell], only: str | None) -> Iterator[Cell]:
    """The cells one after the other, with a line of progress for each on standard error."""
    chosen = [cell for cell in all_cells if only in (None, cell.kind)]
    began = time.monotonic()
    for done, cell in enumerate(chosen):
        print(f"[{done:3}/{len(chosen)}] {time.monotonic() - began:5.0f} s  {cell.kind}: {cell.name}", file=sys.stderr, flush=True)
        yield cell


def measured(cell: Cell, repeats: int) -> Found:
    return cell.run(generator(0, cell.kind, cell.name), repeats)


def cells() -> Iterator[Cell]:
    for n in SIZES:
        for rate in (0.7, 0.95) if n == 300 else (0.7,):
            yield Cell("aa", f"right or wrong, {rate:g} right, n = {n}", lambda r, k, n=n, p=rate: compared(r, k, np.arange(n), p, p))
    for size, icc in ((4, 0.3), (6, 0.8)):
        groups = np.repeat(np.arange(40), size)
        yield Cell("aa", f"40 groups of {size}, alike {icc:g}", lambda r, k, g=groups, i=icc: compared(r, k, g, 0.7, 0.7, i))
    yield Cell("aa", "micro F1, n = 50", lambda r, k: compared_f1(r, k, 50))
    for n, discordance in ((300, 0.1), (300, 0.4), (1000, 0.2)):
        yield Cell("sequential", f"a look every 20 of {n}, {discordance:g} differ", lambda r, k, n=n, d=discordance: looked(r, k, n, d))
    yield Cell("sequential", "a look every 5 of 60 groups of 4, alike .6", looked_grouped)
    for rate in RATES:
        for n in SIZES:
            yield Cell("coverage", f"{rate:g} right, n = {n}", lambda r, k, n=n, p=rate: covered_once(r, 10 * k, n, p))
            for icc in (0.2, 0.6):
                name = f"{rate:g} right, n = {n}, 5 trials alike {icc:g}"
                yield Cell("coverage", name, lambda r, k, n=n, p=rate, i=icc: covered_nested(r, k, n, p, i))
    for rate in RATES:
        for groups, size, icc in ((25, 8, 0.3), (60, 4, 0.6)):
            name = f"{rate:g} right, {groups} groups of {size}, alike {icc:g}"
            yield Cell("coverage", name, lambda r, k, g=groups, s=size, p=rate, i=icc: covered_grouped(r, k, g, s, p, i))
    for n in (50, 100, 300):
        yield Cell("coverage", f"micro F1 of .74, n = {n}", lambda r, k, n=n: covered_f1(r, k, n, 1))
    yield Cell("coverage", "micro F1 of .74, 40 groups of 5", lambda r, k: covered_f1(r, k, 40, 5))
    yield Cell("coverage", "mean .9, 12 looks up to n = 240, all at once", covered_looks)
    for effect, discordance in ((0.2, 0.3), (0.1, 0.2), (0.05, 0.15)):
        yield Cell("power", f"effect {effect:g}, {discordance:g} differ", lambda r, k, e=effect, d=discordance: powered(r, k, e, d))
    for icc in (0.2, 0.5, 1.0):
        yield Cell("power", f"effect 0.1, 0.2 differ, groups of 4 alike {icc:g}", lambda r, k, i=icc: powered(r, k, 0.1, 0.2, 4, i))
    for trials in (1, 4):
        yield Cell("power", f"mean difference 0.1, {trials} trials an item", lambda r, k, t=trials: powered_trials(r, k, t))
    yield Cell("margin", "worse by the margin of .05, n = 200: PASS", false_pass)


def alike(rng: np.random.Generator, shape: tuple[int, ...], icc: float, draw: Callable[[tuple[int, ...]], np.ndarray]) -> np.ndarray:
    """Draws (repeats, groups, size) with this correlation within a group: each is that of its group with chance √icc."""
    return np.where(rng.random(shape) < icc**0.5, draw((*shape[:-1], 1)), draw(shape))


def compared(rng: np.random.Generator, repeats: int, groups: np.ndarray, a: float, b: float, icc: float = 0.0) -> Found:
    """Two systems with these shares right, each of its own luck."""
    pair = Pair(groups)
    shape = (repeats, pair.clusters.count, len(groups) // pair.clusters.count)
    ours, theirs = (alike(rng, shape, icc, lambda s, p=p: rng.random(s) < p).reshape(repeats, -1) for p in (a, b))
    return outcomes([(pair.hits(x), pair.hits(y)) for x, y in zip(ours, theirs)], a - b)


def outcomes(pairs: list[tuple[Scored, Scored]], truth: float) -> Found:
    won = held = 0
    for ours, theirs in pairs:
        found = compare_scored(ours, theirs)
        won += winner(found, ALPHA) is not None
        held += bool(found.low is not None and found.high is not None and found.low <= truth <= found.high)
    return {"winner": won / len(pairs), "coverage": held / len(pairs), "repeats": len(pairs)}


def f1_counts(rng: np.random.Generator, shape: tuple[int, ...], icc: float = 0.0) -> np.ndarray:
    """True positives, false positives, false negatives (..., 3) of up to three values an item; F1 is .74 in truth."""
    there = alike(rng, shape, icc, lambda s: rng.binomial(3, 0.5, s))
    luck = alike(rng, shape, icc, lambda s: rng.random(s))
    hits = np.clip(np.floor(luck * (there + 1) / 0.6).astype(int), 0, there)
    return np.stack([hits, alike(rng, shape, icc, lambda s: rng.binomial(1, 0.3, s)), there - hits], axis=-1).astype(float)


@cache
def f1_truth() -> float:
    counts = f1_counts(np.random.default_rng(1), (4_000_000, 1))
    return float(f1(counts.reshape(-1, 3).sum(0)))


def compared_f1(rng: np.random.Generator, repeats: int, n: int) -> Found:
    pair = Pair(np.arange(n))
    made = f1_counts(rng, (2, repeats, n))
    both = np.stack([2 * made[..., 0], 2 * made[..., 0] + made[..., 1] + made[..., 2]], axis=-1)
    return outcomes([(pair.scored(Table(x, "F1")), pair.scored(Table(y, "F1"))) for x, y in zip(*both)], 0.0)


def differences(rng: np.random.Generator, shape: tuple[int, ...], discordance: float, effect: float = 0.0) -> np.ndarray:
    luck = rng.random(shape)
    return (luck < (discordance + effect) / 2).astype(float) - (luck > 1 - (discordance - effect) / 2)


def looked(rng: np.random.Generator, repeats: int, n: int, discordance: float) -> Found:
    drawn = differences(rng, (repeats, n), discordance)
    return {"winner": np.mean([any(always_valid_p(d[:m]) < ALPHA for m in range(20, n + 1, 20)) for d in drawn]), "repeats": repeats}


def looked_grouped(rng: np.random.Generator, repeats: int) -> Found:
    drawn = alike(rng, (repeats, 60, 4), 0.6, lambda s: differences(rng, s, 0.3)).reshape(repeats, -1)
    parts = [(4 * g, Clusters(np.repeat(np.arange(g), 4), g)) for g in range(5, 61, 5)]
    return {"winner": np.mean([any(always_valid_p(d[:m], c) < ALPHA for m, c in parts) for d in drawn]), "repeats": repeats}


def covered_once(rng: np.random.Generator, repeats: int, n: int, rate: float) -> Found:
    counts, times = np.unique(rng.binomial(n, rate, repeats), return_counts=True)
    return held([nested_mean(np.arange(n) < k) for k in counts], rate, times)


def covered_nested(rng: np.random.Generator, repeats: int, n: int, rate: float, icc: float) -> Found:
    size = 1 / icc - 1
    rates = rng.beta(rate * size, (1 - rate) * size, (repeats, n, 1))
    return held([nested_mean(table) for table in (rng.random((repeats, n, 5)) < rates).astype(float)], rate)


def covered_grouped(rng: np.random.Generator, repeats: int, groups: int, size: int, rate: float, icc: float) -> Found:
    members = Clusters(np.repeat(np.arange(groups), size), groups)
    drawn = alike(rng, (repeats, groups, size), icc, lambda s: rng.random(s) < rate).reshape(repeats, -1).astype(float)
    return held([proportion_interval(hits, members) for hits in drawn], rate)


def covered_f1(rng: np.random.Generator, repeats: int, groups: int, size: int) -> Found:
    weights = bootstrap_weights(groups, generator(0, "bootstrap"))
    drawn = f1_counts(rng, (repeats, groups, size), 0.5 if size > 1 else 0.0).sum(2)
    return held([resampled_interval(f1, sums, weights, COVERED, 0.0) for sums in drawn], f1_truth())


def covered_looks(rng: np.random.Generator, repeats: int) -> Found:
    # A quarter of the repeats: each has twelve intervals, and the bound is far from what is asked for.
    drawn, ends = (rng.random((repeats // 4, 240)) < 0.9).astype(float), range(20, 241, 20)
    looks = [[look(hits[:n], bounds=(0, 1)) for n in ends] for hits in drawn]
    kept = [all(one.low <= 0.9 <= one.high for one in each) for each in looks]
    width = np.mean([each[-1].high - each[-1].low for each in looks])
    return {"coverage": np.mean(kept), "width": width, "repeats": len(kept)}


def held(intervals: list[Any], truth: float, times: np.ndarray | None = None) -> Found:
    inside = [bool(i.low <= truth + 1e-12 and truth - 1e-12 <= i.high) for i in intervals]
    width = [i.high - i.low for i in intervals]
    total = len(intervals) if times is None else int(times.sum())
    return {"coverage": np.average(inside, weights=times), "width": np.average(width, weights=times), "repeats": total}


def powered(rng: np.random.Generator, repeats: int, effect: float, discordance: float, size: int = 1, icc: float = 0.0) -> Found:
    """Power on the items that are asked for; only A or only B right is drawn, the rest both have right."""
    design = design_effect([size], icc)
    groups = int(np.ceil((grouped_items(effect, design, discordance) or 0) / size))
    pair = Pair(np.repeat(np.arange(groups), size))
    drawn = alike(rng, (repeats, groups, size), icc, lambda s: differences(rng, s, discordance, effect)).reshape(repeats, -1)
    found = outcomes([(pair.hits(d >= 0), pair.hits(d <= 0)) for d in drawn], effect)
    return {**found, "n": groups * size, "promised": grouped_power(groups * size, design, discordance, effect)}


def powered_trials(rng: np.random.Generator, repeats: int, trials: int) -> Found:
    """Two sampling models; the test is whether the interval of the mean difference leaves out zero."""
    centre = (0.3, -0.1)  # of an item, half of them each: a difference of .1 with a standard deviation of .2
    within = float(np.mean([(0.5 + c / 2) * (0.5 - c / 2) for c in centre]))
    spread = Spread(0.04, within, within)
    n = items_for(0.1, spread, trials)
    drawn = rng.choice(centre, (repeats, n, 1))
    ours, theirs = ((rng.random((repeats, n, trials)) < 0.5 + sign * drawn / 2).astype(float) for sign in (1, -1))
    found = held(means := [nested_mean(d) for d in ours - theirs], 0.1)
    promised = power_with(0.1, n, spread, trials)
    return {**found, "winner": float(np.mean([one.low > 0 for one in means])), "n": n, "promised": promised}


def false_pass(rng: np.random.Generator, repeats: int) -> Found:
    pair = Pair(np.arange(200))
    drawn = differences(rng, (repeats, 200), 0.25, -0.05)
    passed = [within_margin(pair.hits(d >= 0), pair.hits(d <= 0), 0.05).verdict == "PASS" for d in drawn]
    return {"winner": np.mean(passed), "repeats": repeats}


def as_tables(found: list[tuple[Cell, Found]]) -> str:
    """A Markdown table of the cells, and the RESULT line."""
    rows = [
        "| what | cell | repeats | n | found | promised | coverage of 95 % | mean width |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for cell, one in found:
        shown = [f"{one[key]:.4f}" if key in one else "" for key in ("winner", "promised", "coverage", "width")]
        rows.append(f"| {cell.kind} | {cell.name} | {one['repeats']:.0f} | {one.get('n', '')} | {' | '.join(shown)} |")
    kinds = {kind: [one for cell, one in found if cell.kind == kind] for kind in ("aa", "sequential", "power")}
    result = {
        "aa_false_winner_max": [one["winner"] for one in kinds["aa"]],
        "aa_sequential_false_winner_max": [one["winner"] for one in kinds["sequential"]],
        "coverage_min": [one["coverage"] for _, one in found if "coverage" in one],
        "power_gap_max": [abs(one["winner"] - one["promised"]) for one in kinds["power"]],
    }
    told_of = {key: (min if key == "coverage_min" else max)(values) for key, values in result.items() if values}
    return "\n".join([*rows, "", "RESULT " + " ".join(f"{key}={value:.4f}" for key, value in told_of.items())])


if __name__ == "__main__":
    main()
