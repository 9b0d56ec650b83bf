"""From evidence to weights: one pure function, whose every decision is latched where it must be and comes with its numbers."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from pp_assets.routing import engine
from pp_assets.routing.evidence import Cohort, Stats, scaled
from pp_assets.routing.policy import OBJECTIVE, Routing
from pp_assets.routing.state import ANSWERED, Latched, Ledger, Plain, State, Watched, fresh, watched
from pp_assets.routing.telling import Account, e_value, reason, told, warnings_of
from pp_assets.routing.wealth import STAKES, staked


class Decision(Plain):
    """Who answers with which share until the next decision, and why.

    `weights` of all variants that ever answer, summing to 1; `shadow` the shares of copies. `basis` is "static" where there was nothing
    to decide by. `state` is what the next call wants.
    """

    at: float
    basis: Literal["evidence", "static"]
    weights: dict[str, float]
    shadow: dict[str, float]
    winner: str | None
    variants: dict[str, dict[str, Any]]
    reason: str
    warnings: list[str]
    state: State


def decide(state: State | None, cohorts: Sequence[Cohort], policy: Routing, now: float) -> Decision:
    """Take in the cohorts that have become complete, and share out the traffic anew.

    Cohorts that are in the account already are skipped, so that the caller may give all of them or the new ones, and a recount from the
    first on ends in the same state. A cohort's sums must not change once its horizon has passed. Weights may change only where a cohort
    ends. Another experiment (`Routing.experiment`) starts with an empty account, from `now` on. ValueError where cohorts overlap or sums
    cannot be those of values in the declared range.
    """
    if state is None or state.experiment != policy.experiment:
        state = fresh(policy, 0.0 if state is None else now)
    account = _opened(state, policy)
    for due, metric, cohort in _complete(state, cohorts, policy, now):
        _take_in(account, metric, cohort, due)
    if not account.totals[OBJECTIVE][:, 0].any():
        return static(policy, _closed(account), "no feedback has come yet", now)
    return _decision(account, "evidence", _shares(account), now)


def static(policy: Routing, state: State | None, why: str, now: float) -> Decision:
    """The declared weights, without those that were rolled back: what is served where no evidence can be had. A winner stays one."""
    if state is None or state.experiment != policy.experiment:
        state = fresh(policy, now)
    account = _opened(state, policy)
    declared = np.array([policy.weights[name] for name in policy.answering]) * account.racing
    shares = _shares(account) if state.winner else declared / declared.sum()
    return _decision(account, "static", shares, now, why)


def _opened(state: State, policy: Routing) -> Account:
    totals = {name: np.array(test.totals) for name, test in state.tests.items()}
    k = len(policy.answering)
    shapes = {name: (k, k) if name == OBJECTIVE else (len(policy.variants),) for name in state.tests}
    wealth = {name: np.array(test.wealth) if test.wealth else np.zeros((*shapes[name], len(STAKES))) for name, test in state.tests.items()}
    cohorts = {name: test.cohorts for name, test in state.tests.items()}
    until = {name: test.until for name, test in state.tests.items()}
    return Account(policy, watched(policy), state.since, totals, wealth, cohorts, until, state.winner, state.won, dict(state.rolled_back))


def _closed(account: Account) -> State:
    tests = {
        name: Ledger(
            until=account.until[name],
            cohorts=count,
            totals=account.totals[name].tolist(),
            wealth=account.wealth[name].tolist() if count else [],
        )
        for name, count in account.cohorts.items()
    }
    experiment = account.policy.experiment
    return State(
        experiment=experiment, since=account.since, tests=tests, winner=account.winner, won=account.won, rolled_back=account.rolled_back
    )


def _complete(state: State, cohorts: Sequence[Cohort], policy: Routing, now: float) -> Iterator[tuple[float, str, Cohort]]:
    """What has become complete by `now` and is not in the account, in the order in which it did: (when, metric, cohort)."""
    ordered = sorted(cohorts, key=lambda cohort: cohort.start)
    for one, after in pairwise(ordered):
        if one.end > after.start:
            raise ValueError(f"cohorts overlap: one ends at {one.end:g}, the next begins at {after.start:g}")
    # Guards first: what one of them has seen in a cohort counts when that cohort could make a winner.
    horizons = {one.name: one.horizon for one in watched(policy)} | {OBJECTIVE: policy.horizon}
    due = [
        (cohort.end + horizon, cohort.end, place, metric, cohort)
        for place, (metric, horizon) in enumerate(horizons.items())
        for cohort in ordered
        if cohort.start >= state.since and cohort.end > state.tests[metric].until and cohort.end + horizon <= now
    ]
    for when, _, _, metric, cohort in sorted(due, key=lambda item: item[:3]):
        yield when, metric, cohort


def _take_in(account: Account, metric: str, cohort: Cohort, due: float) -> None:
    policy = account.policy
    before = account.totals[metric]
    if metric == OBJECTIVE:
        table = scaled(cohort, OBJECTIVE, policy.variants, policy.bottom, policy.top, True)
        k = len(policy.answering)
        epsilon = policy.epsilon / (policy.top - policy.bottom)
        account.wealth[metric] = account.wealth[metric] + engine.race_growth(before[:k], table[:k], epsilon)
    else:
        watch = next(one for one in account.watches if one.name == metric)
        table = _watched_table(watch, cohort, policy)
        champion = policy.variants.index(policy.champion)
        growth = engine.guard_growth(before, table, champion, watch.tolerance / (watch.high - watch.low))
        made = account.cohorts[metric]
        account.wealth[metric] = staked(account.wealth[metric] if made else np.full_like(growth, -np.inf), growth, made)
    account.totals[metric] = before + table
    account.cohorts[metric] += 1
    account.until[metric] = cohort.end
    if metric == OBJECTIVE:
        _declare(account, due)
    elif not watch.warns:
        _roll_back(account, watch, due)


def _watched_table(watch: Watched, cohort: Cohort, policy: Routing) -> np.ndarray:
    if watch.name not in ANSWERED:
        return scaled(cohort, watch.name, policy.variants, watch.low, watch.high, watch.higher_is_better)
    given = {name: cohort.stats.get(name, {}).get(OBJECTIVE, Stats()).n for name in policy.variants}
    asked = {name: {watch.name: Stats(cohort.asked.get(name, n), n, n)} for name, n in given.items()}
    return scaled(Cohort(cohort.start, cohort.end, asked), watch.name, policy.variants, 0, 1, watch.higher_is_better)


def _declare(account: Account, due: float) -> None:
    if account.winner is not None:
        return
    races = account.log_e(OBJECTIVE)
    place = int(engine.winner(races, account.racing, _suspected(account), account.policy.delta))
    if place == engine.NOBODY:
        return
    policy = account.policy
    account.winner = policy.answering[place]
    lead = e_value(engine.least_lead(races, account.racing)[place])
    needed = len(policy.answering) / policy.delta
    values = sum(int(n) for n in account.totals[OBJECTIVE][: len(policy.answering), 0])
    why = f"{account.winner} has won: its e-value against each other is {lead:.1f} or more, {needed:g} are needed, after {values} values"
    account.won = Latched(at=due, reason=why, numbers={"e": lead, "needed": needed, "values": values})


def _suspected(account: Account) -> np.ndarray:
    """(answering,): whether there is any evidence against a variant that a guard has seen."""
    against = [account.log_e(watch.name)[: len(account.policy.answering)] > 0 for watch in account.watches if not watch.warns]
    found = np.any(against, axis=0) if against else np.zeros(len(account.policy.answering), dtype=bool)
    return np.asarray(found & (np.array(account.policy.answering) != account.policy.champion))


def _roll_back(account: Account, watch: Watched, due: float) -> None:
    policy = account.policy
    needed = len(policy.guards) / policy.guard_alpha
    values = account.log_e(watch.name)
    for place, name in enumerate(policy.variants):
        if name == policy.champion or name in account.rolled_back or values[place] < math.log(needed):
            continue
        champion = account.stats(watch, policy.champion)
        own = account.stats(watch, name)
        e = e_value(values[place])
        why = (
            f"{name} was rolled back: {watch.name} {own.mean:.4g} on {own.n} values against {champion.mean:.4g} of {policy.champion} on "
            f"{champion.n}, worse by more than the tolerated {watch.tolerance:g} (e-value {e:.1f}, {needed:g} needed)"
        )
        numbers: dict[str, Any] = {
            "metric": watch.name,
            "e": e,
            "needed": needed,
            "n": own.n,
            "mean": own.mean,
            "champion_mean": champion.mean,
        }
        account.rolled_back[name] = Latched(at=due, reason=why, numbers=numbers)


def _shares(account: Account) -> np.ndarray:
    policy = account.policy
    k = len(policy.answering)
    won = np.array(engine.NOBODY if account.winner is None else policy.answering.index(account.winner))
    champion = policy.answering.index(policy.champion)
    kept = policy.min_share if policy.guards else 0.0
    return engine.shares(account.totals[OBJECTIVE][:k], account.racing, won, champion, policy.min_share, policy.leader_share, kept)


def _decision(account: Account, basis: Literal["evidence", "static"], shares: np.ndarray, now: float, why: str = "") -> Decision:
    policy = account.policy
    weights = {name: float(share) for name, share in zip(policy.answering, shares)}
    copies = {name: 0.0 if name in account.rolled_back else share for name, share in sorted(policy.shadow.items())}
    return Decision(
        at=now,
        basis=basis,
        weights=weights,
        shadow=copies,
        winner=None if account.winner in account.rolled_back else account.winner,
        variants=told(account, weights, copies),
        reason=reason(account, why),
        warnings=warnings_of(account),
        state=_closed(account),
    )
