"""A contract, and the scores of many rows under it, as tables."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from pp_assets.evaluation.stats.nested import nested_mean
from pp_assets.task.contract.aggregate import normalised
from pp_assets.task.contract.score import Scores
from pp_assets.task.contract.spec import SETTINGS, Contract

LOW = 0.5  # a score below it breaks its node


class Tally:
    """Counts up chunks of scores: numbers of all rows are kept, texts are not."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.rows, self.covered, self.missing = 0, 0.0, dict[str, Counter[str]]()
        self._kept: list[np.ndarray] = []

    def add(self, scores: Scores) -> None:
        self.rows += len(scores)
        self.covered += float(scores.coverage.sum())
        self._kept.append(np.hstack([scores.total[:, None], scores.dimensions, scores.nodes]).astype(np.float32))
        for path, reasons in scores.missing.items():
            self.missing.setdefault(path, Counter()).update(reasons)

    @property
    def coverage(self) -> float:
        """Mean share of the contract's weight that was scored."""
        return round(self.covered / max(1, self.rows), 4)

    def records(self) -> list[dict[str, Any]]:
        """A record for the total, each dimension and each node: n, mean with its 95 % interval, share below LOW, why scores are missing."""
        paths = ["total"]
        paths += [d.label for d in self.contract.dimensions] + [path for path, _ in self.contract.nodes()]
        values = np.vstack(self._kept).astype(float) if self._kept else np.zeros((0, len(paths)))
        return [self._record(path, values[:, j]) for j, path in enumerate(paths)]

    def _record(self, path: str, column: np.ndarray) -> dict[str, Any]:
        found, known = nested_mean(column), column[~np.isnan(column)]
        reasons = self.missing.get(path, Counter())
        return {
            "path": path,
            "n": found.items,
            "mean": _round(found.value),
            "low": _round(found.low),
            "high": _round(found.high),
            "broken": int((known < LOW).sum()),
            "missing": self.rows - found.items,
            "why_missing": "; ".join(f"{why} ({count})" for why, count in reasons.most_common(3)),
        }


def tally(contract: Contract, parts: Iterable[Scores]) -> Tally:
    made = Tally(contract)
    for part in parts:
        made.add(part)
    return made


def node_records(contract: Contract) -> list[dict[str, Any]]:
    """A record for each node: where it stands, its share of its level and of all, what it checks."""
    found = []
    dims = normalised([d.weight for d in contract.dimensions])
    whole = sum(node.weight for _, node in contract.nodes())
    for share, dimension in zip(dims, contract.dimensions):
        level = whole if contract.flat else sum(node.weight for node in dimension.sub_dimensions)
        for node in dimension.sub_dimensions:
            within = node.weight / level
            given = {name: getattr(node, name) for name in SETTINGS if getattr(node, name) is not None}
            marks = [f"hard gate {node.hard_gate:g}" if node.hard_gate is not None else "", "calibrated" if node.map else ""]
            marks += ["lower is better" if node.lower_is_better else "", f"only if {node.gate.label}" if node.gate else ""]
            found.append(
                {
                    "path": f"{dimension.label}/{node.label}",
                    "kind": node.kind,
                    "share": round(within if contract.flat else within * share, 4),
                    "settings": ", ".join(f"{name}={value}" for name, value in given.items()),
                    "marks": ", ".join(filter(None, marks)),
                    "description": node.description,
                }
            )
    return found


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
