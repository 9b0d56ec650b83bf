"""Decisions: the same from the same evidence, latched where they must be, static where there is none, with their numbers."""

import json

import pytest
from routing_world import EVERY, World, share_of

from pp_assets.routing.decision import Decision, decide, static
from pp_assets.routing.evidence import Cohort
from pp_assets.routing.policy import OBJECTIVE, Guard, Routing
from pp_assets.routing.state import State, restarted

INVALID = Guard(metric="invalid", tolerance=0.02)
TWO = Routing(metric="resolved", champion="a", weights={"a": 3.0, "b": 1.0}, horizon=0.0)
GUARDED = TWO.model_copy(update={"guards": [INVALID]})
FEW = {"invalid": {"a": 0.02, "b": 0.02}}
MANY = {"invalid": {"a": 0.02, "b": 0.4}}


def test_a_better_variant_wins_and_the_reason_has_its_numbers() -> None:
    made = World(TWO, {"a": 0.6, "b": 0.85}).play(20)
    first = next(one for one in made if one.winner)
    assert first.winner == "b" and first.weights == {"a": 0.0, "b": 1.0} and first.basis == "evidence"
    assert "b has won: its e-value against each other is" in first.reason and "40 are needed" in first.reason
    b = first.variants["b"]
    assert b["status"] == "winner" and b["against"]["a"] >= 40 and b["best"] > 0.99
    assert b["objective"]["low"] < 0.85 < b["objective"]["high"] and first.variants["a"]["status"] == "lost"


def test_before_there_is_a_winner_each_has_its_least_and_the_reason_tells_who_leads() -> None:
    made = World(TWO, {"a": 0.7, "b": 0.7}).play(30)
    for one in made:
        assert one.winner is None and min(one.weights.values()) >= 0.05 and sum(one.weights.values()) == pytest.approx(1.0)
    assert "no winner yet" in made[-1].reason and "40 are needed" in made[-1].reason


def test_a_winner_stays_one_when_later_evidence_would_not_make_it_one() -> None:
    world = World(TWO, {"a": 0.6, "b": 0.9})
    made = world.play(12)
    assert made[-1].winner == "b"
    won = made[-1].state.won
    turned = World(TWO, {"a": 0.9, "b": 0.1})
    turned.cohorts = world.cohorts
    for _ in range(20):
        turned.ask(made[0])
    later = decide(made[-1].state, turned.cohorts, TWO, EVERY * 40)
    assert later.winner == "b" and later.state.won == won and later.variants["b"]["against"]["a"] < 40


def test_a_recount_from_all_cohorts_ends_in_the_same_decision_in_any_order() -> None:
    world = World(GUARDED, {"a": 0.6, "b": 0.8}, FEW)
    last = world.play(15)[-1]
    now = EVERY * len(world.cohorts)
    assert decide(None, world.cohorts, GUARDED, now) == last
    assert decide(None, world.cohorts[::-1], GUARDED, now) == last
    assert decide(last.state, world.cohorts, GUARDED, now) == last, "nothing is counted twice"


def test_a_decision_survives_json_and_goes_on_alike() -> None:
    world = World(GUARDED, {"a": 0.6, "b": 0.8}, MANY)
    made = world.play(6)
    restored = Decision.model_validate_json(made[2].model_dump_json())
    assert restored == made[2] and State.model_validate(json.loads(made[2].state.model_dump_json())) == made[2].state
    assert decide(restored.state, world.cohorts, GUARDED, EVERY * 6) == made[5]


def test_a_planted_bad_variant_is_rolled_back_though_its_answers_please() -> None:
    made = World(GUARDED, {"a": 0.6, "b": 0.9}, MANY).play(10)
    first = next(i for i, one in enumerate(made) if "b" in one.state.rolled_back)
    assert first < 6 and all(one.winner is None for one in made), "what is suspected does not win"
    assert all(one.weights == {"a": 1.0, "b": 0.0} for one in made[first:]), "latched"
    told = made[first].variants["b"]
    assert told["status"] == "rolled back" and told["rolled_back"]["numbers"]["metric"] == "invalid"
    assert "b was rolled back: invalid 0." in made[first].reason and "tolerated 0.02" in made[first].reason


def test_a_winner_that_turns_bad_gives_way_to_the_champion() -> None:
    world = World(GUARDED, {"a": 0.5, "b": 0.9}, FEW)
    made = world.play(10)
    assert made[-1].winner == "b" and made[-1].weights == pytest.approx({"a": 0.05, "b": 0.95})
    world.flags = {"invalid": {"a": 0.02, "b": 0.9}}
    state, last = made[-1].state, made[-1]
    for _ in range(40):
        world.ask(last)
        last = decide(state, world.cohorts, GUARDED, EVERY * len(world.cohorts))
        state = last.state
    assert last.winner is None and last.weights == {"a": 1.0, "b": 0.0} and "b was rolled back" in last.reason


def test_a_shadow_never_answers_and_is_rolled_back_by_its_guards() -> None:
    policy = GUARDED.model_copy(update={"shadow": {"new": 0.5}})
    made = World(policy, {"a": 0.7, "b": 0.7}, {"invalid": {"a": 0.02, "b": 0.02, "new": 0.5}}).play(12)
    assert all(set(one.weights) == {"a", "b"} for one in made) and decide(None, [], policy, 0.0).shadow == {"new": 0.5}
    assert made[-1].shadow == {"new": 0.0} and made[-1].variants["new"]["status"] == "rolled back"


