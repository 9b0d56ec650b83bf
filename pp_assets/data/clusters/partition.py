"""Groups of rows: a tree of merges on the neighbour graph, cut where the groups are best told apart, then k-means from there.

The steps were chosen on the first turns of 12,017 dialogues (36 intents), then measured on banking77 and snips (bench/RESULTS.md has what
else was tried): half-whitened vectors averaged over neighbours gained .05 in ARI over the bare embeddings, and nothing draws at random.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pp_assets.data.clusters.graph import averaged, linked, means, neighbours_for, spread, unit
from pp_assets.data.neighbours import nearest

WHITENED, AXES = 0.5, 200  # the power of whitening, and the axes that it keeps
TIMES = 8  # averagings over neighbours; 4 gives the same, 16 less
COORDINATES = 50
MOST = 400  # topics; more are no overview
STEP = 1.15  # between one count of topics that is tried and the next
NO_TOPICS = 0.03  # a silhouette below it is that of a cloud without groups: normal vectors of size 384 have .004 (400 rows) to .02 (40)
AS_GOOD = 0.97  # of the best score: counts that cannot be told from it
ROUNDS = 50


@dataclass(frozen=True)
class Scene:
    """What rows look like to the partition: `vectors` as given (unit), `points` averaged over neighbours (rows, 50), the graph, and
    `density`, the mean cosine of each row to its nearest others."""

    vectors: np.ndarray
    points: np.ndarray
    graph: sparse.csr_matrix
    density: np.ndarray


def scene(vectors: np.ndarray) -> Scene:
    """Needs three rows or more."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    places, cosines = nearest(vectors, neighbours_for(len(vectors)))
    graph = linked(vectors, places)
    smooth = averaged(unit(spread(vectors, AXES, WHITENED)), graph, TIMES)
    return Scene(vectors, spread(smooth, COORDINATES), graph, cosines.mean(1))


def smallest_topic(rows: int) -> int:
    """Members below which a group is no topic."""
    return int(min(15, max(3, rows // 400)))


def partition(seen: Scene, count: int | None = None) -> np.ndarray:
    """Labels by row. Without `count` the number of topics is chosen; 0 for all rows where no cut shows groups.

    The score of a cut is its silhouette (on the vectors as given: the averaged ones would praise their own grouping) times its modularity
    squared: how far rows are from the next topic, and how few links between neighbours it breaks. Of all counts within 3 % of the best
    score the middle one is taken: the curve is flat there. On snips, product reviews and dialogues the silhouette alone chooses the same
    counts; the square was chosen on banking77, where it goes on to rise a little while topics are cut into phrasings.
    """
    n = len(seen.points)
    cuts = ward_cuts(seen, [count] if count else counts_to_try(n))
    if count:
        return settle(seen.points, cuts[count], smallest_topic(n))
    silhouettes = {k: silhouette(seen.vectors, labels) for k, labels in cuts.items()}
    if max(silhouettes.values()) < NO_TOPICS:
        return np.zeros(n, dtype=np.int64)
    scores = {k: max(0.0, value) * max(0.0, modularity(seen.graph, cuts[k])) ** 2 for k, value in silhouettes.items()}
    good = [k for k, score in scores.items() if score >= AS_GOOD * max(scores.values())]
    middle = np.exp(np.mean(np.log([min(good), max(good)])))
    return settle(seen.points, cuts[min(good, key=lambda k: (abs(np.log(k / middle)), k))], smallest_topic(n))


def counts_to_try(rows: int) -> list[int]:
    """2, 3, 4 … and then in steps of 15 %, as many as topics of the smallest size leave room for."""
    most, k, found = min(MOST, max(2, rows // (2 * smallest_topic(rows)))), 2.0, []
    while round(k) <= most:
        found.append(round(k))
        k = max(k + 1, k * STEP)
    return found or [2]


def ward_cuts(seen: Scene, counts: list[int]) -> dict[int, np.ndarray]:
    """Labels for each count of groups, from one tree (Ward 1963) whose merges are of linked rows only."""
    from sklearn.cluster import ward_tree
    from sklearn.cluster._agglomerative import _hc_cut

    children, _, leaves, *_ = ward_tree(seen.points.astype(np.float64), connectivity=seen.graph)
    return {k: np.asarray(_hc_cut(min(k, leaves), children, leaves), dtype=np.int64) for k in counts}


def settle(points: np.ndarray, labels: np.ndarray, smallest: int) -> np.ndarray:
    """k-means from these groups until nothing moves; groups that end below `smallest` are given up, the largest first to stay. Labels keep
    their numbers, so a group that was given up leaves a gap."""
    alive = np.unique(labels[labels >= 0])
    while True:
        labels = _lloyd(points, labels, alive)
        sizes = np.bincount(labels, minlength=int(alive.max()) + 1)[alive]
        if len(alive) == 1 or sizes.min() >= smallest:
            return labels
        alive = np.delete(alive, int(sizes.argmin()))


def _lloyd(points: np.ndarray, labels: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Rows whose label is not alive, or below 0, go to the nearest middle in the first round."""
    at = np.full(int(max(labels.max(), alive.max())) + 2, -1)  # the last place is never alive: it is that of label -1
    at[alive] = np.arange(len(alive))
    place = at[labels]
    middle = means(points[place >= 0], place[place >= 0], len(alive))
    for _ in range(ROUNDS):
        new = (points @ middle.T - (middle**2).sum(1) / 2).argmax(1)
        if (new == place).all():
            break
        place, counts = new, np.bincount(new, minlength=len(alive))
        middle = np.where(counts[:, None] > 0, means(points, place, len(alive)), middle)
    return alive[place]


def silhouette(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette (Rousseeuw 1987) of unit vectors by cosine distance, exact over all rows: the mean distance to a group is one minus
    the cosine with its mean, so k columns do. 0 for one group and for members that are alone."""
    _, labels = np.unique(labels, return_inverse=True)
    groups = int(labels.max()) + 1
    if groups < 2:
        return 0.0
    sizes, rows = np.bincount(labels), np.arange(len(labels))
    distance = 1 - vectors @ means(vectors, labels, groups).T
    own_size = sizes[labels]
    own = distance[rows, labels] * own_size / np.maximum(own_size - 1, 1)  # without the row itself, whose distance is 0
    distance[rows, labels] = np.inf
    other = distance.min(1)
    score = (other - own) / np.maximum(np.maximum(own, other), 1e-12)
    return float(np.where(own_size > 1, score, 0.0).mean(dtype=np.float64))


def modularity(graph: sparse.csr_matrix, labels: np.ndarray) -> float:
    """Share of links inside groups, less that of a random graph with the same degrees (Newman and Girvan 2004)."""
    member = sparse.csr_matrix((np.ones(len(labels)), (np.arange(len(labels)), labels)))
    degree = np.asarray(graph.sum(1)).ravel().astype(np.float64)
    inside = (member.T @ graph.astype(np.float64) @ member).diagonal().sum()
    return float(inside / degree.sum() - ((member.T @ degree / degree.sum()) ** 2).sum())
