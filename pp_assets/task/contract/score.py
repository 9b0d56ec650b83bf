"""Scores of rows under a contract, by node, dimension and in all."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from pp_assets.task.contract.aggregate import combine
from pp_assets.task.contract.asked import by_function, by_judge, by_meaning
from pp_assets.task.contract.rules import Read, Row, Score, read_row, rule_of
from pp_assets.task.contract.spec import Contract, _Rule
from pp_resources.models.remote import Provider

CHUNK = 2000
NO_SCORES = "no node below it has a score"


@dataclass(frozen=True)
class Scores:
    """`raw`, `nodes` (rows, nodes): before and after gates and maps; `dimensions` (rows, dimensions); `total` (rows,): 0..1, nan for none.
    `shut` (rows, nodes) and `closed` (rows, dimensions) say what a gate took out, `reasons[i]` by path why row i has no score
    there, `coverage` (rows,) the share of all weight that was scored."""

    contract: Contract
    paths: list[str]
    raw: np.ndarray
    shut: np.ndarray
    closed: np.ndarray
    nodes: np.ndarray
    dimensions: np.ndarray
    total: np.ndarray
    coverage: np.ndarray
    reasons: list[dict[str, str]]

    def __len__(self) -> int:
        return len(self.total)

    def row(self, i: int) -> dict[str, Any]:
        """One row as plain values: total, dimensions with their nodes, reasons for what is None."""
        tree: dict[str, Any] = {}
        for j, dimension in enumerate(self.contract.dimensions):
            own = {n.label: _plain(self.nodes[i, self.paths.index(f"{dimension.label}/{n.label}")]) for n in dimension.sub_dimensions}
            tree[dimension.label] = {"score": _plain(self.dimensions[i, j]), "sub_dimensions": own}
        total, reasons = _plain(self.total[i]), dict(self.reasons[i])
        if total is None:
            reasons.setdefault("total", NO_SCORES)
        return {"total": total, "coverage": round(float(self.coverage[i]), 4), "dimensions": tree, "reasons": reasons}

    def node(self, path: str) -> np.ndarray:
        return self.nodes[:, self.paths.index(path)]

    @cached_property
    def missing(self) -> dict[str, Counter[str]]:
        """By path, how often a score is missing for which reason."""
        found: dict[str, Counter[str]] = {}
        for reasons in self.reasons:
            for path, why in reasons.items():
                found.setdefault(path, Counter())[why] += 1
        return found


def score_rows(contract: Contract, rows: Iterable[Row], *, provider: Provider | None = None, embedder: Any = None) -> Scores:
    """Score rows: `score_rows(load_contract(task), [Row(input_text, output, label), ...]).total` is (rows,) in 0..1, nan for none.

    `Row.output` is a JSON value or text as a model said it, `label` the right output where it is known (nodes that compare with it have
    no score without). Judge nodes ask `provider`, semantic nodes `embedder`; without one they have no score and the others are weighed
    without them. Deterministic nodes take some 30 µs a row and node. For files use `score_stream`. Raises UserError when the provider's
    budget is spent; what it answered is kept.
    """
    read = [read_row(row, contract.output_schema or {}) for row in rows]
    paths, reasons = [path for path, _ in contract.nodes()], [dict[str, str]() for _ in read]
    raw = np.full((len(read), len(paths)), np.nan)
    shut = np.zeros_like(raw, bool)
    for j, (path, node) in enumerate(contract.nodes()):
        raw[:, j] = _column(node, contract, read, reasons, path, provider, embedder)
        if node.gate:
            shut[:, j] = _shut(node.gate, contract, read, provider, embedder)
            for i in np.flatnonzero(shut[:, j]):
                reasons[i][path] = f"its gate {node.gate.label!r} is shut"
    closed = np.zeros((len(read), len(contract.dimensions)), bool)
    for d, dimension in enumerate(contract.dimensions):
        if dimension.gate:
            closed[:, d] = _shut(dimension.gate, contract, read, provider, embedder)
            for i in np.flatnonzero(closed[:, d]):
                reasons[i][dimension.label] = f"its gate {dimension.gate.label!r} is shut"
    return aggregate(contract, raw, shut, closed, reasons)


def score_stream(contract: Contract, rows: Iterable[Row], **options: Any) -> Iterator[Scores]:
    """The same in chunks of 2,000 rows, for what should not be in memory at once."""
    waiting = iter(rows)
    while chunk := list(islice(waiting, CHUNK)):
        yield score_rows(contract, chunk, **options)


def aggregate(contract: Contract, raw: np.ndarray, shut: np.ndarray, closed: np.ndarray, reasons: list[dict[str, str]]) -> Scores:
    """From raw scores (rows, nodes), and which nodes (rows, nodes) and dimensions (rows, dimensions) are shut off by a gate."""
    every = list(contract.nodes())
    nodes = np.stack([mapped(raw[:, j], node.map) for j, (_, node) in enumerate(every)], axis=1)
    nodes = np.where(shut, np.nan, nodes)
    weights, columns, start = np.array([node.weight for _, node in every]), [], 0
    share = np.zeros(len(every))
    by_dimension = np.array([d.weight for d in contract.dimensions])
    for d, dimension in enumerate(contract.dimensions):
        part = slice(start, start := start + len(dimension.sub_dimensions))
        how = dimension.aggregation or contract.aggregation
        columns.append(mapped(combine(nodes[:, part], weights[part], how), dimension.map))
        share[part] = weights[part] / max(weights[part].sum(), 1e-300) * (weights[part].sum() if contract.flat else by_dimension[d])
    dimensions = np.where(closed, np.nan, np.stack(columns, axis=1))
    scored = ~np.isnan(nodes) & ~np.repeat(closed, [len(d.sub_dimensions) for d in contract.dimensions], axis=1)
    total = combine(nodes, weights, contract.aggregation) if contract.flat else combine(dimensions, by_dimension, contract.aggregation)
    total = mapped(total, contract.map)
    for j, (path, node) in enumerate(every):
        if node.hard_gate is not None:
            # What decides all and could not be measured leaves nothing decided.
            unknown = np.isnan(raw[:, j]) & ~shut[:, j]
            total = np.where(unknown, np.nan, np.where(raw[:, j] < node.hard_gate, 0.0, total))
            for i in np.flatnonzero(unknown):
                reasons[i].setdefault("total", f"the hard gate {path} has no score")
    coverage = (share * scored).sum(1) / share.sum()
    return Scores(contract, [path for path, _ in every], raw, shut, closed, nodes, dimensions, total, coverage, reasons)


def mapped(values: np.ndarray, points: Sequence[tuple[float, float]] | None) -> np.ndarray:
    """Through a calibration map, linear between its points and level beyond the first and last; nan stays."""
    if points is None:
        return values
    x, y = np.array(points, float).T
    return np.where(np.isnan(values), np.nan, np.interp(np.nan_to_num(values), x, y))


def _column(
    node: _Rule, contract: Contract, rows: list[Read], reasons: list[dict[str, str]], path: str, provider: Any, embedder: Any
) -> np.ndarray:
    out = np.full(len(rows), np.nan)
    for i, found in enumerate(_scored(node, contract, rows, provider, embedder)):
        if isinstance(found, str):
            reasons[i][path] = found
        else:
            out[i] = 1 - found if node.lower_is_better else found
    return out


def _scored(node: Any, contract: Contract, rows: list[Read], provider: Any, embedder: Any) -> Sequence[Score]:
    match node.kind:
        case "judge":
            return by_judge(node, rows, provider)
        case "semantic":
            return by_meaning(node, rows, embedder)
        case "python":
            return by_function(node, rows)
    rule = rule_of(node, contract)
    return [rule(row) for row in rows]


def _shut(gate: Any, contract: Contract, rows: list[Read], provider: Any, embedder: Any) -> np.ndarray:
    """A gate without a score is shut, whichever way it opens."""
    found = _column(gate, contract, rows, [{} for _ in rows], "", provider, embedder)
    with np.errstate(invalid="ignore"):
        return ~(found <= gate.at if gate.on_low else found > gate.at)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
