"""The search of a prompt beside the packages, as one pure function: when one is due, when its data is there, what it found.

Whether a prompt is better is for the test of the search alone; what is decided here is when one is made, and what is told of it.
"""

from typing import Any

from pp_assets.flywheel.policy import Prompts
from pp_assets.flywheel.state import HOUR, Facts, Search, Searched, State, Step
from pp_assets.flywheel.triggers import due, waits_for


def advance_search(state: State, facts: Facts, policy: Prompts) -> Step:
    """One step. No search is started on feedback that started one before, none while another one or a training is under way."""
    if state.search.stage == "data":
        return _data(state, facts, policy)
    if state.search.stage == "search":
        return _search(state, facts, policy)
    return _idle(state, facts, policy)


def _idle(state: State, facts: Facts, policy: Prompts) -> Step:
    seen, before = facts.prompts, state.search
    numbers: dict[str, Any] = {"new": seen.new, "head": facts.head, "to": before.to}
    why = due(seen.new, facts.alarms, policy)
    if why is None or facts.head <= before.to:
        told = waits_for(seen.new, facts.alarms, policy, "a search")
    elif facts.now < before.until:
        told = f"the search of a prompt waits for {(before.until - facts.now) / HOUR:.1f} more hours after the last one: {why}"
    elif state.stage == "training":
        told = f"the search of a prompt waits for the training and its data: {why}"
    elif seen.cannot:
        told = f"no prompt can be searched: {seen.cannot}"
    else:
        begun = Search(stage="data", since=facts.now, round=before.round + 1, to=facts.head)
        return Step(state=_with(state, begun), reason=f"a prompt is to be searched: {why}", numbers=numbers)
    proven = f"; {_proven(seen.found)}" if seen.found and seen.found.command else ""
    return Step(state=state, reason=told + proven, numbers=numbers)


def _data(state: State, facts: Facts, policy: Prompts) -> Step:
    if facts.prompts.ready:
        after = state.search.model_copy(update={"stage": "search", "since": facts.now, "dataset": facts.prompts.dataset})
        reason = f"the search of a prompt starts on data set {facts.prompts.dataset[:8]}: {_asked(policy)}"
        return Step(state=_with(state, after), reason=reason, numbers=policy.asked)
    return _given_up(state, facts, policy, "its data did not come") or _waits(state, facts, "the data of a search is made")


def _search(state: State, facts: Facts, policy: Prompts) -> Step:
    found, now = facts.prompts.found, state.search
    if found is None or (found.at < now.since and found.dataset != now.dataset):
        return _given_up(state, facts, policy, "it brought nothing") or _waits(state, facts, "a prompt is searched")
    spent = f"{found.calls} calls" + ("" if found.usd is None else f", {found.usd:.4g} US dollars")
    reason = _proven(found) if found.command else f"the search of a prompt found: {found.verdict} ({found.reason})"
    return Step(state=_rests(state, facts, policy), reason=f"{reason}; {spent}", numbers=found.model_dump())


def _proven(found: Searched) -> str:
    gain = "" if found.gain is None else f" by {found.gain:+.4f} on test rows"
    return f"a searched prompt is better{gain} ({found.verdict}); '{found.command}' puts it into the task"


def _given_up(state: State, facts: Facts, policy: Prompts, why: str) -> Step | None:
    hours = (facts.now - state.search.since) / HOUR
    if hours < policy.search_hours:
        return None
    return Step(state=_rests(state, facts, policy), reason=f"the search of a prompt is given up after {hours:.1f} hours: {why}")


def _waits(state: State, facts: Facts, what: str) -> Step:
    return Step(state=state, reason=f"{what} since {(facts.now - state.search.since) / HOUR:.1f} hours")


def _rests(state: State, facts: Facts, policy: Prompts) -> State:
    until = facts.now + int(policy.cool_down_hours * HOUR)
    return _with(state, state.search.model_copy(update={"stage": "idle", "since": facts.now, "dataset": "", "until": until}))


def _with(state: State, search: Search) -> State:
    return state.model_copy(update={"search": search})


def _asked(policy: Prompts) -> str:
    dollars = "" if policy.usd is None else f" and {policy.usd:g} US dollars"
    return f"{policy.strategy} for {policy.target}, at most {policy.calls} calls{dollars}"
