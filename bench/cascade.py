"""Does a cascade keep its promise on new rows, and what does the promise cost?

    .venv/bin/python -m bench.cascade [--fits 400] [--record]

A cheap variant is right as often as its confidence says (Beta(3, 1), mean .75), a better one on .97 of what the cheap one has right and
on .75 of the rest; the better one costs ten times as much. Thresholds are fitted to fresh rows each time, so that at most .03 of the
answers are lost against the better one alone, at an error rate of 5 %, and judged by the loss on 400,000 other rows. Beside it the choice
that looks best: the lowest threshold whose loss on the same rows is at most .03.
"""

import argparse
from datetime import date

import numpy as np

from bench.throughput import processor, record
from pp_assets.evaluation.stats import generator, mid_p
from pp_assets.routing.cascade import fit_cascade

HEADING = "## Cascades (bench/cascade.py)"
TOLERANCE, DELTA, CHEAP, BETTER = 0.03, 0.05, 1.0, 10.0
SIZES = (200, 500, 1000, 3000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=400)
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    args = parser.parse_args()
    table = measure(args.fits)
    print(table)
    if args.record:
        record(HEADING, table, f"`python -m bench.cascade --fits {args.fits}`, {date.today()}, {processor()}")
    print(table.splitlines()[-1])


def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, whether the cheap one is right, whether the better one is."""
    sure = np.round(rng.beta(3, 1, n), 3)
    cheap = rng.random(n) < sure
    return sure, cheap, rng.random(n) < np.where(cheap, 0.97, 0.75)


class Truth:
    """Loss and share kept on new rows, from any threshold on."""

    def __init__(self) -> None:
        sure, cheap, better = drawn(np.random.default_rng(99), 400_000)
        order = np.argsort(-sure, kind="stable")
        self.sure = -sure[order]
        self.lost = np.concatenate([[0.0], np.cumsum(better[order].astype(float) - cheap[order])]) / len(sure)

    def at(self, threshold: float | None) -> tuple[float, float]:
        kept = 0 if threshold is None else int(np.searchsorted(self.sure, -threshold, side="right"))
        return float(self.lost[kept]), kept / len(self.sure)

    def lowest(self) -> float:
        """The threshold that keeps most of all that lose no more than tolerated."""
        last = np.append(np.diff(self.sure) != 0, True)
        return float(-self.sure[np.flatnonzero((self.lost[1:] <= TOLERANCE) & last).max()])


def looks_best(sure: np.ndarray, cheap: np.ndarray, better: np.ndarray) -> float | None:
    order = np.argsort(-sure, kind="stable")
    lost = np.cumsum(better[order].astype(float) - cheap[order]) / len(sure)
    last = np.append(np.diff(sure[order]) != 0, True)
    fine = np.flatnonzero((lost <= TOLERANCE) & last)
    return float(sure[order][fine.max()]) if len(fine) else None


def cost(kept: float, named: bool) -> float:
    return CHEAP + BETTER * (1 - kept) if named else BETTER


def measure(fits: int) -> str:
    truth = Truth()
    ideal = cost(truth.at(truth.lowest())[1], True)
    rows = [
        "| rows | a threshold | promise broken | cost of an answer | what looks best: promise broken | cost |",
        "| --: | --: | --- | --: | --- | --: |",
    ]
    worst = 0.0
    for n in SIZES:
        found = []
        for fit in range(fits):
            seen = drawn(generator(fit, "cascade", str(n)), n)
            proven = fit_cascade(*seen, CHEAP, BETTER, tolerance=TOLERANCE, delta=DELTA).threshold
            found.append([(*truth.at(one), one is not None) for one in (proven, looks_best(*seen))])
        lines = []
        for side in range(2):
            broken = sum(one[side][0] > TOLERANCE for one in found)
            low, high = mid_p(float(broken), float(fits))
            paid = np.mean([cost(one[side][1], one[side][2]) for one in found])
            lines.append(f"{broken / fits:.3f} [{low:.3f}, {high:.3f}] | {paid:.2f}")
            worst = max(worst, broken / fits) if side == 0 else worst
        rows.append(f"| {n} | {np.mean([one[0][2] for one in found]):.3f} | {' | '.join(lines)} |")
    told = f"The better one alone costs {BETTER:g} an answer, the cheapest threshold that keeps the promise {ideal:.2f}."
    return "\n".join([*rows, "", told, "", f"RESULT cascade_broken_max={worst:.4g} cascade_ideal_cost={ideal:.4g}"])


if __name__ == "__main__":
    main()
