"""From the scores of nodes to one number.

Weights are normalised to 1 over the scores that are there. What each way does at the ends, of two scores with equal weights
(tests read this table):

| aggregation | 1 and 0.5 | 1 and 0 | 0 and 0 | 1 and none | none and none |
| --- | --- | --- | --- | --- | --- |
| arithmetic | 0.75 | 0.5 | 0 | 1 | none |
| geometric | 0.7071 | 0 | 0 | 1 | none |
| harmonic | 0.6667 | 0 | 0 | 1 | none |

A score with weight 0 never counts, also where it is 0. A level without any score that counts has none, with the reason.
"""

from typing import Any, Literal

import numpy as np

Aggregation = Literal["arithmetic", "geometric", "harmonic"]
TINY = 1e-9  # stands for 0 under a logarithm or a fraction line; what it makes is put to 0 again


def combine(scores: Any, weights: Any, how: Aggregation, xp: Any = np) -> Any:
    """Scores (rows, nodes), nan for none, with weights (nodes,) to (rows,), nan where none counts. `xp` is numpy or torch."""
    there = ~xp.isnan(scores) & (weights > 0)
    share = xp.where(there, weights, xp.zeros_like(scores))
    total = share.sum(-1)
    counted = total > 0
    share = share / xp.where(counted, total, xp.ones_like(total))[..., None]
    safe = xp.where(there, scores, xp.ones_like(scores))
    if how == "arithmetic":
        found = (share * safe).sum(-1)
    else:
        above = xp.where(safe > TINY, safe, xp.full_like(safe, TINY))
        found = (
            xp.exp((share * xp.log(above)).sum(-1))
            if how == "geometric"
            else 1 / xp.where(counted, (share / above).sum(-1), 1.0 + 0 * total)
        )
        # A map that is being learnt gives no score of 0 exactly, so that its gradient passes here.
        found = xp.where((safe <= TINY).any(-1), xp.zeros_like(found), found)
    return xp.where(counted, found, xp.full_like(found, float("nan")))


def normalised(weights: list[float]) -> list[float]:
    """Weights of one level as shares of 1."""
    return [weight / sum(weights) for weight in weights]
