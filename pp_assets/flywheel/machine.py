"""The flywheel of a task as one pure function: where it stands and what is so give where it stands next, what is to be done, and why."""

from collections.abc import Sequence
from typing import Any

from pp_assets.flywheel.guards import Guard, of_candidate, of_champion
from pp_assets.flywheel.policy import CANDIDATE, PREVIOUS, Flywheel
from pp_assets.flywheel.searching import advance_search
from pp_assets.flywheel.state import HOUR, Action, Challenger, Facts, Pack, State, Step
from pp_assets.flywheel.triggers import due, waits_for

REMEMBERED = 50  # packages that failed; a name in front of the store's history, which has all of them


def advance(state: State, facts: Facts, policy: Flywheel) -> Step:
    """One step. Nothing becomes champion but from the shadow stage, with the test on held-out data passed as of now and all guards passed;
    no training and no search of a prompt is started on feedback that started one before."""
    step = _packages(state, facts, policy)
    if step.state != state or policy.prompts is None:
        return step
    search = advance_search(state, facts, policy.prompts)
    told = {"prompts": {"reason": search.reason, **search.numbers}}
    if search.state != state:
        return search.model_copy(update={"numbers": told})
    return step.model_copy(update={"numbers": step.numbers | told})


def _packages(state: State, facts: Facts, policy: Flywheel) -> Step:
    champion = facts.champion
    if champion is None:
        return Step(state=state, reason="there is no champion yet: the first package that may ship becomes one")
    if state.champion != champion.package_digest:
        return _taken_over(state, champion, facts)
    if state.stage == "shadow":
        return _shadow(state, facts, policy)
    if state.stage == "watch":
        return _watch(state, facts, policy)
    return _free(state, facts, policy)


def _taken_over(state: State, champion: Pack, facts: Facts) -> Step:
    """Whatever was on trial was compared with a champion that stands no more."""
    kept = state.model_copy(update={"champion": champion.package_digest})
    if state.stage in ("idle", "training"):
        return Step(state=kept, reason=f"the champion is {name_of(champion)}")
    ended = _idle(kept, facts.now)
    return Step(state=ended, actions=(Action(kind="end"),), reason=f"somebody else made {name_of(champion)} the champion")


def _free(state: State, facts: Facts, policy: Flywheel) -> Step:
    """Idle or in training: a challenger that has passed goes on trial, whatever made it."""
    if facts.now < state.until:
        return Step(state=state, reason=f"cools down for {(state.until - facts.now) / HOUR:.1f} more hours")
    ready = [one for one in facts.challengers if one.passes and one.pack.package_digest not in state.refused]
    if ready and not (state.stage == "training" and facts.behind):
        return _try(state, facts, max(ready, key=lambda one: (one.value or 0.0, one.pack.variant, one.pack.package_digest)))
    if state.stage == "training":
        return _training(state, facts, policy)
    return _start(state, facts, policy)


def _try(state: State, facts: Facts, best: Challenger) -> Step:
    changes = {"stage": "shadow", "since": facts.now, "tried": facts.now, "looks": 0, "candidate": best.pack, "previous": facts.champion}
    actions = (Action(kind="shadow", pack=best.pack, role=CANDIDATE),)
    reason = f"{name_of(best.pack)} goes into the shadow of {_of(facts.champion)}: {best.outcome} on held-out data ({best.reason})"
    return Step(state=state.model_copy(update=changes), actions=actions, reason=reason, numbers={"value": best.value})


def _training(state: State, facts: Facts, policy: Flywheel) -> Step:
    hours = (facts.now - state.since) / HOUR
    if facts.data != state.before and not facts.behind:
        # Every variant was trained and tested on the new data, and none may go on trial.
        found = [f"{one.pack.variant}: {one.outcome} ({one.reason})" for one in facts.challengers] or ["no package changed"]
        return Step(state=_cooling(state, facts, policy), reason=f"the training brought no candidate: {'; '.join(found)}")
    if hours >= policy.training_hours:
        waits = ", ".join(facts.behind) or "the data"
        return Step(state=_cooling(state, facts, policy), reason=f"the training is given up after {hours:.1f} hours: {waits} did not come")
    return Step(state=state, reason=f"trains since {hours:.1f} hours; not there yet: {', '.join(facts.behind) or 'the data'}")


def _start(state: State, facts: Facts, policy: Flywheel) -> Step:
    numbers = {"new": facts.new, "head": facts.head, "alarms": [alarm.reason for alarm in facts.alarms]}
    why = due(facts.new, facts.alarms, policy)
    if why is None or facts.head <= state.trained_to:
        return Step(state=state, reason=waits_for(facts.new, facts.alarms, policy, "a training"), numbers=numbers)
    key = f"flywheel:{facts.task}:{facts.head}"
    changes = {
        "stage": "training",
        "since": facts.now,
        "round": state.round + 1,
        "trained_to": facts.head,
        "key": key,
        "before": facts.data,
    }
    return Step(state=state.model_copy(update=changes), reason=f"a training starts: {why}", numbers=numbers)


