"""Learns a contract's calibration by gradient on its own total: monotone maps of each node and of the total, with few knots, and weights.

That is a generalised additive model: signals, a rising curve for each, a weighted combination, and a rising curve for how people use their
scale. A ridge draws curves and weights to what they were, so that few marks change little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pp_assets.task.contract.aggregate import combine
from pp_assets.task.contract.score import mapped
from pp_assets.task.contract.spec import Contract

KNOTS = 5  # of a map, evenly over 0..1, ends included
RIDGE = 0.02  # of the squared distance from the start, over the number of marks
STEPS = 60  # of L-BFGS
_CORNER = 0.01  # what the first and last piece of a map have at the start: nearly nothing, yet with a gradient


@dataclass(frozen=True)
class Marks:
    """What people said. `raw`, `shut`, `closed` as in `score.aggregate`, of every output that was marked; `score` (outputs,) in 0..1 or,
    for preferences, `pairs` (pairs, 2): places of the better and the worse output."""

    raw: np.ndarray
    shut: np.ndarray
    closed: np.ndarray
    groups: Sequence[str]
    score: np.ndarray | None = None
    pairs: np.ndarray | None = None

    def subset(self, kept: np.ndarray) -> "Marks":
        """The outputs where `kept` (outputs,) holds, with the pairs of which both are kept."""
        groups = [group for group, keep in zip(self.groups, kept) if keep]
        score = None if self.score is None else self.score[kept]
        pairs = None
        if self.pairs is not None:
            place = np.cumsum(kept) - 1
            pairs = place[self.pairs[kept[self.pairs].all(1)]]
        return Marks(self.raw[kept], self.shut[kept], self.closed[kept], groups, score, pairs)


def fit(contract: Contract, marks: Marks) -> Contract:
    """The contract with maps and weights that come nearest to the marks: squared error for scores, logistic loss for preferences."""
    import torch

    torch.manual_seed(0)
    every = list(contract.nodes())
    grid = np.linspace(0, 1, KNOTS)
    # A node that says the same of everything has nothing to learn from.
    told = [j for j in range(len(every)) if len(np.unique(marks.raw[~np.isnan(marks.raw[:, j]), j])) > 1]
    curves = torch.tensor(np.stack([_pieces(mapped(grid, node.map)) for _, node in every]), dtype=torch.float64).log().requires_grad_()
    nodes = torch.tensor([max(node.weight, 1e-3) for _, node in every], dtype=torch.float64).log().requires_grad_()
    dims = torch.tensor([max(d.weight, 1e-3) for d in contract.dimensions], dtype=torch.float64).log().requires_grad_()
    scale = torch.tensor(_pieces(mapped(grid, contract.map)), dtype=torch.float64).log().requires_grad_()
    sharp = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    free = [curves, nodes, dims, scale, sharp]
    start = [t.detach().clone() for t in free]
    total = _Total(contract, marks, grid)
    count = len(marks.pairs) if marks.pairs is not None else len(marks.raw)
    optimiser = torch.optim.LBFGS(free, max_iter=STEPS, line_search_fn="strong_wolfe")

    def step() -> Any:
        optimiser.zero_grad()
        loss = _loss(total(curves, nodes, dims, scale), marks, sharp)
        loss = loss + RIDGE / max(1, count) * sum(((t - s) ** 2).sum() for t, s in zip(free, start))
        loss.backward()
        return loss

    optimiser.step(step)
    heights, whole = (t.detach().softmax(-1).cumsum(-1)[..., :-1].numpy() for t in (curves, scale))
    used = (total.basis * total.there[..., None]).sum(0).numpy() > 0
    made = _with(contract, told, grid, heights, used, nodes.detach().exp().numpy(), dims.detach().exp().numpy())
    # Of preferences alone, no scale is known.
    return made if marks.pairs is not None else made.model_copy(update={"map": _points(grid, whole, np.ones(KNOTS, bool))})


class _Total:
    """The total of `score.aggregate` as a function of maps and weights, with gradients."""

    def __init__(self, contract: Contract, marks: Marks, grid: np.ndarray) -> None:
        import torch

        self.contract, self.marks = contract, marks
        known = np.where(np.isnan(marks.raw) | marks.shut, np.nan, marks.raw)
        self.there = torch.tensor(~np.isnan(known))
        # Each score as weights of the knots around it: linear between them, as the map will be.
        place = np.nan_to_num(known)[..., None]
        self.grid = torch.tensor(grid)
        self.basis = self.around(torch.tensor(place))
        self.closed = torch.tensor(marks.closed)
        self.used = torch.tensor([float(node.weight > 0) for _, node in contract.nodes()], dtype=torch.float64)
        self.used_dims = torch.tensor([float(d.weight > 0) for d in contract.dimensions], dtype=torch.float64)
        self.shut_off, self.unknown = np.zeros(len(known), bool), np.zeros(len(known), bool)
        for j, (_, node) in enumerate(contract.nodes()):
            if node.hard_gate is not None:
                with np.errstate(invalid="ignore"):
                    self.shut_off |= marks.raw[:, j] < node.hard_gate
                self.unknown |= np.isnan(marks.raw[:, j]) & ~marks.shut[:, j]

    def around(self, values: Any) -> Any:
        """Values (..., 1) as weights of the knots (..., knots)."""
        return (1 - (values - self.grid).abs() * (KNOTS - 1)).clamp(min=0)

    def __call__(self, curves: Any, nodes: Any, dims: Any, scale: Any) -> Any:
        import torch

        heights = curves.softmax(-1).cumsum(-1)[:, :-1]
        scores = torch.where(self.there, (self.basis * heights).sum(-1), torch.nan)
        weights = nodes.exp() * self.used
        if self.contract.flat:
            found = combine(scores, weights, self.contract.aggregation, torch)
        else:
            columns, start = [], 0
            for dimension in self.contract.dimensions:
                part = slice(start, start := start + len(dimension.sub_dimensions))
                how = dimension.aggregation or self.contract.aggregation
                columns.append(_interpolated(combine(scores[:, part], weights[part], how, torch), dimension.map))
            levels = torch.where(self.closed, torch.nan, torch.stack(columns, dim=1))
            found = combine(levels, dims.exp() * self.used_dims, self.contract.aggregation, torch)
        if self.marks.pairs is None:
            there = ~torch.isnan(found)
            heights = scale.softmax(-1).cumsum(-1)[:-1]
            found = torch.where(there, (self.around(torch.where(there, found, 0.0)[:, None]) * heights).sum(-1), torch.nan)
        found = torch.where(torch.tensor(self.shut_off), torch.zeros_like(found), found)
        return torch.where(torch.tensor(self.unknown), torch.nan, found)


def _loss(said: Any, marks: Marks, sharp: Any) -> Any:
    import torch

    if marks.pairs is not None:
        better, worse = said[marks.pairs[:, 0]], said[marks.pairs[:, 1]]
        there = ~torch.isnan(better) & ~torch.isnan(worse)
        return torch.nn.functional.softplus(-sharp.exp() * (better[there] - worse[there])).mean()
    there = ~torch.isnan(said)
    return ((said[there] - torch.tensor(marks.score)[there]) ** 2).mean()


def _interpolated(values: Any, points: Sequence[tuple[float, float]] | None) -> Any:
    """`score.mapped` with gradients."""
    import torch

    if points is None:
        return values
    out = torch.full_like(values, points[0][1])
    for (x, y), (later_x, later_y) in pairwise(points):
        out = torch.where(values > x, y + (values.clamp(max=later_x) - x) * (later_y - y) / (later_x - x), out)
    return torch.where(torch.isnan(values), values, out)


def _pieces(heights: np.ndarray) -> np.ndarray:
    """How much a map rises from 0 to its first knot, between knots, and from the last to 1: shares of 1, none of them 0."""
    pieces = np.diff(heights, prepend=0.0, append=1.0).clip(_CORNER)
    return np.asarray(pieces / pieces.sum())


def _points(grid: np.ndarray, heights: np.ndarray, used: np.ndarray) -> list[tuple[float, float]]:
    """The knots that any score lies at or beside: of a node that is right or wrong only the two ends."""
    return [(float(x), round(float(y), 6)) for x, y, kept in zip(grid, heights, used) if kept]


def _with(
    contract: Contract,
    told: list[int],
    grid: np.ndarray,
    heights: np.ndarray,
    used: np.ndarray,
    nodes: np.ndarray,
    dims: np.ndarray,
) -> Contract:
    changed, j = [], 0
    for d, dimension in enumerate(contract.dimensions):
        below = []
        for node in dimension.sub_dimensions:
            points = _points(grid, heights[j], used[j]) if j in told else node.map
            below.append(node.model_copy(update={"map": points, "weight": round(float(nodes[j]), 6) if node.weight else 0.0}))
            j += 1
        weight = dimension.weight if contract.flat or not dimension.weight else round(float(dims[d]), 6)
        changed.append(dimension.model_copy(update={"sub_dimensions": below, "weight": weight}))
    return contract.model_copy(update={"dimensions": changed})
