"""Metrics of whole corpora: against scikit-learn and sacrebleu, and their intervals."""

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sklearn.metrics import f1_score

from pp_assets.evaluation.stats import Clusters, bleu, bleu_counts, corpus_difference, corpus_interval, f1

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "quickly", ",", ".", "!", "don't", "3.5"]


def sentences(n, noise, seed):
    draw = random.Random(seed)
    wanted = [" ".join(draw.choice(WORDS) for _ in range(draw.randint(3, 15))) for _ in range(n)]
    said = [" ".join(draw.choice(WORDS) if draw.random() < noise else word for word in text.split()) for text in wanted]
    return said, wanted


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5, 0.95])
def test_bleu_of_the_sums_is_that_of_sacrebleu(noise):
    said, wanted = sentences(40, noise, 1)
    counts = bleu_counts(said, wanted)
    assert counts.shape == (40, 10)
    assert float(bleu(counts.sum(0))) == pytest.approx(BLEU().corpus_score(said, [wanted]).score / 100, abs=1e-12)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("the cat", "the cat sat on the mat"),
        ("x y z w v", "the cat sat"),
        ("", "the cat"),
        ("the cat sat here", "the cat lay here"),
    ],
)
def test_bleu_of_odd_cases_is_that_of_sacrebleu(said, wanted):
    expected = BLEU().corpus_score([said], [[wanted]]).score / 100
    assert float(bleu(bleu_counts([said], [wanted]).sum(0))) == pytest.approx(expected, abs=1e-12)


def test_bleu_of_many_sums_at_once_is_that_of_each():
    counts = bleu_counts(*sentences(30, 0.4, 2)).reshape(3, 10, 10).sum(1)
    assert bleu(counts) == pytest.approx([float(bleu(row)) for row in counts])
    assert np.isnan(bleu(np.zeros(10)))


def test_the_interval_of_bleu_is_like_that_of_sacrebleus_bootstrap():
    said, wanted = sentences(150, 0.3, 3)
    found = corpus_interval(bleu, bleu_counts(said, wanted))
    score = BLEU().corpus_score(said, [wanted], n_bootstrap=1000)
    assert (found.high - found.low) / 2 == pytest.approx(score._ci / 100, rel=0.15)
    assert found.low < score.score / 100 < found.high


def test_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(4)
    truth, said = rng.random(80) < 0.4, rng.random(80) < 0.5
    sums = np.stack([truth & said, ~truth & said, truth & ~said], axis=1).astype(float)
    assert float(f1(sums.sum(0))) == pytest.approx(f1_score(truth, said))
    assert np.isnan(f1(np.zeros(3)))


def test_a_better_system_is_found_and_equal_ones_are_not():
    said, wanted = sentences(60, 0.1, 5)
    worse, _ = sentences(60, 0.5, 5)
    a, b = bleu_counts(said, wanted), bleu_counts(worse, wanted)
    found = corpus_difference(bleu, a, b)
    assert found.low > 0 and found.p < 0.01 and "paired permutation" in found.test
    same = corpus_difference(bleu, a, a)
    assert (same.effect, same.p) == (0.0, 1.0) and same.low < 0 < same.high


def test_groups_are_resampled_whole():
    counts = np.repeat(bleu_counts(*sentences(20, 0.3, 6)), 6, axis=0)
    alone, grouped = corpus_interval(bleu, counts), corpus_interval(bleu, counts, Clusters(np.repeat(np.arange(20), 6), 20))
    assert grouped.high - grouped.low > 1.7 * (alone.high - alone.low)


def test_one_item_has_no_interval():
    assert corpus_interval(f1, np.array([[1.0, 0.0, 1.0]])).low is None
    assert corpus_difference(f1, np.array([[1.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 0.0]])).p is None
    nothing = corpus_difference(f1, np.zeros((3, 3)), np.ones((3, 3)))
    assert (nothing.effect, nothing.p, nothing.method) == (None, None, "no interval: a system has no value")