def _shadow(state: State, facts: Facts, policy: Flywheel) -> Step:
    candidate = state.candidate
    assert candidate is not None
    pairs, hours = facts.evidence.pairs, (facts.now - state.since) / HOUR
    numbers: dict[str, Any] = {"pairs": pairs.model_dump(), "look": state.looks, "hours": round(hours, 3)}
    found = of_candidate(pairs, policy.guards, state.looks)
    numbers |= {"guards": [guard.model_dump() for guard in found]}
    standing = [one for one in facts.challengers if one.pack == candidate]
    if not any(one.passes for one in standing):
        why = standing[0].reason if standing else "another package of the variant took its place"
        return _dropped(state, facts, policy, f"it no longer passes on held-out data: {why}", numbers, refuse=bool(standing))
    if broken := [guard for guard in found if guard.outcome == "fail"]:
        return _dropped(state, facts, policy, _reasons(broken), numbers)
    at_least = policy.copies * 2**state.looks
    missing = [f"{pairs.n} of {at_least} copies"] * (pairs.n < at_least)
    missing += [f"{pairs.demonstrated} of {policy.demonstrations} demonstrations"] * (pairs.demonstrated < policy.demonstrations)
    missing += [f"{hours:.1f} of {policy.shadow_hours:g} hours"] * (hours < policy.shadow_hours)
    open_ones = [guard for guard in found if guard.outcome == "wait"]
    if not missing and not open_ones:
        return _promoted(state, facts, candidate, found, numbers)
    if hours >= policy.patience_hours:
        return _dropped(state, facts, policy, f"not shown to be good in {hours:.1f} hours: {_reasons(open_ones) or missing[0]}", numbers)
    if missing:
        return Step(state=state, reason=f"{name_of(candidate)} is in the shadow: {', '.join(missing)}", numbers=numbers)
    later = state.model_copy(update={"looks": state.looks + 1})
    return Step(state=later, reason=f"looked at {pairs.n} copies, cannot tell yet: {_reasons(open_ones)}", numbers=numbers)


def _promoted(state: State, facts: Facts, candidate: Pack, found: Sequence[Guard], numbers: dict[str, Any]) -> Step:
    changes = {"stage": "watch", "since": facts.now, "champion": candidate.package_digest, "previous": facts.champion}
    actions = (
        Action(kind="promote", pack=candidate),
        Action(kind="shadow", pack=facts.champion, role=PREVIOUS),
    )
    reason = f"{name_of(candidate)} is the champion in place of {_of(facts.champion)}: {_reasons(found)}"
    return Step(state=state.model_copy(update=changes), actions=actions, reason=reason, numbers=numbers)


def _dropped(state: State, facts: Facts, policy: Flywheel, why: str, numbers: dict[str, Any], *, refuse: bool = True) -> Step:
    assert state.candidate is not None
    after = _cooling(state, facts, policy, refuse=state.candidate) if refuse else _idle(state, facts.now)
    return Step(state=after, actions=(Action(kind="end"),), reason=f"{name_of(state.candidate)} is dropped: {why}", numbers=numbers)


def _watch(state: State, facts: Facts, policy: Flywheel) -> Step:
    candidate, previous = state.candidate, state.previous
    assert candidate is not None and previous is not None
    found, hours = of_champion(facts.evidence, policy.guards), (facts.now - state.since) / HOUR
    numbers = {"evidence": facts.evidence.model_dump(), "guards": [guard.model_dump() for guard in found], "hours": round(hours, 3)}
    if broken := [guard for guard in found if guard.outcome == "fail" and guard.name in policy.roll_back]:
        changes = {"champion": previous.package_digest}
        after = _cooling(state, facts, policy, refuse=candidate).model_copy(update=changes)
        actions = (Action(kind="restore", pack=previous), Action(kind="end"))
        return Step(state=after, actions=actions, reason=f"{name_of(previous)} is back: {_reasons(broken)}", numbers=numbers)
    answers = facts.evidence.answers.n
    if hours < policy.watch_hours or answers < policy.watch_answers:
        said = f"{hours:.1f} of {policy.watch_hours:g} hours, {answers} of {policy.watch_answers} answers"
        return Step(state=state, reason=f"{name_of(candidate)} is watched: {said}", numbers=numbers)
    reason = f"{name_of(candidate)} stays the champion: {_reasons(found)}"
    return Step(state=_idle(state, facts.now), actions=(Action(kind="end"),), reason=reason, numbers=numbers)


def _idle(state: State, now: int) -> State:
    changes = {"stage": "idle", "since": now, "key": "", "candidate": None, "previous": None, "tried": 0, "looks": 0}
    return state.model_copy(update=changes)


def _cooling(state: State, facts: Facts, policy: Flywheel, refuse: Pack | None = None) -> State:
    refused = state.refused if refuse is None else (*state.refused, refuse.package_digest)[-REMEMBERED:]
    until = facts.now + int(policy.cool_down_hours * HOUR)
    return _idle(state, facts.now).model_copy(update={"refused": refused, "until": until})


def name_of(pack: Pack) -> str:
    """Variant and the first digits of the package, as people say it."""
    return f"{pack.variant} {pack.package_digest[:8]}"


def _of(pack: Pack | None) -> str:
    return "nothing" if pack is None else name_of(pack)


def _reasons(guards: Sequence[Guard]) -> str:
    return "; ".join(f"{guard.name}: {guard.reason}" for guard in guards)
