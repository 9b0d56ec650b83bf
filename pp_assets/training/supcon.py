"""Supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362) beside that of the heads: rows of one class draw together.

With few rows a class it keeps LoRA from forgetting what the encoder tells apart: banking77 with 10 rows a class, 1,540 other training rows,
one seed: 0.855 before tuning, 0.844 after three epochs without it (0.857 at best), 0.860 with it.
"""

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

TEMPERATURE = 0.1


def supcon_loss(vectors: Tensor, classes: Tensor) -> Tensor:
    """Mean over the rows that have their like in the batch: `vectors` (rows, width) of unit length, `classes` (rows,), -1 for none."""
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    alike = (classes[:, None] == classes) & (classes >= 0) & ~itself
    told = alike.any(1)
    if not told.any():
        return vectors.sum() * 0.0
    shares = (vectors @ vectors.T / TEMPERATURE).masked_fill(itself, float("-inf")).log_softmax(-1).masked_fill(~alike, 0.0)
    return -(shares.sum(1)[told] / alike.sum(1)[told]).mean()


def in_pairs(rows: Sequence[int], classes: Sequence[int | None], draw: Random) -> list[list[int]]:
    """The rows in drawn order, two of a class together where there are two."""
    waiting: dict[int | None, int] = {}
    units: list[list[int]] = []
    for row in rows:
        like = classes[row]
        if like is not None and like in waiting:
            units.append([waiting.pop(like), row])
        elif like is None:
            units.append([row])
        else:
            waiting[like] = row
    units += [[row] for row in waiting.values()]
    draw.shuffle(units)
    return units
