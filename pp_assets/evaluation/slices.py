"""Parts of the test items that a reader would look at first, and how a system does there against the rest.

A slice depends on the items alone (what is expected, how long the input is), so that it is the same one for every system.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pp_assets.evaluation.compare import Comparison, compare_scored
from pp_assets.evaluation.metrics import show_label, table_metric
from pp_assets.evaluation.outputs import items
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.stats.multiplicity import holm
from pp_assets.evaluation.stats.subgroups import PERMUTATIONS, subgroup_test
from pp_resources.json_schema import Field, get_path

MIN_ITEMS = 8  # in a slice and outside of it; fewer tell nothing
MOST = 60  # slices that are looked at, the largest first
FAR = 0.5  # similarity to the nearest training row (Jaccard of character 3-grams) below which an item is far from training
SHOWN = 20  # slices that are told, the worst first
TEST = f"{PERMUTATIONS} permutations, whole groups between groups of equal size"


@dataclass(frozen=True)
class Slice:
    """A part of the items: `mask` (n,), `by` what they are parted, `name` in words."""

    by: str
    name: str
    mask: np.ndarray

    @property
    def key(self) -> bytes:
        """Equal for slices that part the items in the same way: a slice, its complement, and any other name of them."""
        return min(np.packbits(self.mask).tobytes(), np.packbits(~self.mask).tobytes())


def find_slices(scored: Scored) -> tuple[list[Slice], int]:
    """By class of enum and boolean fields, members of arrays of enums, null and empty values, thirds of input length; and how many were
    left out because fewer than MIN_ITEMS items are in them or outside."""
    found = [part for leaf in scored.fields for part in _of_field(scored, leaf)] + _of_length([len(row.input_text) for row in scored.rows])
    found += [] if (far := far_from_training(scored)) is None else [Slice("distance to training", "far from training", far)]
    large = [part for part in found if min(part.mask.sum(), (~part.mask).sum()) >= MIN_ITEMS]
    kept = sorted(large, key=lambda part: -part.mask.sum())[:MOST]
    return kept, len([part for part in found if part.mask.any() and not part.mask.all()]) - len(kept)


def slice_table(ours: Scored, theirs: Scored | None) -> dict[str, Any]:
    """The primary metric of each slice (of `theirs` too) against the rest of the items, surely worse ones first.

    `rows` with n, groups, value and interval of both, the value on the `rest`, p and Holm's adjustment over all different partings;
    `worse` and `better` where that is under alpha. `left_out` counts slices that are too small, `reason` says why there is none.
    """
    metric, alpha = ours.scoring.primary, ours.scoring.alpha
    table, (parts, left_out) = ours.tables[metric], find_slices(ours)
    told: dict[str, Any] = {"metric": metric, "test": TEST, "rows": [], "found": len(parts), "left_out": left_out}
    if not parts or np.isnan(table.value(table.counts.sum(0))):
        return told | {"reason": f"no slice has {MIN_ITEMS} items and leaves as many" if not parts else table.reason}
    members = np.stack([part.mask for part in parts])
    gaps, p = subgroup_test(table.value, table.counts, members, ours.blocks, generator(ours.scoring.seed, "slices"))
    gaps = gaps if ours.scoring.higher_is_better else -gaps
    adjusted = _adjusted(parts, [None if np.isnan(one) else float(one) for one in p])
    rows: list[tuple[Any, dict[str, Any]]] = []
    for part, gap, one, holms in zip(parts, gaps, p, adjusted):
        mine, sides = subset(ours, part.mask, metric), {"candidate": ours} | ({"baseline": theirs} if theirs else {})
        metrics = {name: asdict(table_metric(s, s.tables[metric])) for name, s in _each(sides, part.mask, metric)}
        rest = table.value(table.counts[~part.mask].sum(0))
        row: dict[str, Any] = {"slice": part.name, "by": part.by, "n": len(mine.rows), "groups": mine.clusters.count}
        row |= {"baseline": None, **metrics}
        row |= {"rest": None if np.isnan(rest) else float(rest), "p_value": None if holms is None else float(one), "p_holm": holms}
        sure = holms is not None and holms < alpha
        row |= {"worse": bool(sure and gap < 0), "better": bool(sure and gap > 0)}
        rows.append(((_evidence(gap, one), part.name), row))
    return told | {"rows": [row for _, row in sorted(rows, key=lambda pair: pair[0])][:SHOWN], "reason": ""}


def far_from_training(scored: Scored) -> np.ndarray | None:
    """Which items (bool, n) have no training row with a similarity of FAR or more; None where the rows do not tell."""
    known = [row.nearest for row in scored.rows if row.nearest is not None]
    return np.array(known) < FAR if known and len(known) == len(scored.rows) else None


def distance_table(ours: Scored, theirs: Scored | None) -> dict[str, Any] | None:
    """The primary metric on all items, on those far from training and on those near it; None where the rows do not tell.

    What a model knows of near items it may have from their neighbours, so that the second number is the one to trust for new texts.
    """
    far, metric = far_from_training(ours), ours.scoring.primary
    if far is None:
        return None
    told: dict[str, Any] = {"metric": metric, "similarity": FAR, "rows": []}
    for part, mask in (("all", np.ones(len(far), dtype=bool)), ("far from training", far), ("near training", ~far)):
        row: dict[str, Any] = {"part": part, "n": int(mask.sum()), "candidate": None, "baseline": None}
        if mask.any():
            sides = {"candidate": ours} | ({"baseline": theirs} if theirs else {})
            row |= {name: asdict(table_metric(side, side.tables[metric])) for name, side in _each(sides, mask, metric)}
        told["rows"].append(row)
    return told


def slice_comparisons(a: Scored, b: Scored, metric: str) -> dict[str, Any]:
    """Each slice with the metric of both and the paired comparison, adjusted by Holm's method; those where `a` loses most surely first."""
    parts, left_out = find_slices(a)
    compared: list[tuple[Slice, Comparison, dict[str, Any]]] = []
    for part in parts:
        sides = dict(_each({"a": a, "b": b}, part.mask, metric))
        metrics = {name: asdict(table_metric(side, side.tables[metric])) for name, side in sides.items()}
        compared.append((part, compare_scored(sides["a"], sides["b"], metric), metrics))
    adjusted = _adjusted([part for part, _, _ in compared], [found.p_value for _, found, _ in compared], complements=False)
    rows: list[tuple[Any, dict[str, Any]]] = []
    for (part, found, metrics), holms in zip(compared, adjusted):
        row: dict[str, Any] = {"slice": part.name, "by": part.by, "n": found.n, "groups": found.groups, **metrics}
        row |= {key: getattr(found, key) for key in ("effect", "low", "high", "p_value", "reason")}
        rows.append(((_evidence(found.effect, found.p_value), part.name), row | {"p_holm": holms}))
    reason = "" if rows else f"no slice has {MIN_ITEMS} items and leaves as many"
    kept = [row for _, row in sorted(rows, key=lambda pair: pair[0])][:SHOWN]
    return {"metric": metric, "rows": kept, "found": len(parts), "left_out": left_out, "reason": reason}


