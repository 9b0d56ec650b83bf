"""Clusters on vectors whose groups are known: found, the same in every order, kept on the disk, mapped to, sampled."""

import numpy as np
import pytest
from blobs import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.neighbors import NearestNeighbors

from pp_assets.data.clusters.fit import fit, strays
from pp_assets.data.clusters.graph import linked
from pp_assets.data.clusters.layout import positions
from pp_assets.data.clusters.model import OUTLIER, load, save
from pp_assets.data.clusters.partition import modularity, silhouette
from pp_assets.data.neighbours import nearest
from pp_resources.errors import UserError


def test_groups_are_found_and_numbered_by_size():
    vectors, ids, labels = blobs([60, 40, 90, 30])
    found = fit(vectors, ids)
    inside = found.labels != OUTLIER
    assert adjusted_rand_score(labels[inside], found.labels[inside]) == 1.0 and inside.mean() > 0.9
    assert [int((found.labels == i).sum()) for i in found.ids] == sorted([int((found.labels == i).sum()) for i in found.ids], reverse=True)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(seed):
    vectors, ids, _ = blobs([40, 50, 30], wide=0.2)
    order = np.random.default_rng(seed).permutation(len(ids))
    one, other = fit(vectors, ids), fit(vectors[order], [ids[i] for i in order])
    assert np.array_equal(one.labels[order], other.labels)
    assert one.centroids.tobytes() == other.centroids.tobytes() and one.radii.tobytes() == other.radii.tobytes()


def test_a_cloud_is_one_topic_and_so_are_few_rows():
    cloud = np.random.default_rng(0).normal(size=(400, 384)).astype(np.float32)
    cloud /= np.linalg.norm(cloud, axis=1, keepdims=True)
    assert len(fit(cloud, [str(i) for i in range(400)]).ids) == 1
    vectors, ids, _ = blobs([6, 6])
    assert fit(vectors, ids).labels.tolist() == [0] * 12
    assert fit(np.ones((1, 4), dtype=np.float32) / 2, ["a"]).labels.tolist() == [0]


def test_equal_rows_do_not_break_the_graph():
    vectors = np.repeat(np.eye(8, dtype=np.float32), 40, axis=0)
    found = fit(vectors, [str(i) for i in range(320)])
    assert len(found.ids) == 8 and found.outliers == 0
    places, _ = nearest(vectors, 10)
    from scipy.sparse.csgraph import connected_components

    assert connected_components(linked(vectors, places))[0] == 1


def test_as_many_topics_as_asked_for():
    vectors, ids, _ = blobs([60, 60, 60], wide=0.2)
    assert len(fit(vectors, ids, count=2).ids) == 2


def test_planted_strays_are_outliers_and_hardly_any_other_row_is():
    vectors, ids, _ = blobs([150, 150, 150])
    lost = np.random.default_rng(3).normal(size=(12, 32)).astype(np.float32)
    lost /= np.linalg.norm(lost, axis=1, keepdims=True)
    found = fit(np.vstack([vectors, lost]), [*ids, *(f"lost-{i}" for i in range(12))])
    assert (found.labels[-12:] == OUTLIER).all() and (found.labels[:-12] == OUTLIER).mean() < 0.05


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=60))
@settings(deadline=None)
def test_never_more_than_a_quarter_are_outliers(density):
    assert strays(np.array(density)).mean() <= 0.25


def test_new_rows_are_mapped_without_refit_and_far_ones_are_unassigned():
    vectors, ids, _ = blobs([80, 80, 80])
    found = fit(vectors, ids)
    new, _, groups = blobs([20, 20, 20], seed=9)
    topics, cosines = found.assign(new)
    assert (topics >= 0).mean() > 0.85 and cosines.min() > 0.5
    for group in range(3):
        mine = topics[(groups == group) & (topics >= 0)]
        assert set(mine.tolist()) == {int(np.bincount(found.labels[group * 80 : group * 80 + 80] + 1).argmax() - 1)}
    far, _, _ = blobs([10], first=20)
    assert (found.assign(far)[0] == OUTLIER).all()
    with pytest.raises(UserError, match="size 32"):
        found.assign(np.ones((1, 8), dtype=np.float32))


