"""Sets of examples for a prompt, all of them training rows: no model is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pp_assets.data.generation.grid import Grid
from pp_assets.data.generation.slots import Slots
from pp_assets.data.neighbours import spread_out
from pp_assets.evaluation.stats.groups import generator
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.guards import room
from pp_assets.prompts.wording import Shown
from pp_assets.task.examples import Example

COUNTS = (2, 4, 8)
THRESHOLD = 1.0  # score from which an answer of the parent vouches for its row
POOL = 500  # rows that are embedded
Ranked = list[Example]
"""Rows in the order in which they would be taken."""


@dataclass(frozen=True)
class Demonstrations:
    """Sets by each of `kinds` in turn, on the parents in turn, of different sizes and orders, within the tokens that a prompt has left.

    "bootstrapped": rows that the parent answers right, with its reasoning where it gives some; "corrected": rows that it gets wrong, with
    the right output; "knn": rows near to many others, each new one near to those that none covers yet; "classes": as many of each label.
    """

    kinds: tuple[str, ...] = ("bootstrapped", "knn", "classes", "corrected")
    counts: tuple[int, ...] = COUNTS
    threshold: float = THRESHOLD
    source: str = "demonstrations"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        rng, found = generator(seed, self.source), dict[str, Candidate]()
        known = {parent.candidate.id for parent in parents}
        ranked: dict[tuple[str, str], Ranked] = {}
        for attempt in range(3 * count):  # sets that come twice, or do not fit, are drawn anew
            if len(found) >= count or not parents:
                break
            turn, place = divmod(attempt, len(self.kinds))
            parent, kind = parents[turn % len(parents)], self.kinds[place]
            most, order = int(rng.choice(self.counts)), str(rng.choice(list(ORDERS)))
            if kind in ("bootstrapped", "classes") or (kind, parent.candidate.id) not in ranked:
                ranked[kind, parent.candidate.id] = KINDS[kind](ground, parent, rng, self.threshold)
            made = self._set(ground, parent, ranked[kind, parent.candidate.id], kind, most, order)
            if made.wording.shots and made.id not in known:
                found.setdefault(made.id, made)
        return list(found.values())

    def _set(self, ground: Ground, parent: Judged, rows: Ranked, kind: str, most: int, order: str) -> Candidate:
        """The first rows that fit, no two of one group, in an order."""
        bare = replace(parent.candidate.wording, shots=())
        said = {row.item_id: answer.reasoning for row, answer, score in zip(parent.rows, parent.answers, parent.scores) if score >= 1}
        shots, groups = list[Shown](), set[str]()
        for row in rows:
            if len(shots) == most:
                break
            if row.group and row.group in groups:
                continue
            one = Shown(row.input_text, row.output, said.get(row.item_id, ()), row.item_id)
            if room(ground, replace(bare, shots=(*shots, one))) >= 0:
                shots.append(one)
                groups.add(row.group)
        note = f"{len(shots)} {KIND_WORDS[kind]}, {order}."
        origin = Origin(f"{self.source}:{kind}", (parent.candidate.id,), note)
        return Candidate.of(ground.spec, replace(bare, shots=tuple(ORDERS[order](shots))), origin)


def bootstrapped(ground: Ground, parent: Judged, rng: np.random.Generator, threshold: float) -> Ranked:
    """Training rows that the parent answers right, in a drawn order; at a threshold below 1 the better ones first."""
    good = [place for place, _ in _own(ground, parent) if parent.scores[place] >= threshold]
    order = sorted(rng.permutation(len(good)), key=lambda i: -parent.scores[good[i]])
    return [parent.rows[good[i]] for i in order]


def corrected(ground: Ground, parent: Judged, _rng: np.random.Generator, threshold: float) -> Ranked:
    """Training rows that the parent gets wrong, the worst first."""
    wrong = [(float(parent.scores[place]), row.item_id, row) for place, row in _own(ground, parent) if parent.scores[place] < threshold]
    return [row for _, _, row in sorted(wrong, key=lambda one: one[:2])]


def knn(ground: Ground, _parent: Judged, _rng: np.random.Generator, _threshold: float) -> Ranked:
    """Each row the one that most raises the likeness of all to their nearest chosen one (facility location, which is within 1 - 1/e of the
    best): neither outliers nor twins. None without an encoder."""
    rows = [ground.train[i] for i in spread_out(len(ground.train), POOL)]
    if ground.embed is None or not rows:
        return []
    vectors = ground.embed([row.input_text for row in rows])
    alike = np.maximum(vectors @ vectors.T, 0)
    covered, chosen = np.zeros(len(rows)), list[int]()
    for _ in range(min(len(rows), 4 * max(COUNTS))):
        gains = np.maximum(alike, covered).sum(1) - covered.sum()
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, alike[chosen[-1]])
    return [rows[i] for i in chosen]


def classes(ground: Ground, _parent: Judged, rng: np.random.Generator, _threshold: float) -> Ranked:
    """Rows of each label in turn, labels and rows in a drawn order."""
    grid = Grid(Slots(ground.spec.output_schema, ground.train))
    by_label: dict[str, list[Example]] = {}
    for row in ground.train:
        by_label.setdefault(grid.label(row.output), []).append(row)
    drawn = [[by_label[name][i] for i in rng.permutation(len(by_label[name]))] for name in sorted(by_label)]
    order = rng.permutation(len(drawn))
    most = max(map(len, drawn), default=0)
    return [drawn[i][turn] for turn in range(most) for i in order if turn < len(drawn[i])]


KINDS: Mapping[str, Callable[[Ground, Judged, np.random.Generator, float], Ranked]] = {
    "bootstrapped": bootstrapped,
    "corrected": corrected,
    "knn": knn,
    "classes": classes,
}
KIND_WORDS = {
    "bootstrapped": "rows that the parent answers right",
    "corrected": "rows that the parent gets wrong, with the right output",
    "knn": "rows that are near to many and unlike each other",
    "classes": "rows, as many of each label",
}
ORDERS: Mapping[str, Callable[[list[Shown]], list[Shown]]] = {
    "first chosen first": lambda shots: shots,
    "first chosen last": lambda shots: shots[::-1],
    "short ones first": lambda shots: sorted(shots, key=lambda one: len(one.input_text)),
}


def _own(ground: Ground, parent: Judged) -> list[tuple[int, Example]]:
    """(place, row) of the training rows that the parent was judged on."""
    trained = {row.item_id for row in ground.train}
    return [(i, row) for i, row in enumerate(parent.rows) if row.item_id in trained]
