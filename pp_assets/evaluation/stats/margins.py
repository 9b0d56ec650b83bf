"""Is one system no worse than another by more than a margin? Three answers, since an interval may leave it open."""

from typing import Literal, NamedTuple

ONE_SIDED = 0.05  # error rate of the one-sided question: its bound is that of a two-sided 90 % interval


class NonInferiority(NamedTuple):
    """PASS: a loss of more than the margin is ruled out. FAIL: the system is shown to be worse, and not to be within the margin.
    INCONCLUSIVE: neither; more items would tell."""

    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    reason: str


def non_inferiority(effect: float, low: float, high: float, margin: float) -> NonInferiority:
    """Judge `effect`, new - old with more being better, by the bounds of its two-sided interval at 1 - 2 * ONE_SIDED."""
    if not margin > 0:
        raise ValueError(f"a margin of {margin} is not positive")
    if low >= -margin:
        return NonInferiority("PASS", f"a loss of more than {margin:g} is ruled out: the lower bound is {low:+.4f}")
    if high < 0:
        return NonInferiority("FAIL", f"the challenger is worse by {-effect:.4f}, between {-high:.4f} and {-low:.4f}")
    between = f"the difference lies between {low:+.4f} and {high:+.4f}"
    return NonInferiority("INCONCLUSIVE", f"{between}: a loss of {margin:g} is neither shown nor ruled out")
