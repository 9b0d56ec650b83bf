"""Splits: whole groups, ratios kept, no dependence on the order of rows."""

import numpy as np
import pytest

from pp_assets.task.splits import SPLITS, assign, chain, components, smallest_per
from pp_resources.errors import UserError

RATIOS = {"train": 0.7, "val": 0.1, "test": 0.2}


def groups(count: int, size: int = 1, seed: int = 0) -> np.ndarray:
    ids = np.random.Generator(np.random.PCG64(seed)).integers(0, 2**63, size=count, dtype=np.uint64)
    return np.repeat(ids, size)


def shares(codes: np.ndarray) -> dict[str, float]:
    return {name: float((codes == i).mean()) for i, name in enumerate(SPLITS)}


def test_ratios_are_kept_also_for_few_rows() -> None:
    for count in (10, 40, 400):
        found = shares(assign(groups(count), RATIOS, seed=1))
        assert all(abs(found[name] - RATIOS[name]) <= 0.5 / count + 1e-9 for name in SPLITS)


def test_groups_are_whole() -> None:
    group = groups(60, size=5)
    codes = assign(group, RATIOS, seed=0)
    for one in np.unique(group):
        assert len(set(codes[group == one].tolist())) == 1
    assert abs(shares(codes)["test"] - 0.2) < 0.02


def test_the_order_of_rows_does_not_matter_but_the_seed_does() -> None:
    group = groups(200, size=2)
    order = np.random.Generator(np.random.PCG64(5)).permutation(len(group))
    codes = assign(group, RATIOS, seed=3)
    assert np.array_equal(codes[order], assign(group[order], RATIOS, seed=3))
    assert not np.array_equal(codes, assign(group, RATIOS, seed=4))


def test_more_rows_move_few_groups() -> None:
    group = groups(1000)
    before = assign(group, RATIOS, seed=0)
    after = assign(np.r_[group, groups(50, seed=9)], RATIOS, seed=0)[:1000]
    assert (before != after).sum() <= 30


def test_a_group_that_is_too_large_for_test_stays_in_train() -> None:
    group = np.r_[np.zeros(60, dtype=np.uint64), groups(40)]
    codes = assign(group, RATIOS, seed=0)
    assert set(codes[:60].tolist()) == {0} and shares(codes)["test"] == pytest.approx(0.2, abs=0.02)


def test_strata_have_their_share_of_each_split() -> None:
    group, stratum = groups(500), np.repeat(np.arange(5), [300, 100, 60, 30, 10]).astype(np.int32)
    codes = assign(group, RATIOS, seed=0, stratum=stratum)
    for kind in range(5):
        inside = codes[stratum == kind]
        assert abs((inside == 2).sum() - 0.2 * len(inside)) <= 1 and abs((inside == 1).sum() - 0.1 * len(inside)) <= 1
    assert shares(codes)["test"] == pytest.approx(0.2, abs=0.005)


def test_rare_strata_are_not_rounded_away_together() -> None:
    codes = assign(groups(150), RATIOS, seed=0, stratum=np.repeat(np.arange(75), 2).astype(np.int32))
    assert shares(codes)["test"] == pytest.approx(0.2, abs=0.01) and shares(codes)["val"] == pytest.approx(0.1, abs=0.02)


def test_time_puts_the_oldest_in_train_and_the_newest_in_test() -> None:
    group, time = groups(100, size=2), np.arange(200, dtype=float)
    codes = assign(group, RATIOS, seed=0, time=time)
    assert time[codes == 0].max() < time[codes == 1].min() and time[codes == 1].max() < time[codes == 2].min()
    assert shares(codes) == pytest.approx(RATIOS)


def test_a_group_counts_by_its_newest_row() -> None:
    group = groups(100)
    group[0] = group[99]
    codes = assign(group, RATIOS, seed=0, time=np.arange(100, dtype=float))
    assert codes[0] == codes[99] == 2


def test_three_groups_fill_three_splits_and_two_are_an_error() -> None:
    assert sorted(assign(groups(3), RATIOS, seed=0).tolist()) == [0, 1, 2]
    with pytest.raises(UserError, match=r"only 2 independent group\(s\); train and val and test need one each"):
        assign(groups(2, size=40), RATIOS, seed=0)
    assert set(assign(groups(20), {"train": 0.9, "val": 0.1, "test": 0.0}, seed=0).tolist()) == {0, 1}


def test_labels_and_smallest_values_by_component() -> None:
    keys = np.array([5, 7, 5, 0, 0, 7], dtype=np.uint64)
    labels = components(6, chain(keys, keys != 0))
    assert labels[0] == labels[2] and labels[1] == labels[5] and labels[3] != labels[4]
    assert smallest_per(labels, np.array([9, 8, 3, 4, 1, 2])).tolist() == [3, 2, 3, 4, 1, 2]
    assert components(2, np.zeros((0, 2), dtype=np.int64)).tolist() == [0, 1]