def test_radii_hold_99_percent_of_the_members():
    vectors, ids, _ = blobs([200, 300])
    found = fit(vectors, ids)
    for topic, centroid, radius in zip(found.ids, found.centroids, found.radii):
        distance = 1 - vectors[found.labels == topic] @ centroid
        assert (distance <= radius + 1e-6).mean() >= 0.99 and (distance < radius - 1e-5).mean() < 1


def test_more_rows_than_are_compared_are_mapped(tmp_path):
    vectors, ids, labels = blobs([400, 400, 400])
    np.save(tmp_path / "v.npy", vectors.astype(np.float16))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    found = fit(mapped, ids, fitted=300)
    inside = found.labels != OUTLIER
    assert adjusted_rand_score(labels[inside], found.labels[inside]) == 1.0 and inside.mean() > 0.93


def test_a_dense_group_that_the_sample_did_not_see_becomes_a_topic():
    vectors, ids, _ = blobs([600, 600])
    rare, rare_ids, _ = blobs([25], first=9, seed=2)
    order = sorted(range(25), key=lambda i: rare_ids[i])
    found = fit(np.vstack([vectors, rare[order]]), [*ids, *(rare_ids[i] for i in order)], fitted=100)
    own = found.labels[-25:]
    assert (own[own >= 0] == own.max()).all() and (own >= 0).mean() > 0.7 and own.max() not in found.labels[:-25]


def test_what_is_saved_is_read_back_with_equal_bytes(tmp_path):
    vectors, ids, _ = blobs([40, 40])
    found = fit(vectors, ids)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    save(found, tmp_path / "a")
    back = load(tmp_path / "a")
    save(back, tmp_path / "b")
    assert back.item_ids == found.item_ids and np.array_equal(back.labels, found.labels) and back.next_id == found.next_id
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    with pytest.raises(UserError, match="no clusters here"):
        load(tmp_path)


def test_ids_must_be_one_a_row():
    vectors, ids, _ = blobs([20, 20])
    with pytest.raises(UserError, match="39 ids"):
        fit(vectors, ids[:-1])
    with pytest.raises(UserError, match="two rows"):
        fit(vectors, [*ids[:-1], ids[0]])


def test_neighbours_silhouette_and_modularity_are_those_of_the_libraries():
    vectors, _, labels = blobs([30, 20, 25], wide=0.3)
    places, cosines = nearest(vectors, 5)
    distances, expected = NearestNeighbors(n_neighbors=6, metric="cosine").fit(vectors).kneighbors(vectors)
    assert np.array_equal(places, expected[:, 1:]) and np.allclose(1 - cosines, distances[:, 1:], atol=1e-5)
    assert silhouette(vectors, labels) == pytest.approx(silhouette_score(vectors, labels, metric="cosine"), abs=1e-5)
    import networkx as nx

    graph = linked(vectors, places)
    groups = [set(np.flatnonzero(labels == g).tolist()) for g in range(3)]
    assert modularity(graph, labels) == pytest.approx(nx.community.modularity(nx.from_scipy_sparse_array(graph), groups), abs=1e-6)


def test_the_layout_is_the_same_in_every_order_and_places_rows_beyond_the_sample():
    vectors, ids, labels = blobs([60, 60])
    order = np.random.default_rng(1).permutation(len(ids))
    one = positions(vectors, ids, 0)
    assert np.array_equal(one[order], positions(vectors[order], [ids[i] for i in order], 0))
    sampled = positions(vectors, ids, 0, fitted=60)
    middles = [sampled[labels == g].mean(0) for g in (0, 1)]
    near = np.linalg.norm(sampled[:, None] - np.array(middles)[None], axis=2).argmin(1)
    assert (near == labels).mean() > 0.95
    assert positions(np.ones((1, 4), dtype=np.float32), ["a"], 0).tolist() == [[0.0, 0.0]]
