"""Whether a part of the items scores otherwise than the rest."""

import numpy as np

from pp_assets.evaluation.stats.groups import Clusters
from pp_assets.evaluation.stats.resampling import Statistic

PERMUTATIONS = 5000
_AT_ONCE = 1 << 22  # counts held at a time (32 MB)


def subgroup_test(
    statistic: Statistic, counts: np.ndarray, members: np.ndarray, groups: Clusters, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Gaps statistic(part) - statistic(rest), (parts,), and their two-sided permutation p values, (parts,).

    `counts` (n, k) of the items, `members` (parts, n) says who is in which part. The counts of whole groups change places with those of
    other groups of as many items, at random, while membership stays: exact where groups are exchangeable, and for single items with
    counts of right or wrong it is Fisher's test. A gap that is nan has p nan.
    """
    inside, total = members.astype(float), counts.sum(0)

    def gaps(part: np.ndarray) -> np.ndarray:
        return np.asarray(statistic(part) - statistic(total - part))

    observed = gaps(inside @ counts)
    hits = np.zeros(len(members))
    size = max(1, _AT_ONCE // max(1, counts.size))
    for start in range(0, PERMUTATIONS, size):
        moved = counts[_shuffled(groups, min(size, PERMUTATIONS - start), rng)]
        found = gaps(np.matmul(inside, moved))
        hits += np.sum(~(np.abs(found) < np.abs(observed) - 1e-12), axis=0)
    return observed, np.where(np.isnan(observed), np.nan, (1 + hits) / (1 + PERMUTATIONS))


def _shuffled(groups: Clusters, times: int, rng: np.random.Generator) -> np.ndarray:
    """Which item's counts each item gets, (times, n): whole groups change places within those of one size."""
    order = np.argsort(groups.codes, kind="stable")
    sizes, ends = groups.sizes, np.cumsum(groups.sizes)
    source = np.empty((times, len(order)), dtype=np.intp)
    for size in np.unique(sizes):
        items = np.stack([order[end - size : end] for end in ends[sizes == size]])
        drawn = rng.permuted(np.tile(np.arange(len(items)), (times, 1)), axis=1)
        source[:, items.ravel()] = items[drawn].reshape(times, -1)
    return source
