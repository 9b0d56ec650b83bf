"""The bench of cascades: what it takes for the truth, and what looks best."""

import numpy as np
import pytest

from bench.cascade import TOLERANCE, Truth, drawn, looks_best, measure


def test_the_truth_is_the_loss_on_many_rows() -> None:
    truth = Truth()
    sure, cheap, better = drawn(np.random.default_rng(5), 200_000)
    kept = sure >= 0.8
    assert truth.at(0.8) == pytest.approx((float((kept * (better.astype(float) - cheap)).mean()), float(kept.mean())), abs=0.005)
    assert truth.at(None) == (0.0, 0.0)
    assert truth.at(truth.lowest())[0] <= TOLERANCE < truth.at(truth.lowest() - 0.02)[0]


def test_what_looks_best_loses_as_much_as_is_tolerated_on_its_own_rows_and_keeps_ties_together() -> None:
    sure, cheap, better = drawn(np.random.default_rng(6), 500)
    at = looks_best(sure, cheap, better)
    assert at is not None
    assert float(((sure >= at) * (better.astype(float) - cheap)).mean()) <= TOLERANCE
    assert looks_best(np.full(10, 0.5), np.zeros(10, dtype=bool), np.ones(10, dtype=bool)) is None


def test_the_last_line_has_the_worst_share_of_broken_promises() -> None:
    lines = measure(2).splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == 6 and lines[-1].startswith("RESULT cascade_broken_max=")
