"""The numbers behind a decision, and its reason in a sentence."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pp_assets.evaluation.rounding import rounded
from pp_assets.routing import posterior
from pp_assets.routing.evidence import Stats
from pp_assets.routing.policy import OBJECTIVE, Routing
from pp_assets.routing.state import ANSWERED, Latched, Watched
from pp_assets.routing.wealth import log_e, reserve

MOST_E = 1e12  # more is not told apart


@dataclass
class Account:
    """A state opened for a decision: arrays by metric, as in `state.Ledger`."""

    policy: Routing
    watches: list[Watched]
    since: float
    totals: dict[str, np.ndarray]
    wealth: dict[str, np.ndarray]
    cohorts: dict[str, int]
    until: dict[str, float]
    winner: str | None
    won: Latched | None
    rolled_back: dict[str, Latched]

    @property
    def racing(self) -> np.ndarray:
        """(answering,): which variants have not been rolled back."""
        return np.array([name not in self.rolled_back for name in self.policy.answering])

    def log_e(self, metric: str) -> np.ndarray:
        """Log e-values: of the objective (answering, answering), row against column; else (variants,) against the champion."""
        if metric == OBJECTIVE:
            return log_e(self.wealth[metric])
        made = self.cohorts[metric]
        return log_e(self.wealth[metric], reserve(made)) if made else np.zeros(len(self.policy.variants))

    def stats(self, watch: Watched, variant: str) -> Stats:
        """Sums of a watched metric in its own units; the squares are left out."""
        n, total, _ = self.totals[watch.name][self.policy.variants.index(variant)]
        good = total if watch.higher_is_better else n - total
        return Stats(int(n), float(watch.low * n + good * (watch.high - watch.low)))


def told(account: Account, weights: dict[str, float], copies: dict[str, float]) -> dict[str, dict[str, Any]]:
    """By variant: status, share, what is believed of its objective, chance to be the best, e-values against the others, guards."""
    policy = account.policy
    k, span = len(policy.answering), policy.top - policy.bottom
    table = account.totals[OBJECTIVE]
    mean, low, high = (policy.bottom + span * part for part in posterior.interval(table))
    best = posterior.best(table[:k], account.racing)
    races = account.log_e(OBJECTIVE)
    found = {}
    for place, name in enumerate(policy.variants):
        answering = place < k
        n = int(table[place, 0])
        one: dict[str, Any] = {"status": _status(account, name), "share": weights.get(name, 0.0), "shadow_share": copies.get(name, 0.0)}
        one["objective"] = {"n": n, "mean": mean[place], "low": low[place], "high": high[place]}
        if not n:
            one["objective"] = {"n": 0, "mean": None, "low": None, "high": None, "why": "no feedback"}
        one["best"] = best[place] if answering else None
        one["against"] = {other: e_value(races[place, j]) for j, other in enumerate(policy.answering) if answering and j != place}
        one["guards"] = {watch.name: _guard(account, watch, name) for watch in account.watches if not watch.warns}
        one["answered"] = answered(account, name)
        if name in account.rolled_back:
            one["rolled_back"] = account.rolled_back[name].model_dump()
        found[name] = rounded(one)
    return found


def _status(account: Account, name: str) -> str:
    if name in account.rolled_back:
        return "rolled back"
    if name in account.policy.shadow:
        return "shadow"
    if account.winner is None:
        return "live"
    return "winner" if name == account.winner else "live" if name == account.policy.champion else "lost"


def _guard(account: Account, watch: Watched, name: str) -> dict[str, Any]:
    own = account.stats(watch, name)
    e = None if name == account.policy.champion else e_value(account.log_e(watch.name)[account.policy.variants.index(name)])
    needed = len(account.policy.guards) / account.policy.guard_alpha
    return {"n": own.n, "mean": own.mean, "tolerance": watch.tolerance, "e": e, "needed": needed}


def answered(account: Account, name: str) -> dict[str, Any]:
    """How many units there were, and the share of them with feedback."""
    watch = next(one for one in account.watches if one.name == ANSWERED[0])
    given = account.stats(watch, name)
    return {"asked": given.n, "share": given.mean}


def e_value(log_value: float) -> float:
    return math.exp(min(float(log_value), math.log(MOST_E)))


def reason(account: Account, why: str) -> str:
    """One sentence: what was decided, or what a decision waits for."""
    policy = account.policy
    if why:
        return f"static weights: {why}"
    latest = max(account.rolled_back.values(), key=lambda one: one.at, default=None)
    if account.won and (latest is None or account.won.at >= latest.at):
        return account.won.reason
    if latest is not None and (account.won or account.racing.sum() == 1):
        return latest.reason
    best = posterior.best(account.totals[OBJECTIVE][: len(policy.answering)], account.racing)
    leader = int(best.argmax())
    races = account.log_e(OBJECTIVE)[leader]
    e, other = min((e_value(races[j]), name) for j, name in enumerate(policy.answering) if j != leader and account.racing[j])
    needed = len(policy.answering) / policy.delta
    lead = f"{policy.answering[leader]} leads with a chance of {best[leader]:.3f} to be the best, its e-value against {other} is {e:.3g}"
    return f"no winner yet: {lead}, {needed:g} are needed" + (f"; {latest.reason}" if latest else "")


def warnings_of(account: Account) -> list[str]:
    """Variants whose feedback is shown to come at another rate than the champion's."""
    policy = account.policy
    found = []
    for watch in account.watches:
        values = account.log_e(watch.name)
        for place, name in enumerate(policy.variants):
            if watch.warns and name not in (policy.champion, *policy.shadow) and values[place] >= math.log(2 / policy.guard_alpha):
                own, other = answered(account, name), answered(account, policy.champion)
                told_of = f"{own['share']:.3g} of {own['asked']} against {other['share']:.3g} of {other['asked']}"
                found.append(f"{name} is {watch.name} than {policy.champion} ({told_of}): its feedback may be that of other users")
    return found
