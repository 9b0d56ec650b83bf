"""Which cluster of a refit is which of before, and what happened to each (after MONIC, Spiliopoulou et al. 2006)."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.data.clusters.model import Clusters

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERLAP = 0.5  # share of a cluster's members that decides what became of it
PART = 0.25  # share that a piece of a split cluster has at least
GROWN = 1.5  # times its size
RENAMED = 0.3  # change of membership (one minus Jaccard) above which a name is written anew
ALIKE = 0.9  # cosine of centroids that makes two the same where they share no row


@dataclass(frozen=True)
class Event:
    """What became of clusters: `kind` is survived, grown, split, merged, born or died; `old` and `new` are ids; `overlap` is the share of
    the old members (of those that are still there) that the new ones hold, None where none is left; sizes are rows before and after."""

    kind: str
    old: tuple[int, ...]
    new: tuple[int, ...]
    overlap: float | None
    before: int
    after: int


def matched(old: Clusters, new: Clusters) -> tuple[np.ndarray, int]:
    """(id of each cluster of `new`, next id). Pairs share as many rows as possible (Hungarian on Jaccard, cosine of centroids as
    tie-break); a pair counts when it holds half of the smaller of the two, or where nothing is shared the centroids are alike.
    """
    from scipy.optimize import linear_sum_assignment

    shared, before, after = _shared(old, new)
    either = before[:, None] + after[None, :] - shared
    cosine = old.centroids @ new.centroids.T if old.centroids.shape[1] == new.centroids.shape[1] else np.zeros(shared.shape)
    first, second = linear_sum_assignment(-(shared / np.maximum(either, 1) + 1e-3 * cosine))
    ids, next_id = np.full(len(new.ids), -1, dtype=np.int64), old.next_id
    for i, j in zip(first.tolist(), second.tolist()):
        smaller = min(before[i], after[j])
        if (smaller and shared[i, j] >= OVERLAP * smaller) or (not smaller and cosine[i, j] >= ALIKE):
            ids[j] = old.ids[i]
    for j in np.flatnonzero(ids < 0).tolist():
        ids[j], next_id = next_id, next_id + 1
    return ids, next_id


def record(old: Clusters, new: Clusters) -> dict[str, Any]:
    """{"rows", "outliers", "events"} of one refit, as JSON."""
    return {"rows": len(new.item_ids), "outliers": new.outliers, "events": [_plain(event) for event in events(old, new)]}


def events(old: Clusters, new: Clusters) -> list[Event]:
    """One event for each old cluster (several together for a merge) and for each new one that comes from none, by id."""
    shared, before, _ = _shared(old, new)
    share = shared / np.maximum(before, 1)[:, None]
    sizes = {name: {int(i): int((c.labels == i).sum()) for i in c.ids} for name, c in (("old", old), ("new", new))}
    kept, told, found = set(new.ids.tolist()), set(), []

    def tell(kind: str, was: list[int], now: list[int], overlap: float | None) -> None:
        told.update(now)
        counts = sum(sizes["old"][i] for i in was), sum(sizes["new"][i] for i in now)
        found.append(Event(kind, tuple(was), tuple(now), None if overlap is None else round(overlap, 4), *counts))

    # Each old one has gone into one: halves that went two ways belong to the first.
    best = share.argmax(1) if share.size else np.zeros(len(old.ids), dtype=int)
    into = {int(i): [int(o) for o, row, k in zip(old.ids, share, best) if k == j and row[j] >= OVERLAP] for j, i in enumerate(new.ids)}
    merged = {o: j for j, many in into.items() if len(many) > 1 for o in many}
    for j, many in into.items():
        if len(many) > 1:
            rows = np.searchsorted(old.ids, many)
            tell("merged", many, [j], float(shared[rows, int(np.searchsorted(new.ids, j))].sum() / max(1, before[rows].sum())))
    for i, topic in enumerate(old.ids.tolist()):
        pieces = [int(new.ids[j]) for j in np.flatnonzero(share[i] >= PART)]
        held = float(sum(share[i][np.searchsorted(new.ids, p)] for p in pieces))
        if topic in merged:
            continue
        if len(pieces) > 1 and held >= OVERLAP:
            tell("split", [topic], pieces, held)
        elif topic in kept:
            overlap = float(share[i][int(np.searchsorted(new.ids, topic))]) if before[i] else None
            grown = sizes["new"][topic] >= GROWN * max(1, sizes["old"][topic])
            tell("grown" if grown else "survived", [topic], [topic], overlap)
        else:
            tell("died", [topic], [], float(share[i].max(initial=0)) if before[i] else None)
    for topic in sorted(kept - told):
        tell("born", [], [topic], None)
    return found


def still_named(old: Clusters, new: Clusters) -> dict[int, "Mapping[str, Any]"]:
    """Names of `old` for the ids whose members are by and large the same."""
    rows_old, rows_new = _members(old), _members(new)
    kept = {}
    for topic in old.names:
        before, after = rows_old.get(topic, set()), rows_new.get(topic, set())
        if after and 1 - len(before & after) / len(before | after) <= RENAMED:
            kept[topic] = old.names[topic]
    return kept


def _members(found: Clusters) -> dict[int, set[str]]:
    members: dict[int, set[str]] = {int(i): set() for i in found.ids}
    for item, topic in zip(found.item_ids, found.labels.tolist()):
        if topic >= 0:
            members[topic].add(item)
    return members


def _shared(old: Clusters, new: Clusters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that both hold, by old and new cluster (k, m), and of each the rows that the other one has anywhere."""
    now = dict(zip(new.item_ids, new.labels.tolist()))
    shared, before, after = np.zeros((len(old.ids), len(new.ids))), np.zeros(len(old.ids)), np.zeros(len(new.ids))
    at_old, at_new = ({int(topic): i for i, topic in enumerate(c.ids)} for c in (old, new))
    for item, topic in zip(old.item_ids, old.labels.tolist()):
        if item in now:
            i, j = at_old.get(topic), at_new.get(now[item])
            if i is not None:
                before[i] += 1
            if j is not None:
                after[j] += 1
            if i is not None and j is not None:
                shared[i, j] += 1
    return shared, before, after


def _plain(event: Event) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(event).items()}
