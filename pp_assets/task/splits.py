"""Which group of rows goes to which split. Groups are whole; the outcome depends on content and seed, never on the order of lines."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pp_assets.task.duplicates import mix
from pp_resources.errors import UserError

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)


def components(size: int, edges: np.ndarray) -> np.ndarray:
    """Component label of each of `size` rows, from edges of shape (n, 2)."""
    if not len(edges):
        return np.arange(size)
    links = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(size, size))
    return connected_components(links, directed=False)[1]


def chain(keys: np.ndarray, use: np.ndarray | None = None) -> np.ndarray:
    """Edges (n, 2) that link the rows with equal keys one after the other; only rows where `use` holds."""
    rows = np.arange(len(keys)) if use is None else np.flatnonzero(use)
    ordered = rows[np.argsort(keys[rows], kind="stable")]
    same = keys[ordered[1:]] == keys[ordered[:-1]]
    return np.column_stack([ordered[:-1][same], ordered[1:][same]])


def smallest_per(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each row the smallest value among the rows with its label."""
    order = np.lexsort((values, labels))
    ordered = labels[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]] if len(order) else np.zeros(0, dtype=bool)
    out = np.empty_like(values)
    out[order] = values[order][first][np.cumsum(first) - 1]
    return out


def assign(
    group: np.ndarray, ratios: Mapping[str, float], seed: int, *, stratum: np.ndarray | None = None, time: np.ndarray | None = None
) -> np.ndarray:
    """Split code (0 train, 1 val, 2 test) of each row.

    `group` is the smallest item id (uint64) of the row's group. Groups are walked in the order of a seeded hash and go to test, then to
    val, as long as they fit the ratio; so a few more rows move few groups. With `stratum` the same is done within each stratum, the rest
    of a rounding carried on to the next; a group counts for its most frequent stratum. With `time` the oldest groups (by their newest row)
    are train, the newest test. A split with a ratio above 0 is never empty: too few groups are an error.
    """
    ids, member, sizes = np.unique(group, return_inverse=True, return_counts=True)
    wanted = [code for code in (TRAIN, TEST, VAL) if ratios[SPLITS[code]] > 0]
    if len(ids) < len(wanted):
        names = " and ".join(SPLITS[code] for code in sorted(wanted))
        how = "add data that is not a near-duplicate of what is there and does not share its source_id"
        raise UserError(f"the rows form only {len(ids)} independent group(s); {names} need one each", where="eval_split", how=how)
    key = mix(ids ^ mix(np.full(1, seed, dtype=np.uint64)))
    if time is not None:
        newest = np.full(len(ids), -np.inf)
        np.maximum.at(newest, member, time)
        codes = _by_time(np.lexsort((key, newest)), sizes, ratios)
    else:
        codes = np.zeros(len(ids), dtype=np.int8)
        owed = dict.fromkeys((TEST, VAL), 0.0)
        for stratum_groups in _strata(member, sizes, stratum):
            _by_hash(stratum_groups[np.argsort(key[stratum_groups], kind="stable")], sizes, ratios, owed, codes)
    _fill_empty(codes, sizes, key, wanted)
    return codes[member]


def _strata(member: np.ndarray, sizes: np.ndarray, stratum: np.ndarray | None) -> list[np.ndarray]:
    if stratum is None:
        return [np.arange(len(sizes))]
    kinds = int(stratum.max()) + 1
    pairs, counts = np.unique(member * kinds + stratum, return_counts=True)
    # Within a group: most frequent first, then the smaller stratum.
    order = np.lexsort((pairs % kinds, -counts, pairs // kinds))
    owner, first = np.unique(pairs[order] // kinds, return_index=True)
    leading = (pairs[order] % kinds)[first]
    return [owner[leading == kind] for kind in np.unique(leading)]


def _by_hash(order: np.ndarray, sizes: np.ndarray, ratios: Mapping[str, float], owed: dict[int, float], codes: np.ndarray) -> None:
    total = float(sizes[order].sum())
    for code in (TEST, VAL):
        owed[code] += ratios[SPLITS[code]] * total
    for group in order.tolist():
        size = float(sizes[group])
        for code in (TEST, VAL):
            if size / 2 <= owed[code]:
                codes[group] = code
                owed[code] -= size
                break


def _by_time(order: np.ndarray, sizes: np.ndarray, ratios: Mapping[str, float]) -> np.ndarray:
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    total = sizes.sum()
    codes = np.empty(len(order), dtype=np.int8)
    codes[order] = (middle > ratios["train"] * total).astype(np.int8) + (middle > (1 - ratios["test"]) * total)
    return codes


def _fill_empty(codes: np.ndarray, sizes: np.ndarray, key: np.ndarray, wanted: list[int]) -> None:
    """A split without rows takes the smallest group of the split with most groups."""
    for code in wanted:
        if not (codes == code).any():
            donor = np.bincount(codes, minlength=3).argmax()
            candidates = np.flatnonzero(codes == donor)
            codes[candidates[np.lexsort((key[candidates], sizes[candidates]))[0]]] = code
