"""What copies and answers prove of a candidate: exact tests that may be asked as often as one likes.

A guard fails by an e-value (a bet against "not worse" whose expected gain is nought while that is true; Ville 1939, the mixture is Robbins'
of 1970), so that looking at it every minute throws a good candidate out no more often than once. It passes by exact bounds, which are
taken at 1, 2, 4, … times the declared number of copies, with half of the error that is left at each.
"""

import math
from typing import Literal

from pp_assets.evaluation.stats.intervals import clopper_pearson
from pp_assets.flywheel.policy import GuardName, Guards
from pp_assets.flywheel.state import Evidence, Pairs, Plain

GUARDS = 3  # that share the allowed error
LARGEST = 1e12


class Guard(Plain):
    """One guard: whether it holds (`pass`), is broken (`fail`) or cannot be told yet (`wait`); `bad` of `n`, and what was needed."""

    name: GuardName
    outcome: Literal["pass", "fail", "wait"]
    bad: int
    n: int
    e: float
    needed: float
    reason: str


def e_value(bad: int, good: int, null: float = 0.5) -> float:
    """Evidence against "of these trials at most the share `null` is bad": the mean likelihood ratio of all larger shares."""
    from scipy.special import betaincc, betaln

    null = min(max(null, 1e-9), 1 - 1e-9)
    if bad + good == 0:
        return 1.0
    above = float(betaincc(bad + 1, good + 1, null))
    if above == 0.0:
        return 0.0
    mixed = float(betaln(bad + 1, good + 1)) + math.log(above) - math.log1p(-null)
    return float(min(LARGEST, math.exp(min(700.0, mixed - bad * math.log(null) - good * math.log1p(-null)))))


def of_candidate(pairs: Pairs, guards: Guards, look: int) -> list[Guard]:
    """The guards of a candidate in the shadow, at its `look`-th judgement from 0 on."""
    level = guards.alpha / 2 ** (look + 1) / GUARDS
    return [_validity(pairs, guards, level), _latency(pairs, guards, level), _agreement(pairs, guards)]


def of_champion(seen: Evidence, guards: Guards) -> list[Guard]:
    """The guards of a new champion: its answers against those of the one before, by rates, since no user sees both.

    Demonstrations are mostly given where an answer is wrong, so those of now would always speak for the package that nobody sees. What is
    compared is how often the hidden one was right and the visible one wrong: now, and while the roles were the other way round.
    """
    before, now = seen.answers_before, seen.answers
    bad = _risen("validity", (now.bad, now.n), (before.bad, before.n), guards, guards.validity, "invalid or missing answers")
    wrong = _risen(
        "agreement",
        (seen.pairs.only_shadow_right, seen.pairs.n),
        (seen.pairs_before.only_shadow_right, seen.pairs_before.n),
        guards,
        0.0,
        "answers that demonstrations took back and the other package had right",
    )
    e, needed = e_value(now.slow, now.timed - now.slow), GUARDS / guards.alpha
    said = (
        f"{now.slow} of {now.timed} answers took more than {guards.slower:g} times the earlier median (e-value {e:.3g}, {needed:g} needed)"
    )
    slow = Guard(name="latency", outcome="fail" if e >= needed else "pass", bad=now.slow, n=now.timed, e=e, needed=needed, reason=said)
    return [bad, slow, wrong]


def _risen(name: GuardName, now: tuple[int, int], before: tuple[int, int], guards: Guards, tolerance: float, what: str) -> Guard:
    """Half of the error goes to the bound of the earlier rate, half to the bet against "no more than that"."""
    level = guards.alpha / GUARDS / 2
    bound = min(1.0, _upper(*before, level) + tolerance)
    e, needed = e_value(now[0], now[1] - now[0], bound) if bound < 1 else 1.0, 1 / level
    said = (
        f"{what}: {now[0]} of {now[1]}, before {before[0]} of {before[1]}, at most {bound:.3g} allowed (e-value {e:.3g}, {needed:g} needed)"
    )
    return Guard(name=name, outcome="fail" if e >= needed else "pass", bad=now[0], n=now[1], e=e, needed=needed, reason=said)


def _validity(pairs: Pairs, guards: Guards, level: float) -> Guard:
    worse, better, n = pairs.only_shadow_bad, pairs.only_live_bad, pairs.n
    e, needed = e_value(worse, better), GUARDS / guards.alpha
    bound = _upper(worse, n, level / 2) - (_lower(better, n, level / 2))
    broken = e >= needed and n > 0 and (worse - better) / n > guards.validity
    said = f"invalid or missing where the champion answered: {worse} of {n} copies, the other way round {better}; at most {bound:.3g} more"
    outcome: Literal["pass", "fail", "wait"] = "fail" if broken else "pass" if bound <= guards.validity else "wait"
    return Guard(name="validity", outcome=outcome, bad=worse, n=n, e=e, needed=needed, reason=f"{said}, {guards.validity:g} allowed")


def _latency(pairs: Pairs, guards: Guards, level: float) -> Guard:
    slow, n = pairs.slower, pairs.timed
    e, needed = e_value(slow, n - slow), GUARDS / guards.alpha
    outcome: Literal["pass", "fail", "wait"] = "fail" if e >= needed else "pass" if _upper(slow, n, level) <= 0.5 else "wait"
    said = f"{slow} of {n} copies took more than {guards.slower:g} times the champion's time, fewer than half allowed"
    return Guard(name="latency", outcome=outcome, bad=slow, n=n, e=e, needed=needed, reason=said)


def _agreement(pairs: Pairs, guards: Guards) -> Guard:
    """Passes where demonstrations do not speak for the champion: that the candidate loses nothing is shown on held-out data."""
    against, in_favour = pairs.only_live_right, pairs.only_shadow_right
    e, needed = e_value(against, in_favour), GUARDS / guards.alpha
    outcome: Literal["pass", "fail", "wait"] = "fail" if e >= needed else "pass" if against <= in_favour else "wait"
    said = f"of {pairs.demonstrated} demonstrated inputs only the candidate had {in_favour} right, only the champion {against}"
    said += f" (e-value {e:.3g}, {needed:g} needed)"
    return Guard(name="agreement", outcome=outcome, bad=against, n=pairs.demonstrated, e=e, needed=needed, reason=said)


def _upper(bad: int, n: int, level: float) -> float:
    return clopper_pearson(bad, n, 1 - 2 * level)[1] if n else 1.0


def _lower(bad: int, n: int, level: float) -> float:
    return clopper_pearson(bad, n, 1 - 2 * level)[0] if n else 0.0
