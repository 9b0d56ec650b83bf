"""The bench of the statistics runs, cell by cell, and tells what it measured; its figures are those of few repeats here."""

import numpy as np
import pytest

from bench.stats import Cell, as_tables, cells, f1_counts, f1_truth, measured
from pp_assets.evaluation.stats import f1

CELLS = list(cells())


def test_there_is_a_cell_for_every_rate_size_and_number_of_trials() -> None:
    names = {cell.name for cell in CELLS if cell.kind == "coverage"}
    for rate in ("0.5", "0.9", "0.98"):
        for n in (20, 50, 300):
            assert f"{rate} right, n = {n}" in names and f"{rate} right, n = {n}, 5 trials alike 0.6" in names
    assert len({(cell.kind, cell.name) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("kind", ["aa", "sequential", "power", "margin", "coverage"])
def test_a_cell_of_each_kind_measures_rates(kind: str) -> None:
    cell = next(cell for cell in CELLS if cell.kind == kind)
    found = measured(cell, 30)
    assert found == measured(cell, 30), "same draws each time"
    assert all(0 <= found[key] <= 1 for key in ("winner", "coverage", "promised") if key in found)
    assert found["repeats"] >= 30


def test_the_truth_of_f1_is_what_the_draws_tend_to() -> None:
    counts = f1_counts(np.random.default_rng(0), (100_000, 1)).reshape(-1, 3)
    assert float(f1(counts.sum(0))) == pytest.approx(f1_truth(), abs=0.01)


def test_the_last_line_has_the_worst_of_each() -> None:
    made = [
        (Cell("aa", "x", measured), {"winner": 0.03, "coverage": 0.96, "repeats": 9}),
        (Cell("aa", "y", measured), {"winner": 0.04, "coverage": 0.94, "repeats": 9}),
        (Cell("sequential", "z", measured), {"winner": 0.01, "repeats": 9}),
        (Cell("power", "p", measured), {"winner": 0.78, "promised": 0.81, "coverage": 0.95, "repeats": 9}),
    ]
    expected = "RESULT aa_false_winner_max=0.0400 aa_sequential_false_winner_max=0.0100 coverage_min=0.9400 power_gap_max=0.0300"
    assert as_tables(made).splitlines()[-1] == expected
