"""p values of several questions at once: Holm for claims, Benjamini-Hochberg for exploration.

Both in a line of numpy: statsmodels' `multipletests` collects the garbage of the whole process at each call, which takes 0.04 to 0.6 s, and
a report has dozens of calls.
"""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p values, in the order given: the chance of any false claim stays under alpha, whatever the dependence."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    return _placed(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order given, that bound the expected share of false ones among those under alpha (independent or
    positively dependent tests; Benjamini and Hochberg 1995)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    return _placed(np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1], order)


def _placed(adjusted: np.ndarray, order: np.ndarray) -> list[float]:
    found = np.empty(len(order))
    found[order] = np.minimum(adjusted, 1.0)
    return [float(p) for p in found]
