"""Two systems field by field."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pp_assets.evaluation.compare import Comparison, compare_scored, with_holm
from pp_assets.evaluation.examples import NAMES
from pp_assets.evaluation.metrics import Metric
from pp_assets.evaluation.scoring import Scored

KEPT = ("effect", "low", "high", "p_value", "p_holm", "only_candidate", "only_other", "test")


def field_rows(
    ours: Scored, theirs: Scored | None, mine: Mapping[str, Metric], base: Mapping[str, Metric] | None, names: Sequence[str] = NAMES
) -> list[dict[str, Any]]:
    """Per field: exact match and F1 of both sides, and the paired test of exact match, Holm-adjusted over the fields."""
    tests: list[Comparison | None] = [None] * len(ours.fields)
    if theirs is not None:
        tests = list(with_holm([compare_scored(ours, theirs, f"field_exact.{leaf.path}") for leaf in ours.fields]))
    rows = []
    for leaf, test in zip(ours.fields, tests):
        row: dict[str, Any] = {"path": leaf.path, "kind": leaf.kind, "nullable": leaf.nullable, "compare": ours.scoring.compare[leaf.path]}
        for side, found in zip(names, (mine, base)):
            for kind in ("exact", "f1"):
                row[f"{side}_{kind}"] = None if found is None else asdict(found[f"field_{kind}.{leaf.path}"])
        rows.append({**row, "test": None if test is None else {name: getattr(test, name) for name in KEPT}})
    return rows
