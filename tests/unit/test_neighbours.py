"""The nearest rows are those of a comparison of each with each, in blocks of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from pp_assets.data import neighbours
from pp_assets.data.neighbours import near_written, nearest, spread_out


def unit(n: int, seed: int, size: int = 5) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, size)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def each_with_each(vectors: np.ndarray, count: int, among: np.ndarray, apart: np.ndarray) -> list[list[int]]:
    """Sorted lists of what counts, padded."""
    similar = vectors @ among.T
    found = [[j for j in np.argsort(-row, kind="stable").tolist() if ok[j]][:count] for row, ok in zip(similar, apart)]
    width = min(count, len(among))
    return [row + [-1] * (width - len(row)) for row in found]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 12), st.integers(1, 6), st.integers(0, 99), st.sampled_from((1, 3, 1024)))
def test_what_is_found_is_what_comparing_each_with_each_finds(n: int, others: int, count: int, groups: int, seed: int, block: int) -> None:
    vectors, among = unit(n, seed), unit(others, seed + 100)
    own, theirs = (np.random.default_rng(seed).integers(0, groups, size) for size in (n, others))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(neighbours, "BLOCK", block)
        places, cosines = nearest(vectors, count, among, (own, theirs))
        freely, _ = nearest(vectors, count, among)
    assert places.tolist() == each_with_each(vectors, count, among, own[:, None] != theirs[None, :])
    assert freely.tolist() == each_with_each(vectors, count, among, np.ones((n, others), bool))
    there = places >= 0
    assert np.isneginf(cosines[~there]).all()
    assert np.allclose(cosines[there], np.einsum("ijk,ik->ij", among[places], vectors)[there], atol=1e-6)


def test_without_others_a_row_is_no_neighbour_of_its_own() -> None:
    vectors = unit(200, 1)
    places, cosines = nearest(vectors, 7)
    distances, expected = NearestNeighbors(n_neighbors=8, metric="cosine").fit(vectors).kneighbors(vectors)
    assert np.array_equal(places, expected[:, 1:]) and np.allclose(1 - cosines, distances[:, 1:], atol=1e-5)
    assert nearest(vectors[:3], 9)[0].shape == (3, 2) and nearest(vectors[:1], 9)[0].shape == (1, 0)


def test_large_sets_are_compared_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(300, 2)
    whole = nearest(vectors, 4)[0]
    monkeypatch.setattr(neighbours, "CELLS", 900)
    assert np.array_equal(nearest(vectors, 4)[0], whole)


def test_of_many_written_rows_a_part_that_is_spread_out_is_looked_among() -> None:
    vectors, groups = unit(100, 3), [f"g{i // 2}" for i in range(100)]
    part = near_written(vectors, groups, 80, most=20)
    assert part.among.tolist() == spread_out(80, 20).tolist() and len(part.among) == 20 and part.among[-1] == 79
    assert set(part.places.ravel().tolist()) <= set(part.among.tolist()) and part.places.shape == (100, 10)
    assert all(groups[j] != groups[i] for i, row in enumerate(part.places.tolist()) for j in row)
    assert near_written(vectors, groups, 0).places.shape == (100, 0)
