"""From facts of the rows to the plan of the data set: what is a duplicate of what, which rows belong together, which split each goes to."""

from dataclasses import dataclass

import numpy as np

from pp_assets.task.duplicates import Edge, NearDuplicates, TextSpool, find_near_duplicates
from pp_assets.task.same_item import SAME, difference
from pp_assets.task.scan import EXTRA, Facts
from pp_assets.task.similar import EXACT_PAIRS, LEAST_JACCARD, candidates, known_words
from pp_assets.task.spec import TaskSpec
from pp_assets.task.splits import SPLITS, TEST, TRAIN, VAL, assign, chain, components, smallest_per

# Beside the split codes and TO_SPLIT (-1).
DUPLICATE, OVERLAP = -2, -3


@dataclass
class Plan:
    """By row: `code` is the split (0 train, 1 val, 2 test), DUPLICATE (of row `first`) or OVERLAP (an extra row close to evaluation data).

    `group` names the component of near-duplicates and shared source_id (its smallest item id), `near` the component of near-duplicates
    alone. `occurrence` counts equal rows inside a given official split, which is kept as it is.
    """

    code: np.ndarray
    first: np.ndarray
    occurrence: np.ndarray
    group: np.ndarray
    near: np.ndarray
    edges: list[Edge]
    coarse_buckets: int


def plan_splits(facts: Facts, spec: TaskSpec, texts: TextSpool) -> Plan:
    """Groups first, from the base rows alone; then splits of whole groups; then the extra rows, which may only join train."""
    base = facts.given != EXTRA
    first, occurrence = _repeats(facts)
    threshold = spec.eval_split.near_duplicate_threshold
    near = related(facts.keys, _one_per_text(facts.text, base), texts, threshold)
    edges = np.vstack([_pairs(near.edges), chain(facts.text, base)])
    near_label = components(len(base), edges)
    group = smallest_per(components(len(base), np.vstack([edges, chain(facts.source, base & (facts.source != 0))])), facts.item)
    given_files = spec.eval_split.strategy == "files"
    repeated = first != np.arange(len(first))
    plan = Plan(
        code=np.where(repeated & ~(base & given_files), DUPLICATE, facts.given).astype(np.int8),
        first=first,
        occurrence=np.where(base & given_files, occurrence, 0),
        group=group,
        near=near_label,
        edges=near.edges,
        coarse_buckets=near.coarse_buckets,
    )
    if not given_files:
        _assign(plan, facts, spec, base & (plan.code != DUPLICATE), spec.eval_split.ratios.model_dump())
    elif spec.eval_split.files is not None and spec.eval_split.files.val is None:
        ratios = spec.eval_split.ratios
        part = ratios.val / (ratios.train + ratios.val)
        _assign(plan, facts, spec, base & (facts.given == TRAIN), {"train": 1 - part, "val": part, "test": 0.0})
    if not base.all():
        _place_extra(plan, facts, texts, threshold, edges)
    return plan


def related(
    keys: list[np.ndarray], rows: np.ndarray, texts: TextSpool, threshold: float, *, only_with: np.ndarray | None = None
) -> NearDuplicates:
    """Edges between rows that must lie on one side of a split: similar from the threshold on, or one item disturbed.

    The first are joined unverified: twins of one template with another number are two items, but who knows one answers the other. Too many
    rows to compare each with each (EXACT_PAIRS) are compared by MinHash bands, which find the first kind alone.
    """
    if len(rows) ** 2 > EXACT_PAIRS:
        return find_near_duplicates(keys, rows, texts, threshold, only_with=only_with)
    read = [texts[int(row)] for row in rows]
    known, found = known_words(read), NearDuplicates()
    for i, j, similarity in candidates(read, least=min(LEAST_JACCARD, threshold)):
        a, b = int(rows[i]), int(rows[j])
        if only_with is not None and not (only_with[a] or only_with[b]):
            continue
        if similarity >= threshold or (threshold < 1 and difference(read[i], read[j], known) == SAME):
            found.edges.append(Edge(a, b, similarity))
    return found


