"""What a refit keeps and what it tells: ids, names, and every kind of event planted."""

from dataclasses import replace

import numpy as np
from blobs import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from pp_assets.data.clusters.fit import fit, refit
from pp_assets.data.clusters.history import events, matched, still_named
from pp_assets.data.clusters.model import OUTLIER, Clusters


def clusters(labels: list[int], items: list[str] | None = None) -> Clusters:
    """Clusters with these labels; the centroid of each id is an axis."""
    ids = np.unique([label for label in labels if label >= 0]).astype(np.int64)
    items = items or [str(i) for i in range(len(labels))]
    found = np.array(labels, dtype=np.int64)
    some = np.zeros(len(ids), dtype=np.float32)
    return Clusters(
        ids,
        np.eye(64, dtype=np.float32)[ids],
        some,
        tuple(items),
        found,
        np.ones(len(labels), dtype=np.float32),
        int(ids.max(initial=-1)) + 1,
    )


def kinds(old: Clusters, new: Clusters) -> dict[str, list[tuple]]:
    told: dict[str, list[tuple]] = {}
    for event in events(old, new):
        told.setdefault(event.kind, []).append((event.old, event.new))
    return told


def test_a_refit_on_nine_tenths_keeps_ids_and_groups():
    vectors, ids, _ = blobs([80, 60, 70, 50], wide=0.15)
    old = fit(vectors, ids)
    kept = np.sort(np.random.default_rng(0).choice(len(ids), int(0.9 * len(ids)), replace=False))
    new = refit(old, vectors[kept], [ids[i] for i in kept])
    assert adjusted_rand_score(old.labels[kept], new.labels) >= 0.9
    assert (old.labels[kept] == new.labels).mean() > 0.95
    assert {e["kind"] for e in new.history[-1]["events"]} == {"survived"}


def test_a_new_group_is_born_with_a_new_id_and_one_that_is_gone_died():
    vectors, ids, labels = blobs([80, 80, 80])
    old = fit(vectors, ids)
    gone = int(np.bincount(old.labels[labels == 2] + 1).argmax() - 1)
    fresh, fresh_ids, _ = blobs([60], first=10, seed=4)
    keep = labels != 2
    new = refit(old, np.vstack([vectors[keep], fresh]), [*(i for i, k in zip(ids, keep) if k), *fresh_ids])
    told = {e["kind"]: e for e in new.history[-1]["events"]}
    assert told["died"]["old"] == [gone] and told["died"]["overlap"] is None
    assert told["born"]["new"] == [old.next_id] and new.next_id == old.next_id + 1
    assert (new.labels[-60:] == old.next_id).mean() > 0.8


def test_two_topics_of_one_are_a_split_and_the_larger_part_keeps_the_id():
    old, new = clusters([0] * 100 + [1] * 50), clusters([0] * 60 + [2] * 40 + [1] * 50)
    assert matched(old, replace(new, ids=new.ids))[0].tolist() == [0, 1, 2]
    assert kinds(old, new) == {"split": [((0,), (0, 2))], "survived": [((1,), (1,))]}


def test_one_topic_of_two_is_a_merge_and_the_larger_one_gives_the_id():
    old, new = clusters([0] * 40 + [1] * 60 + [2] * 30), clusters([1] * 100 + [2] * 30)
    assert matched(old, new)[0].tolist() == [1, 2]
    assert kinds(old, new) == {"merged": [((0, 1), (1,))], "survived": [((2,), (2,))]}


def test_a_topic_with_half_as_many_rows_again_has_grown():
    old, new = clusters([0] * 40 + [1] * 40), clusters([0] * 40 + [1] * 40 + [0] * 20)
    assert kinds(old, new) == {"grown": [((0,), (0,))], "survived": [((1,), (1,))]}


def test_without_shared_rows_like_centroids_keep_their_id():
    old, new = clusters([0] * 10 + [1] * 10), clusters([0] * 10 + [1] * 10, [f"new-{i}" for i in range(20)])
    turned = replace(new, centroids=new.centroids[::-1].copy())
    assert matched(old, turned)[0].tolist() == [1, 0]
    assert matched(old, replace(new, centroids=np.eye(64, dtype=np.float32)[[5, 6]]))[0].tolist() == [2, 3]


def test_names_stay_until_three_tenths_of_the_membership_changed():
    named = replace(clusters([0] * 100 + [1] * 100), names={0: {"name": "a"}, 1: {"name": "b"}})
    assert set(still_named(named, clusters([0] * 100 + [1] * 71 + [OUTLIER] * 29))) == {0, 1}
    assert set(still_named(named, clusters([0] * 100 + [1] * 69 + [OUTLIER] * 31))) == {0}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=40), st.lists(st.integers(-1, 4), min_size=1, max_size=40))
def test_every_cluster_of_before_and_after_is_told_of(before, after):
    old, new = clusters(before), clusters(after)
    ids, next_id = matched(old, new)
    assert len(set(ids.tolist())) == len(ids) and (ids < next_id).all() and next_id >= old.next_id
    told = events(old, new)
    assert sorted(i for e in told for i in e.old) == old.ids.tolist()
    assert {i for e in told for i in e.new} == set(new.ids.tolist())
