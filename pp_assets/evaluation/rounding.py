"""Numbers as they are written: six decimals, never NaN, so that a report recomputed elsewhere has the same bytes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

DECIMALS = 6


def rounded(value: Any) -> Any:
    """Plain JSON values with floats at six decimals. ValueError for NaN and infinity: what has no value must be None with a reason."""
    if isinstance(value, Mapping):
        return {str(key): rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = round(float(value), DECIMALS)
        if not np.isfinite(number):
            raise ValueError("a number that is not finite reached the report")
        return number + 0.0  # -0.0 becomes 0.0
    return value
