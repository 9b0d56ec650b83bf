"""Where the heads of an encoder begin: at what the encoder as it is already tells, so that training does not have to find it.

Choices and flags begin as logistic regressions on the mean states (linear probing before tuning keeps what the encoder knows: Kumar et
al. 2022, arXiv:2202.10054), everything else at how often it occurs (Lin et al. 2017, arXiv:1708.02002, section 3.3): without that the
first epoch of a task with many fields goes into learning that most of them are null.
"""

import math
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.model import SCALE, HeadStack
from pp_resources.models.encoder.targets import UNTOLD

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# Of the logistic regressions, on unit vectors. Weak: a start that knows the rows by heart leaves the encoder little to learn. With 30, the
# best without tuning (0.924 instead of 0.904 of 2,000 held-out rows of banking77), support-triage had 0.30 instead of 0.40 of 116 held-out
# rows whole at the end. With few rows a class the encoder learns little anyway: banking77 with 10 has 0.862 at the end, and 0.852 with 1.
STRENGTH, STRENGTH_OF_FEW = 1.0, 30.0
MAX_ITERATIONS = 100
TAGS = 3  # outside, begin, inside
RARE = 0.5  # added to each count: nothing begins as impossible


def start_heads(heads: HeadStack, means: Tensor, targets: Sequence[Sequence[Any]], few: Container[int] = ()) -> None:
    """Set the weights of `heads` from `means` (rows, hidden), unit length, and the targets by row, then by head; `few` are the indexes of
    heads that have few rows a class. Only heads that choose read the means."""
    with torch.no_grad():
        layer: Any  # what the kind of the head says it is
        for k, (head, layer) in enumerate(zip(heads.heads, heads.layers)):
            told = [i for i, row in enumerate(targets) if row[k] is not None]
            gold = [targets[i][k] for i in told]
            vectors = means[told].numpy()
            match head.kind:
                case "choice":
                    _start_classes(layer, vectors, np.array(gold), STRENGTH_OF_FEW if k in few else STRENGTH)
                case "flags":
                    _start_flags(layer, vectors, np.array(gold))
                case "tags" | "items":
                    tags = [target[0] if head.kind == "items" else target for target in gold]
                    layer.bias[:TAGS] = _log_shares(tags)
                    layer.weight[:TAGS] = 0.0
                case _:
                    _start_null(head, layer, gold)


def _start_classes(layer: nn.Linear, means: np.ndarray, classes: np.ndarray, strength: float) -> None:
    found = np.unique(classes)
    layer.weight.zero_()
    counts = np.bincount(classes, minlength=layer.out_features) + RARE
    layer.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
    if len(found) < 2:
        return
    fitted = _logistic(means, classes, strength)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(found) == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight[found] = torch.from_numpy(weight / SCALE).float()
    # Classes without a row keep their place below the others.
    layer.bias.add_(float(bias.min()))
    layer.bias[found] = torch.from_numpy(bias).float()


def _start_flags(layer: nn.Linear, means: np.ndarray, marks: np.ndarray) -> None:
    """`marks` (rows, labels) of 0 and 1."""
    counts, total = marks.sum(0), len(marks)
    layer.weight.zero_()
    layer.bias.copy_(torch.from_numpy(np.log((counts + RARE) / (total - counts + RARE))))
    for value in np.flatnonzero((counts > 0) & (counts < total)):
        fitted = _logistic(means, marks[:, value], STRENGTH)
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
