"""The flywheel as a pure machine: what can never happen, whatever is so; and what happens when all is as it should be."""

import random

import numpy as np
import pytest

from pp_assets.flywheel.guards import GUARDS, e_value, of_candidate
from pp_assets.flywheel.machine import advance
from pp_assets.flywheel.policy import Flywheel, Guards
from pp_assets.flywheel.state import HOUR, Alarm, Answers, Challenger, Evidence, Facts, Pack, Pairs, State

POLICY = Flywheel(enabled=True, least_new=5, after_alarm=2, copies=100, guards=Guards(validity=0.1), watch_answers=20, watch_hours=1.0)
GOOD = Pairs(n=100, timed=100, demonstrated=10, only_shadow_right=5, only_live_right=1)


def pack(name: str) -> Pack:
    return Pack(variant="v", package=f"/p/{name}", package_digest=name, evaluation=f"/e/{name}", evaluation_digest=f"e{name}")


def challenger(name: str, passes: bool = True) -> Challenger:
    return Challenger(pack=pack(name), passes=passes, outcome="PASS" if passes else "FAIL", reason="told", value=0.5)


def some_pairs(rng: random.Random) -> Pairs:
    n, timed, said = (rng.choice([0, 5, 99, 100, 200, 400]) for _ in range(3))
    bad, right = rng.choice([0, 0, n, rng.randint(0, n)]), rng.randint(0, said)
    return Pairs(
        n=n,
        timed=timed,
        slower=rng.choice([0, timed, rng.randint(0, timed)]),
        only_shadow_bad=bad,
        only_live_bad=rng.randint(0, n - bad),
        demonstrated=said,
        only_shadow_right=right,
        only_live_right=rng.choice([0, rng.randint(0, said - right)]),
    )


def some_facts(rng: random.Random, now: int, champion: Pack | None) -> Facts:
    n = rng.randint(0, 200)
    return Facts(
        now=now,
        task="t",
        champion=champion,
        challengers=tuple(challenger(rng.choice("abc"), rng.random() < 0.7) for _ in range(rng.randint(0, 3))),
        head=rng.randint(0, 30),
        new=rng.randint(0, 20),
        data=rng.choice(["", "d1", "d2"]),
        behind=rng.choice([(), ("v",)]),
        alarms=rng.choice([(), (Alarm(cause="drift", reason="drifts"),)]),
        evidence=Evidence(
            pairs=some_pairs(rng),
            answers=Answers(n=n, bad=rng.choice([0, 0, rng.randint(0, n)])),
            pairs_before=some_pairs(rng),
            answers_before=Answers(n=100, bad=3),
        ),
    )


def walk(seed: int) -> list[str]:
    """Twenty random steps; what was done on the way. Any broken promise is an AssertionError."""
    rng, state, now, keys, done = random.Random(seed), State(), 0, [], []
    for _ in range(20):
        now += rng.randint(1, 30 * HOUR)
        # Were it always another one, most walks would end at "somebody else made …".
        stands = pack(state.champion) if state.champion and rng.random() < 0.9 else rng.choice([None, pack("a"), pack("b"), pack("c")])
        facts = some_facts(rng, now, stands)
        step = advance(state, facts, POLICY)
        made = {action.kind: action for action in step.actions}
        if "promote" in made:
            assert state.stage == "shadow" and made["promote"].pack == state.candidate
            assert any(one.passes and one.pack == state.candidate for one in facts.challengers), "the gate on held-out data"
            assert {g.outcome for g in of_candidate(facts.evidence.pairs, POLICY.guards, state.looks)} == {"pass"}, "the gate in use"
            assert facts.evidence.pairs.n >= POLICY.copies and state.candidate.package_digest not in state.refused
            assert step.state.previous == facts.champion and made["shadow"].pack == facts.champion, "the way back is kept open"
        if "restore" in made:
            assert state.stage == "watch" and made["restore"].pack == state.previous
            assert state.candidate.package_digest in step.state.refused and step.state.champion == state.previous.package_digest
        if step.state.stage == "training" and step.state.key != state.key:
            keys.append(step.state.key)
            assert facts.head > state.trained_to and facts.new >= POLICY.after_alarm
        if step.state.stage in ("shadow", "watch"):
            assert step.state.candidate is not None and step.state.previous is not None
        if step.state.stage == "shadow":
            assert step.state.candidate.package_digest not in step.state.refused
        if state.stage in ("shadow", "watch") and step.state.stage == "idle":
            assert "end" in made, "copies do not go on when the trial has ended"
        assert step.reason and State.model_validate(step.state.model_dump(mode="json")) == step.state
        state = step.state
        done += [*made, state.stage]
    assert len(keys) == len(set(keys)), "the same feedback never starts two trainings"
    return done


def test_whatever_happens_both_gates_stand_before_a_champion_and_a_training_has_feedback_of_its_own():
    done = [what for seed in range(250) for what in walk(seed)]
    assert all(done.count(what) >= 10 for what in ("promote", "restore", "end", "training", "watch", "idle")), "the walks go everywhere"


def facts(**more) -> Facts:
    return Facts(now=more.pop("now", HOUR), task="t", champion=more.pop("champion", pack("a")), **more)


def after(*many: Facts, policy: Flywheel = POLICY, state: State | None = None):
    state, step = state or State(champion="a"), None
    for one in many:
        step = advance(state, one, policy)
        state = step.state
    return step


