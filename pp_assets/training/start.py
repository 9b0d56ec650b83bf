"""Where the heads of an encoder begin: at what the encoder as it is already tells, so that training does not have to find it.

Choices and flags begin as logistic regressions on the mean states (linear probing before tuning keeps what the encoder knows: Kumar et
al. 2022, arXiv:2202.10054), everything else at how often it occurs (Lin et al. 2017, arXiv:1708.02002, section 3.3): without that the
first epoch of a task with many fields goes into learning that most of them are null.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.model import SCALE, HeadStack
from pp_resources.models.encoder.targets import UNTOLD

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# On unit vectors, the one with the best cross-validated loss. A start that knows the rows by heart leaves the encoder little to learn: with
# 30 instead of 1 support-triage had 0.30 instead of 0.40 of 116 held-out rows whole at the end, and banking77 with 10 rows a class wants 30
# (0.842 of other training rows right before tuning; 0.831 with 3).
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
FOLDS = 3
JUDGED = 2000  # rows that choose
MAX_ITERATIONS = 100
TAGS = 3  # outside, begin, inside
RARE = 0.5  # added to each count: nothing begins as impossible


def start_heads(heads: HeadStack, means: Tensor, targets: Sequence[Sequence[Any]], groups: Sequence[str]) -> None:
    """Set the weights of `heads` from `means` (rows, hidden), unit length, the targets by row, then by head, and the group of each row,
    which cross-validation holds together."""
    with torch.no_grad():
        layer: Any  # what the kind of the head says it is
        for k, (head, layer) in enumerate(zip(heads.heads, heads.layers)):
            told = [i for i, row in enumerate(targets) if row[k] is not None]
            gold = [targets[i][k] for i in told]
            vectors, among = means[told].numpy(), np.array(groups)[told]
            match head.kind:
                case "choice":
                    _start_classes(layer, vectors, np.array(gold), among)
                case "flags":
                    _start_flags(layer, vectors, np.array(gold), among)
                case "tags" | "items":
                    tags = [target[0] if head.kind == "items" else target for target in gold]
                    layer.bias[:TAGS] = _log_shares(tags)
                    layer.weight[:TAGS] = 0.0
                case _:
                    _start_null(head, layer, gold)


def _start_classes(layer: nn.Linear, means: np.ndarray, classes: np.ndarray, groups: np.ndarray) -> None:
    found = np.unique(classes)
    layer.weight.zero_()
    counts = np.bincount(classes, minlength=layer.out_features) + RARE
    layer.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
    if len(found) < 2:
        return
    fitted = _logistic(means, classes, _strength(means, [classes], groups))
    weight, bias = fitted.coef_, fitted.intercept_
    if len(found) == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight[found] = torch.from_numpy(weight / SCALE).float()
    # Classes without a row keep their place below the others.
    layer.bias.add_(float(bias.min()))
    layer.bias[found] = torch.from_numpy(bias).float()


def _start_flags(layer: nn.Linear, means: np.ndarray, marks: np.ndarray, groups: np.ndarray) -> None:
    """`marks` (rows, labels) of 0 and 1."""
    counts, total = marks.sum(0), len(marks)
    layer.weight.zero_()
    layer.bias.copy_(torch.from_numpy(np.log((counts + RARE) / (total - counts + RARE))))
    sometimes = np.flatnonzero((counts > 0) & (counts < total))
    strength = _strength(means, [marks[:, value] for value in sometimes], groups)
    for value in sometimes:
        fitted = _logistic(means, marks[:, value], strength)
        layer.weight[value] = torch.from_numpy(fitted.coef_[0] / SCALE).float()
        layer.bias[value] = float(fitted.intercept_[0])


def _start_null(head: Head, layer: Any, gold: Sequence[Any]) -> None:
    """The null option against the places, whose own scores begin near 0."""
    null = sum(not target or (head.kind == "value" and not any(right for _, _, right in target)) for target in gold)
    layer.null.bias.fill_(math.log((null + RARE) / (len(gold) - null + RARE)))


def _log_shares(tags: Iterable[Sequence[int]]) -> Tensor:
    counts = torch.bincount(torch.tensor([tag for row in tags for tag in row if tag != UNTOLD]), minlength=TAGS) + RARE
    return (counts / counts.sum()).log()


def _logistic(means: np.ndarray, classes: np.ndarray, strength: float) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS).fit(means, classes)


def _strength(means: np.ndarray, fields: Sequence[np.ndarray], groups: np.ndarray) -> float:
    """Of STRENGTHS the one with which rows of other groups are foretold best, over all `fields` (each the classes of the rows)."""
    from sklearn.model_selection import GroupKFold

    some = slice(None, None, -(-len(means) // JUDGED))  # spread over all rows, which may be sorted
    means, groups = means[some], groups[some]
    if len(set(groups)) < FOLDS:
        return min(STRENGTHS)
    losses = np.zeros(len(STRENGTHS))
    for train, held in GroupKFold(FOLDS).split(means, groups=groups):
        for classes in (field[some] for field in fields):
            known = held[np.isin(classes[held], classes[train])]
            # Groups that are classes leave nothing to foretell.
            if not len(known) or len(np.unique(classes[train])) < 2:
                continue
            for i, strength in enumerate(STRENGTHS):
                fitted = _logistic(means[train], classes[train], strength)
                columns = np.searchsorted(fitted.classes_, classes[known])
                losses[i] -= fitted.predict_log_proba(means[known])[np.arange(len(known)), columns].sum()
    return STRENGTHS[int(losses.argmin())]