def leakage(plan: Plan, facts: Facts) -> dict[str, dict[str, np.ndarray]]:
    """For each pair of splits, the rows of the first that share something with the second: `same_input`, `near_duplicate` (and not the same
    input) and `source_id`. Only given files can leak; for every other strategy this is the proof that nothing does."""
    found = {}
    for left, right in ((TRAIN, TEST), (VAL, TEST), (TRAIN, VAL)):
        a, b = plan.code == left, plan.code == right
        same = a & np.isin(facts.text, facts.text[b])
        near = a & np.isin(plan.near, plan.near[b]) & ~same
        source = a & (facts.source != 0) & np.isin(facts.source, facts.source[b])
        rows = {"same_input": same, "near_duplicate": near, "source_id": source}
        found[f"{SPLITS[left]}/{SPLITS[right]}"] = {name: np.flatnonzero(mask) for name, mask in rows.items()}
    return found


def contradictions(plan: Plan, facts: Facts) -> list[np.ndarray]:
    """Sets of kept rows that have one normalised input and different outputs, in reading order."""
    kept = np.flatnonzero(plan.code >= 0)
    order = kept[np.lexsort((kept, facts.output[kept], facts.text[kept]))]
    text, output = facts.text[order], facts.output[order]
    clash = np.flatnonzero((text[1:] == text[:-1]) & (output[1:] != output[:-1]))
    clashing = np.unique(text[clash])
    rows = order[np.isin(text, clashing)]
    parts = np.split(rows, np.flatnonzero(np.diff(facts.text[rows].astype(np.uint64))) + 1) if len(rows) else []
    return sorted((np.sort(part) for part in parts), key=lambda part: int(part[0]))


def _repeats(facts: Facts) -> tuple[np.ndarray, np.ndarray]:
    """(first row with the same item, how many rows with the same item and the same given split came before)."""
    rows = np.arange(len(facts.item))
    _, index, inverse = np.unique(facts.item, return_index=True, return_inverse=True)
    order = np.lexsort((rows, facts.given, facts.item))
    item, given = facts.item[order], facts.given[order]
    starts = np.r_[True, (item[1:] != item[:-1]) | (given[1:] != given[:-1])][: len(order)]
    occurrence = np.empty(len(rows), dtype=np.int64)
    occurrence[order] = rows - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    return index[inverse], occurrence


def _one_per_text(text: np.ndarray, use: np.ndarray) -> np.ndarray:
    """One row per normalised text, in the order of the texts' hashes: that order does not depend on the order of lines."""
    rows = np.flatnonzero(use)
    return rows[np.unique(text[rows], return_index=True)[1]]


def _pairs(edges: list[Edge]) -> np.ndarray:
    return np.array([(edge.a, edge.b) for edge in edges], dtype=np.int64).reshape(-1, 2)


def _assign(plan: Plan, facts: Facts, spec: TaskSpec, rows: np.ndarray, ratios: dict[str, float]) -> None:
    split = spec.eval_split
    stratified = split.strategy == "stratified" or split.stratify_by is not None
    plan.code[rows] = assign(
        plan.group[rows],
        ratios,
        split.seed,
        stratum=facts.stratum[rows] if stratified else None,
        time=facts.time[rows] if split.strategy == "time" else None,
    )


def _place_extra(plan: Plan, facts: Facts, texts: TextSpool, threshold: float, base_edges: np.ndarray) -> None:
    extra = facts.given == EXTRA
    everywhere = np.ones(len(extra), dtype=bool)
    near = related(facts.keys, _one_per_text(facts.text, everywhere), texts, threshold, only_with=extra)
    links = [base_edges, _pairs(near.edges), chain(facts.text), chain(facts.source, facts.source != 0)]
    label = components(len(extra), np.vstack(links))
    near_evaluation = np.isin(label, label[~extra & ((plan.code == VAL) | (plan.code == TEST))])
    plan.code[extra & (plan.code != DUPLICATE)] = TRAIN
    plan.code[extra & near_evaluation & (plan.code == TRAIN)] = OVERLAP
    # An extra row takes the group of the base rows that it belongs to, where there are any.
    known = np.isin(label, label[~extra])
    last = np.iinfo(np.uint64).max
    plan.group[extra] = smallest_per(label, np.where(extra, np.where(known, last, facts.item), plan.group))[extra]
    plan.edges += near.edges
    plan.coarse_buckets += near.coarse_buckets
