"""Where the heads of an encoder begin: at what the encoder as it is already tells, so that training does not have to find it.

Choices and flags begin as logistic regressions on the mean states (linear probing before tuning keeps what the encoder knows: Kumar et
al. 2022, arXiv:2202.10054), everything else at how often it occurs (Lin et al. 2017, arXiv:1708.02002, section 3.3): without that the
first epoch of a task with many fields goes into learning that most of them are null.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.model import SCALE, HeadStack
from pp_resources.models.encoder.targets import BEGIN, INSIDE, OUTSIDE, UNTOLD

C = 30.0  # on unit vectors; banking77 with 10 rows a class: 0.831, 0.840, 0.842, 0.842 of other training rows right with 3, 10, 30, 100
MAX_ITERATIONS = 100
RARE = 0.5  # added to each count: nothing begins as impossible


def start_heads(heads: HeadStack, means: Tensor, targets: Sequence[Sequence[Any]]) -> None:
    """Set the weights of `heads` from `means` (rows, hidden), unit length, and the targets by row, then by head."""
    with torch.no_grad():
        layer: Any  # what the kind of the head says it is
        for k, (head, layer) in enumerate(zip(heads.heads, heads.layers)):
            told = [i for i, row in enumerate(targets) if row[k] is not None]
            gold = [targets[i][k] for i in told]
            match head.kind:
                case "choice":
                    _start_classes(layer, means[told].numpy(), np.array(gold))
                case "flags":
                    for value, marks in enumerate(np.array(gold).T):
                        _start_flag(layer, value, means[told].numpy(), marks)
                case "tags" | "items":
                    tags = [target[0] if head.kind == "items" else target for target in gold]
                    layer.bias[:3] = _log_shares(tags)
                    layer.weight[:3] = 0.0
                case _:
                    _start_null(head, layer, gold)


def _start_classes(layer: nn.Linear, means: np.ndarray, classes: np.ndarray) -> None:
    found = np.unique(classes)
    layer.weight.zero_()
    counts = np.bincount(classes, minlength=layer.out_features) + RARE
    layer.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
    if len(found) < 2:
        return
    weight, bias = _logistic(means, classes)
    if len(found) == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight[found] = torch.from_numpy(weight / SCALE).float()
    # Classes without a row keep their place below the others.
    layer.bias.add_(float(bias.min()))
    layer.bias[found] = torch.from_numpy(bias).float()


def _start_flag(layer: nn.Linear, value: int, means: np.ndarray, marks: np.ndarray) -> None:
    count, total = marks.sum(), len(marks)
    layer.weight[value] = 0.0
    layer.bias[value] = math.log((count + RARE) / (total - count + RARE))
    if 0 < count < total:
        weight, bias = _logistic(means, marks)
        layer.weight[value] = torch.from_numpy(weight[0] / SCALE).float()
        layer.bias[value] = float(bias[0])


def _start_null(head: Head, layer: Any, gold: Sequence[Any]) -> None:
    """The null option against the places, whose own scores begin near 0."""
    null = sum(not target or (head.kind == "value" and not any(right for _, _, right in target)) for target in gold)
    layer.null.bias.fill_(math.log((null + RARE) / (len(gold) - null + RARE)))


def _log_shares(tags: Iterable[Sequence[int]]) -> Tensor:
    counts = torch.full((3,), RARE)
    for row in tags:
        for tag in row:
            if tag != UNTOLD:
                counts[tag] += 1
    assert (OUTSIDE, BEGIN, INSIDE) == (0, 1, 2)
    return (counts / counts.sum()).log()


def _logistic(means: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=C, max_iter=MAX_ITERATIONS).fit(means, classes)
    return fitted.coef_, fitted.intercept_