def test_feedback_is_waited_for_and_what_the_answer_itself_tells_is_not() -> None:
    policy = GUARDED.model_copy(update={"horizon": 3 * EVERY})
    made = World(policy, {"a": 0.6, "b": 0.6}, MANY).play(4)
    assert [one.basis for one in made] == ["static", "static", "static", "evidence"]
    assert [one.variants["a"]["guards"]["invalid"]["n"] > 0 for one in made] == [True] * 4
    assert sum(one["objective"]["n"] for one in made[3].variants.values()) == 50


def test_without_feedback_the_declared_weights_hold_less_what_was_rolled_back() -> None:
    assert decide(None, [], TWO, 0.0).weights == {"a": 0.75, "b": 0.25}
    assert decide(None, [], TWO, 0.0).reason == "static weights: no feedback has come yet"
    rolled = World(GUARDED, {"a": 0.6, "b": 0.6}, MANY).play(8)[-1]
    down = static(GUARDED, rolled.state, "the store does not answer", 900.0)
    assert down.weights == {"a": 1.0, "b": 0.0} and down.basis == "static" and "the store does not answer" in down.reason
    assert static(TWO, None, "the store does not answer", 9.0).weights == {"a": 0.75, "b": 0.25}
    won = World(TWO, {"a": 0.2, "b": 0.9}).play(10)[-1]
    assert static(TWO, won.state, "the store does not answer", 9e9).weights == {"a": 0.0, "b": 1.0}


def test_another_question_is_another_experiment_that_begins_now() -> None:
    world = World(TWO, {"a": 0.6, "b": 0.9})
    last = world.play(12)[-1]
    assert last.winner == "b"
    stricter = TWO.model_copy(update={"delta": 0.01})
    fresh = decide(last.state, world.cohorts, stricter, EVERY * 12)
    assert fresh.winner is None and fresh.basis == "static" and fresh.state.since == EVERY * 12
    slower = TWO.model_copy(update={"min_share": 0.1})
    assert decide(last.state, world.cohorts, slower, EVERY * 12).winner == "b", "the pace is no other question"


def test_a_variant_whose_users_answer_less_often_is_told_of() -> None:
    made = World(TWO, {"a": 0.7, "b": 0.7}, answered={"a": 0.9, "b": 0.4}).play(20)[-1]
    assert len(made.warnings) == 1 and "b is answered less often than a" in made.warnings[0]
    assert made.variants["b"]["answered"]["share"] < 0.6 < made.variants["a"]["answered"]["share"]
    assert not World(TWO, {"a": 0.7, "b": 0.7}, answered={"a": 0.6, "b": 0.6}).play(20)[-1].warnings


def test_equal_cohorts_for_other_variants_are_not_evidence_for_these() -> None:
    other = Cohort(0, 100, {"c": {OBJECTIVE: share_of(50, 50)}})
    assert decide(None, [other], TWO, 100.0).basis == "static"


def test_cohorts_that_overlap_and_impossible_sums_are_refused() -> None:
    one, other = Cohort(0, 100, {}), Cohort(50, 150, {})
    with pytest.raises(ValueError, match="cohorts overlap"):
        decide(None, [one, other], TWO, 200.0)
    with pytest.raises(ValueError, match="objective of b"):
        decide(None, [Cohort(0, 100, {"b": {OBJECTIVE: share_of(60, 50)}})], TWO, 200.0)


def test_cost_decides_between_variants_that_are_as_good() -> None:
    policy = Routing(metric="resolved", champion="a", weights={"a": 1.0, "b": 1.0}, cost_weight=0.2, most_cost=1.0, horizon=0.0)
    cohorts = []
    for i in range(60):
        stats = {}
        for name, cost in (("a", 1.0), ("b", 0.1)):
            values = [policy.objective(float(right), cost) for right in [1.0] * 18 + [0.0] * 7]
            stats[name] = {OBJECTIVE: share_of(0, 0).of(values)}
        cohorts.append(Cohort(EVERY * i, EVERY * (i + 1), stats))
    found = decide(None, cohorts, policy, EVERY * 60)
    assert found.winner == "b" and found.variants["b"]["objective"]["mean"] == pytest.approx(0.72 - 0.02, abs=0.01)


def test_a_variant_alone_has_all_of_the_traffic() -> None:
    alone = Routing(metric="resolved", champion="a", weights={"a": 1.0}, horizon=0.0)
    found = World(alone, {"a": 0.7}).play(2)[-1]
    assert found.weights == {"a": 1.0} and found.winner is None and found.reason == "a is the only variant that answers"


def test_what_was_rolled_back_stays_out_of_later_experiments_until_it_is_readmitted() -> None:
    rolled = World(GUARDED, {"a": 0.6, "b": 0.9}, MANY).play(8)[-1]
    joined = GUARDED.model_copy(update={"weights": {"a": 1.0, "b": 1.0, "c": 1.0}})
    found = decide(rolled.state, [], joined, 900.0)
    assert found.weights == {"a": 0.5, "b": 0.0, "c": 0.5} and found.state.since == 900.0
    again = decide(restarted(rolled.state, ["b"]), [], GUARDED, 900.0)
    assert again.weights == {"a": 0.75, "b": 0.25} and not again.state.rolled_back and again.state.since == 900.0
    promoted = GUARDED.model_copy(update={"champion": "b"})
    assert decide(rolled.state, [], promoted, 900.0).weights == {"a": 0.75, "b": 0.25}, "what was made champion answers"