def subset(scored: Scored, mask: np.ndarray, metric: str) -> Scored:
    """The rows where `mask` (n,) holds, with the table of one metric."""
    table = scored.tables[metric]
    kept = np.flatnonzero(mask)
    return replace(
        scored,
        rows=tuple(scored.rows[i] for i in kept),
        answers=tuple(scored.answers[i] for i in kept),
        expected=tuple(scored.expected[i] for i in kept),
        tables={metric: replace(table, counts=table.counts[mask])},
    )


def _each(sides: dict[str, Scored], mask: np.ndarray, metric: str) -> list[tuple[str, Scored]]:
    return [(name, subset(side, mask, metric)) for name, side in sides.items()]


def _of_field(scored: Scored, leaf: Field) -> list[Slice]:
    path, values = leaf.path, [get_path(answer.value, leaf.path) for answer in scored.expected]
    if leaf.kind in ("enum", "boolean"):
        labels = [answer.keys[path] for answer in scored.expected]
        return [Slice(path, f"{path} = {show_label(name)}", _mask(name == one for one in labels)) for name in sorted(set(labels))]
    if leaf.kind == "array_enum":
        held = [items(value) for value in values]
        names = sorted({name for one in held for name in one})
        parts = [Slice(path, f"{path} has {show_label(name)}", _mask(name in one for one in held)) for name in names]
        return [*parts, Slice(path, f"{path} is empty", _mask(not one for one in held))]
    if any(isinstance(value, list) for value in values):
        return [Slice(path, f"{path} is empty", _mask(not value for value in values))]
    missing = _mask(value is None for value in values)
    return [Slice(path, f"{path} is null", missing), Slice(path, f"{path} is given", ~missing)]


def _of_length(lengths: Sequence[int]) -> list[Slice]:
    size, by = np.asarray(lengths), "input length"
    first, second = (int(edge) for edge in np.quantile(size, [1 / 3, 2 / 3], method="lower"))
    named = [
        (f"input of up to {first:,} characters", size <= first),
        (f"input of {first + 1:,} to {second:,} characters", (size > first) & (size <= second)),
        (f"input of more than {second:,} characters", size > second),
    ]
    return [Slice(by, name, mask) for name, mask in named]


def _adjusted(parts: Sequence[Slice], p_values: Sequence[float | None], *, complements: bool = True) -> list[float | None]:
    """Holm's adjustment in which slices that are one test count once."""
    keys = [part.key if complements else part.mask.tobytes() for part in parts]
    tests = {key: p for key, p in zip(keys, p_values) if p is not None}
    held = dict(zip(tests, holm(list(tests.values()))))
    return [None if p is None else held[key] for key, p in zip(keys, p_values)]


def _evidence(effect: float | None, p: float | None) -> float:
    """Rises from what is surely worse over what cannot be told to what is surely better."""
    if effect is None or p is None or np.isnan(p):
        return 1.0
    return float(p if effect < 0 else 2 - p)


def _mask(held: Any) -> np.ndarray:
    return np.fromiter(held, dtype=bool)