def test_the_whole_way_round():
    step = after(facts(new=5, head=5))
    assert step.state.stage == "training" and step.state.key == "flywheel:t:5" and "5 new demonstrations" in step.reason
    waits = after(facts(new=0, head=5, behind=("v",), data="d2", challengers=(challenger("b"),)), state=step.state)
    assert waits.state == step.state, "another variant is still being trained"
    tried = after(facts(data="d2", challengers=(challenger("b"), challenger("c", False))), state=step.state)
    assert tried.state.stage == "shadow" and [a.kind for a in tried.actions] == ["shadow"]
    few = facts(challengers=(challenger("b"),), evidence=Evidence(pairs=GOOD.model_copy(update={"n": 99})))
    assert advance(tried.state, few, POLICY).state == tried.state
    live = after(facts(challengers=(challenger("b"),), evidence=Evidence(pairs=GOOD)), state=tried.state)
    assert live.state.stage == "watch" and [a.kind for a in live.actions] == ["promote", "shadow"]
    seen = Evidence(answers=Answers(n=20), answers_before=Answers(n=100), pairs=GOOD, pairs_before=GOOD)
    stays = after(facts(now=3 * HOUR, champion=pack("b"), evidence=seen), state=live.state)
    assert stays.state.stage == "idle" and stays.state.champion == "b" and not stays.state.refused


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        (Evidence(answers=Answers(n=60, bad=20), answers_before=Answers(n=200)), "validity"),
        (Evidence(answers=Answers(n=40, timed=40, slow=36), answers_before=Answers(n=200)), "latency"),
        (
            Evidence(
                answers=Answers(n=60), answers_before=Answers(n=200), pairs=Pairs(n=60, only_shadow_right=20), pairs_before=Pairs(n=200)
            ),
            "agreement",
        ),
    ],
)
def test_a_champion_that_got_worse_is_rolled_back_and_does_not_come_again(seen, guard):
    watched = State(stage="watch", champion="b", candidate=pack("b"), previous=pack("a"), since=HOUR, tried=1)
    step = after(facts(champion=pack("b"), evidence=seen), state=watched)
    assert [a.kind for a in step.actions] == ["restore", "end"] and f"a is back: {guard}" in step.reason.replace("v a", "a")
    again = after(facts(now=100 * HOUR, challengers=(challenger("b"),)), state=step.state)
    assert again.state.stage == "idle" and not again.actions
    others = POLICY.model_copy(update={"roll_back": [one for one in POLICY.roll_back if one != guard]})
    assert not after(facts(champion=pack("b"), evidence=seen), state=watched, policy=others).actions, "told of, and no more"


def test_drift_and_regression_ask_for_less_feedback_and_never_for_none():
    alarm = (Alarm(cause="drift", reason="the newest inputs drift"),)
    assert after(facts(new=2, head=9)).state.stage == "idle"
    assert "drift" in after(facts(new=2, head=9, alarms=alarm)).reason
    assert after(facts(new=2, head=9, alarms=alarm)).state.stage == "training"
    assert after(facts(new=0, head=9, alarms=alarm)).state.stage == "idle"
    deaf = Flywheel(enabled=True, start=["feedback"], after_alarm=1)
    assert after(facts(new=2, head=9, alarms=alarm), policy=deaf).state.stage == "idle"


def test_a_candidate_that_cannot_be_told_is_looked_at_seldom_and_given_up():
    state = State(stage="shadow", champion="a", candidate=pack("b"), previous=pack("a"), since=HOUR, tried=HOUR)
    unsure = Evidence(pairs=GOOD.model_copy(update={"only_shadow_bad": 9, "only_live_bad": 4}))
    seen = facts(now=2 * HOUR, challengers=(challenger("b"),), evidence=unsure)
    first = after(seen, state=state)
    assert first.state.looks == 1 and "cannot tell yet" in first.reason
    assert after(seen, state=first.state).state == first.state, "the next look is at twice as many"
    end = after(seen.model_copy(update={"now": 200 * HOUR}), state=first.state)
    assert end.state.stage == "idle" and end.state.refused == ("b",) and end.state.until > 200 * HOUR


def test_a_training_that_brings_nothing_ends_with_what_it_brought():
    training = after(facts(new=5, head=5)).state
    none = after(facts(data="d2", challengers=(challenger("b", False),)), state=training)
    assert none.state.stage == "idle" and "v: FAIL (told)" in none.reason
    late = after(facts(now=40 * HOUR, behind=("v",)), state=training)
    assert late.state.stage == "idle" and "given up" in late.reason
    assert after(facts(now=41 * HOUR, new=5, head=5), state=late.state).state.stage == "idle", "cools down, and has seen this feedback"


def test_bets_gain_nothing_on_what_is_no_worse_and_grow_on_what_is():
    """Ville: among walks of a true null at most alpha ever reach 1 / alpha."""
    rng = np.random.default_rng(5)
    walks = rng.random((300, 80)) < 0.5
    bad = walks.cumsum(1)
    peaks = [max(e_value(int(k), i + 1 - int(k)) for i, k in enumerate(walk)) for walk in bad]
    assert np.mean(np.array(peaks) >= 20) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert e_value(15, 1) > GUARDS / 0.05 > 1 > e_value(1, 15)
    # The mixture by hand: of all shares above the null, how much likelier they make it.
    shares = np.linspace(0.3, 1, 200_001)
    by_hand = np.mean(shares**7 * (1 - shares) ** 5) / (0.3**7 * 0.7**5)
    assert e_value(7, 5, 0.3) == pytest.approx(by_hand, rel=1e-3)
