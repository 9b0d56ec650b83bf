"""Examples of a prompt by search: which training rows, how many, in which order. Chosen on validation rows alone.

Sets of each way to choose are candidates of the search (`Halving`), which judges them on common rows. Then the best set is judged in
several orders, on all of these rows, for the best order and for how much the order matters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from pp_assets.data.labels import label_fields
from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.resampling import bootstrap_weights
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.guards import room
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.wording import Shown
from pp_assets.task.examples import Example
from pp_resources.fingerprint import canonical_json
from pp_resources.json_schema import Schema, get_path

COUNTS, ORDERS = (1, 2, 4, 8), 8
SHUFFLES = 2000  # of the test whether the order matters
POOL = 400  # training rows that examples are chosen among, the shorter ones: long examples crowd out the rest
Chooser = Callable[["Pool", int, np.random.Generator], list[Example]]


@dataclass(frozen=True)
class Pool:
    """Rows that may become examples, with unit vectors (rows, size) of their inputs where there is an encoder; `right` are the ids of
    those that the model answers rightly by itself."""

    schema: Schema
    rows: Sequence[Example]
    vectors: np.ndarray | None = None
    right: frozenset[str] = frozenset()

    @cached_property
    def classes(self) -> Mapping[str, list[int]]:
        """Places of the rows of each class, the values of the first label; one class where there is none."""
        found: dict[str, list[int]] = {}
        for place, row in enumerate(self.rows):
            found.setdefault(canonical_json([get_path(row.output, path) for path in label_fields(self.schema)[:1]]), []).append(place)
        return found


def drawn(pool: Pool, count: int, rng: np.random.Generator) -> list[Example]:
    """At random."""
    return [pool.rows[i] for i in rng.permutation(len(pool.rows))[:count]]


def of_each_class(pool: Pool, count: int, rng: np.random.Generator) -> list[Example]:
    """At random, of each class in turn."""
    return _in_turn(pool, {name: [places[i] for i in rng.permutation(len(places))] for name, places in pool.classes.items()}, count)


def unlike(pool: Pool, count: int, _rng: np.random.Generator) -> list[Example]:
    """Each as unlike those before it as can be, from the one nearest to all (farthest-first traversal)."""
    vectors = _vectors(pool)
    if vectors is None:
        return []
    chosen = [int(np.argmax(vectors @ vectors.mean(0)))]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < min(count, len(vectors)):
        nearest[chosen] = np.inf
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return [pool.rows[i] for i in chosen]


def prototypes(pool: Pool, count: int, _rng: np.random.Generator) -> list[Example]:
    """Nearest to the mean of its class, of each class in turn."""
    vectors = _vectors(pool)
    if vectors is None:
        return []
    ranked = {name: sorted(places, key=lambda i: -float(vectors[i] @ vectors[places].mean(0))) for name, places in pool.classes.items()}
    return _in_turn(pool, ranked, count)


def bootstrapped(pool: Pool, count: int, rng: np.random.Generator) -> list[Example]:
    """At random among the rows that the model answers rightly without examples."""
    return drawn(replace(pool, rows=[row for row in pool.rows if row.item_id in pool.right]), count, rng)


CHOOSERS: Mapping[str, Chooser] = {
    "random": drawn,
    "per-class": of_each_class,
    "diverse": unlike,
    "prototypes": prototypes,
    "bootstrapped": bootstrapped,
}


@dataclass(frozen=True)
class Sets:
    """Proposes sets of examples for the best parent's words: each chooser with each count, the smaller ones the beginning of the larger.
    Those that leave no room for the input are left out; with more asked for than there are, others are drawn."""

    pool: Pool
    counts: Sequence[int] = COUNTS
    choosers: Sequence[str] = tuple(CHOOSERS)
    source: str = "examples"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        parent, found = parents[0].candidate, dict[str, Candidate]()
        for again in range(1 + count // max(1, len(self.counts) * len(self.choosers))):
            for size in sorted(self.counts, reverse=True):
                for name in self.choosers:
                    chosen = CHOOSERS[name](self.pool, size, generator(seed, "examples", name, str(again)))
                    wording = replace(parent.wording, shots=tuple(map(shown, chosen)))
                    if len(chosen) < size or room(ground, wording) < 0:
                        continue
                    made = Candidate.of(ground.spec, wording, Origin(f"{self.source}:{name}", (parent.id,), f"{size} examples, {name}"))
                    if made.id != parent.id:
                        found.setdefault(made.id, made)
        return list(found.values())[:count]


@dataclass(frozen=True)
class OrderSpread:
    """How far the mean score of a prompt moves with the order of its examples, on the same rows: `spread` is the standard deviation over
    orders beyond what chance gives, with its 95 % interval; `lowest` and `highest` are the means of the worst and the best order; `p_value`
    that of no effect of the order (scores shuffled among the orders within groups of rows)."""

    orders: int
    n: int
    lowest: float
    highest: float
    spread: float
    low: float
    high: float
    p_value: float


@dataclass
class Ordered:
    """The orders of one set, the one that was found first, and how much they matter; None with fewer than two orders."""

    judged: list[Judged] = field(default_factory=list)
    spread: OrderSpread | None = None


def in_orders(arena: Arena, best: Judged, orders: int, seed: int) -> Ordered:
    """Judge the examples of a candidate in other orders too, turned round and at random, on the rows it was judged on."""
    wording, found = best.candidate.wording, Ordered([best])
    for i in range(orders * 4):
        if len(found.judged) >= orders or len(wording.shots) < 2:
            break
        order = [*range(len(wording.shots))][::-1] if not i else generator(seed, "order", str(i)).permutation(len(wording.shots)).tolist()
        origin = Origin("examples:order", (best.candidate.id,), f"order {' '.join(str(place + 1) for place in order)}")
        made = Candidate.of(arena.spec, replace(wording, shots=tuple(wording.shots[place] for place in order)), origin)
        if made.id in {one.candidate.id for one in found.judged}:
            continue
        if arena.calls_for(made, best.rows) > arena.left:
            break
        found.judged.append(arena.judge(made, best.rows))
    if len(found.judged) > 1:
        found.spread = order_spread(np.stack([one.scores for one in found.judged]), Clusters.of([row.group for row in best.rows]), seed)
    return found


def order_spread(scores: np.ndarray, clusters: Clusters, seed: int) -> OrderSpread:
    """From scores (orders, rows) of the same rows."""
    orders, n = scores.shape
    sums, sizes = clusters.sums(scores.T), clusters.sizes.astype(float)[:, None]
    means = sums.sum(0) / n
    variance, noise = float(means.var(ddof=1)), float(sums.var(axis=1, ddof=1).sum()) / n**2
    weights = bootstrap_weights(clusters.count, generator(seed, "orders", "bootstrap"))
    drawn_means = (weights @ sums) / (weights @ sizes)
    # A resample has the chance of the rows twice: in what was observed, and in the drawing.
    spreads = np.sqrt(np.maximum(0.0, drawn_means.var(axis=1, ddof=1) - 2 * noise))
    rng, hits = generator(seed, "orders", "shuffle"), 0
    for _ in range(SHUFFLES):
        hits += float(rng.permuted(sums, axis=1).sum(0).var(ddof=1)) / n**2 >= variance - 1e-12
    low, high = np.quantile(spreads, [0.025, 0.975])
    spread = float(np.sqrt(max(0.0, variance - noise)))
    p_value = (1 + hits) / (1 + SHUFFLES)
    return OrderSpread(orders, n, float(means.min()), float(means.max()), spread, float(low), float(high), p_value)


def shown(row: Example) -> Shown:
    """A training row as an example of a prompt."""
    return Shown(row.input_text, row.output, item_id=row.item_id)


def pool_of(ground: Ground, right: frozenset[str] = frozenset()) -> Pool:
    """The shorter training rows, in the order of their ids."""
    shorter = sorted(ground.train, key=lambda row: (len(row.input_text), row.item_id))[: max(POOL, len(ground.train) // 2)][:POOL]
    rows = sorted(shorter, key=lambda row: row.item_id)
    return Pool(ground.spec.output_schema, rows, ground.embed([row.input_text for row in rows]) if ground.embed else None, right)


def _in_turn(pool: Pool, ranked: Mapping[str, Sequence[int]], count: int) -> list[Example]:
    """The first of each class, then the second: larger classes first."""
    order = sorted(ranked, key=lambda name: (-len(ranked[name]), name))
    places = [ranked[name][turn] for turn in range(len(pool.rows)) for name in order if turn < len(ranked[name])]
    return [pool.rows[i] for i in places[:count]]


def _vectors(pool: Pool) -> np.ndarray | None:
    return pool.vectors if len(pool.rows) else None
