"""Examples of a prompt by search: which training rows, how many, in which order. Chosen on validation rows alone.

Sets of each way to choose are candidates of the search (`Halving`), which judges them on common rows. Then the best set is judged in
several orders, on all of these rows, for the best order and for how much the order matters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pp_assets.data.generation.grid import Grid
from pp_assets.data.generation.slots import Slots
from pp_assets.data.neighbours import spread_out
from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.resampling import bootstrap_weights
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin, Proposer
from pp_assets.prompts.guards import room
from pp_assets.prompts.propose.demonstrations import KINDS, POOL, Ranked
from pp_assets.prompts.search.account import Account
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.strategy import Guards, Rows, rank
from pp_assets.prompts.wording import Shown, Wording

COUNTS, ORDERS = (1, 2, 4, 8), 8
SHUFFLES = 2000  # of the test whether the order matters


def drawn(ground: Ground, _parent: Judged, rng: np.random.Generator, _threshold: float) -> Ranked:
    """Training rows at random."""
    return [ground.train[i] for i in rng.permutation(len(ground.train))]


def prototypes(ground: Ground, _parent: Judged, _rng: np.random.Generator, _threshold: float) -> Ranked:
    """The row nearest to the mean of its class, of each class in turn, the larger ones first; then the second nearest. None without an
    encoder."""
    rows = [ground.train[i] for i in spread_out(len(ground.train), POOL)]
    if ground.embed is None or not rows:
        return []
    vectors, grid = ground.embed([row.input_text for row in rows]), Grid(Slots(ground.spec.output_schema, rows))
    classes: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        classes.setdefault(grid.label(row.output), []).append(place)
    ranked = [sorted(places, key=lambda i: -float(vectors[i] @ vectors[places].mean(0))) for _, places in sorted(classes.items())]
    ranked.sort(key=len, reverse=True)
    return [rows[places[turn]] for turn in range(len(rows)) for places in ranked if turn < len(places)]


CHOOSERS: Mapping[str, Callable[[Ground, Judged, np.random.Generator, float], Ranked]] = {
    **KINDS,
    "drawn": drawn,
    "prototypes": prototypes,
}


@dataclass(frozen=True)
class Sets:
    """Proposes sets of examples for the best parent's words: each way to choose with each count, of which the smaller ones are the
    beginning of the larger, largest counts first. With more asked for than that gives, sets are drawn anew. Examples that leave no room
    for the input are passed over, and so is the second of a group. `made` are the counts of which there was a set."""

    counts: Sequence[int] = COUNTS
    choosers: Sequence[str] = tuple(CHOOSERS)
    source: str = "examples"
    made: set[int] = field(default_factory=set, compare=False, repr=False)

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        parent, found = parents[0], dict[str, Candidate]()
        for again in range(1 + count // max(1, len(self.counts) * len(self.choosers))):
            fitting = {
                name: fitted(
                    ground,
                    parent.candidate.wording,
                    CHOOSERS[name](ground, parent, generator(seed, "examples", name, str(again)), 1.0),
                    max(self.counts),
                )
                for name in self.choosers
            }
            for size in sorted(self.counts, reverse=True):
                for name, shots in fitting.items():
                    if len(shots) < size:
                        continue
                    self.made.add(size)
                    origin = Origin(f"{self.source}:{name}", (parent.candidate.id,), f"{size} examples, {name}")
                    made = Candidate.of(ground.spec, replace(parent.candidate.wording, shots=shots[:size]), origin)
                    if made.id != parent.candidate.id:
                        found.setdefault(made.id, made)
        return list(found.values())[:count]


def fitted(ground: Ground, wording: Wording, rows: Ranked, most: int) -> tuple[Shown, ...]:
    """The first rows that fit, no two of one group, `most` at most."""
    shots, groups = list[Shown](), set[str]()
    for row in rows:
        if len(shots) == most:
            break
        one = Shown(row.input_text, row.output, item_id=row.item_id)
        if row.group not in groups and room(ground, replace(wording, shots=(*shots, one))) >= 0:
            shots.append(one)
            groups |= {row.group} - {""}
    return tuple(shots)


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
        told = {"candidate": made.id, "round": 1, "source": origin.source, "parents": list(origin.parents), "by": ""}
        arena.on_event({"event": "proposed", **told, "note": origin.note})
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


@dataclass
class SetsThenOrders:
    """A strategy: the sets that are proposed are halved on common rows; the best of them is then judged in other orders, which `account`
    pays for. `ordered` is what that gave."""

    account: Account
    orders: int = ORDERS
    ordered: Ordered = field(default_factory=Ordered)
    name: str = "examples"

    def search(
        self, arena: Arena, ground: Ground, start: Candidate, proposers: Sequence[Proposer], rows: Rows, *, seed: int, guards: Guards
    ) -> list[Judged]:
        found = Halving(rounds=1).search(arena, ground, start, proposers, rows, seed=seed, guards=guards)
        best = next((one for one in found if one.candidate.wording.shots), None)
        if best is None:
            return found
        with arena.charged(self.account):
            self.ordered = in_orders(arena, best, self.orders, seed)
        return sorted([*found, *self.ordered.judged[1:]], key=rank)
