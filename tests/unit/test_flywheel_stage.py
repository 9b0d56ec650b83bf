"""Turns of a flywheel over a real store and real files, also where a turn is cut off between any two effects."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flywheel_place import FLYWHEEL, Wheel

from pp_assets.flywheel import stage
from pp_assets.flywheel.stage import history, last, take_back, turn
from pp_assets.flywheel.trial import trial_file
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable

EFFECTS = ("_write", "promote", "roll_back", "write_trial", "end_trial")


class Crash(BaseException):
    """The process dies."""


@contextmanager
def dying(at: int) -> Iterator[list[str]]:
    """The effect number `at` is the last thing that is done."""
    done: list[str] = []

    def wrapped(name, real):
        def effect(*args, **more):
            made = real(*args, **more)
            done.append(name)
            if len(done) == at + 1:
                raise Crash
            return made

        return effect

    with pytest.MonkeyPatch.context() as patch:
        for name in EFFECTS:
            patch.setattr(stage, name, wrapped(name, getattr(stage, name)))
        yield done


def in_shadow(wheel: Wheel) -> tuple[str, str]:
    """A champion and a candidate beside it; their digests."""
    champion = wheel.champion()
    candidate = wheel.packed("v2", 190).digest
    made = turn(wheel.pipeline, "toy")
    assert made.state.stage == "shadow" and wheel.stands == (champion, candidate), made.reason
    return champion, candidate


def on_watch(wheel: Wheel) -> tuple[str, str]:
    """The candidate has become champion, with the previous one beside it."""
    champion, candidate = in_shadow(wheel)
    wheel.served(40, champion, ("candidate", candidate), said="hidden")
    made = turn(wheel.pipeline, "toy")
    assert made.state.stage == "watch" and wheel.stands == (candidate, champion), made.reason
    return champion, candidate


def test_a_challenger_that_passes_is_a_candidate_and_not_the_champion(tmp_path):
    wheel = Wheel(tmp_path)
    champion, candidate = in_shadow(wheel)
    told = wheel.pipeline.regression("toy", "v2").metadata
    assert told["outcome"] == "PASS" and told["candidate"] and not told["promoted"]
    wheel.served(39, champion, ("candidate", candidate))
    assert "39 of 40 copies" in turn(wheel.pipeline, "toy").reason and wheel.stands == (champion, candidate)
    for harm in (lambda file: file.unlink(), lambda file: file.write_text("{")):
        harm(trial_file(wheel.settings.home, "toy"))
        turn(wheel.pipeline, "toy")
        assert wheel.stands == (champion, candidate), "copies go on"


def test_candidate_promoted_watched_and_kept(tmp_path):
    wheel = Wheel(tmp_path)
    champion, candidate = on_watch(wheel)
    assert "40 of 40" not in (waits := turn(wheel.pipeline, "toy").reason) and "0 of 40 answers" in waits
    wheel.served(40, candidate, ("previous", champion))
    assert turn(wheel.pipeline, "toy").state.stage == "idle" and wheel.stands == (candidate, None)
    told = history(wheel.store, "toy")
    assert [one["state"]["stage"] for one in told] == ["idle", "watch", "shadow", "idle"]
    agreement = next(guard for guard in told[1]["numbers"]["guards"] if guard["name"] == "agreement")
    assert (agreement["n"], agreement["bad"]) == (40, 0) and told[1]["numbers"]["pairs"]["only_shadow_right"] == 40


def test_a_candidate_whose_answers_are_worse_in_use_is_dropped_though_it_won_on_held_out_data(tmp_path):
    wheel = Wheel(tmp_path)
    champion, candidate = in_shadow(wheel)
    wheel.served(40, champion, ("candidate", candidate), said="visible")
    made = turn(wheel.pipeline, "toy")
    assert made.state.stage == "idle" and wheel.stands == (champion, None) and made.state.refused == (candidate,)
    assert "agreement" in made.decided[0] and turn(wheel.pipeline, "toy").state.stage == "idle"


def test_a_champion_that_turns_out_worse_is_taken_back_and_stays_out(tmp_path):
    wheel = Wheel(tmp_path)
    champion, candidate = on_watch(wheel)
    wheel.served(60, candidate, ("previous", champion), bad_visible=True)
    made = turn(wheel.pipeline, "toy")
    assert wheel.stands == (champion, None) and "validity" in made.decided[0], made.reason
    assert turn(wheel.pipeline, "toy").state.stage == "idle"
    told = wheel.pipeline.regression("toy", "v2").metadata
    assert not told["candidate"] and "taken back" in told["reason"]


def test_corrections_are_compared_with_those_before(tmp_path):
    wheel = Wheel(tmp_path)
    champion, candidate = in_shadow(wheel)
    wheel.served(36, champion, ("candidate", candidate))
    wheel.served(4, champion, ("candidate", candidate), said="hidden")
    assert turn(wheel.pipeline, "toy").state.stage == "watch"
    wheel.served(30, candidate, ("previous", champion), said="hidden")
    made = turn(wheel.pipeline, "toy")
    assert wheel.stands == (champion, None) and "agreement" in made.decided[0], made.reason


def world(wheel: Wheel) -> tuple:
    now = last(wheel.store, "toy")
    assert now is not None and not now.pending
    return wheel.stands, now.state.stage, now.state.refused, now.state.champion


@pytest.mark.parametrize("way", ["promoted", "taken back"])
def test_a_turn_that_is_cut_off_anywhere_is_finished_by_the_next_one(tmp_path, way):
    wheel = Wheel(tmp_path, dict(FLYWHEEL, cool_down_hours=1.0))
    if way == "promoted":
        champion, candidate = in_shadow(wheel)
        wheel.served(40, champion, ("candidate", candidate), said="hidden")
    else:
        champion, candidate = on_watch(wheel)
        wheel.served(60, candidate, ("previous", champion), bad_visible=True)
    kept, home = tmp_path / "kept", wheel.settings.home

    def as_before() -> None:
        wheel.store._engine.dispose()
        shutil.rmtree(home)
        shutil.copytree(kept, home)

    held = wheel.store  # one object of the store for all turns
    held._engine.dispose()
    shutil.copytree(home, kept)
    with dying(99) as whole:
        turn(wheel.pipeline, "toy")
    wanted = world(wheel)
    assert len(whole) == 5 and wanted[0] == ((candidate, champion) if way == "promoted" else (champion, None))
    for at in range(len(whole)):
        as_before()
        with dying(at), pytest.raises(Crash):
            turn(wheel.pipeline, "toy")
        turn(wheel.pipeline, "toy")
        assert world(wheel) == wanted, whole[at]


def test_a_person_who_rolls_back_is_not_overruled_by_a_turn_that_was_cut_off(tmp_path):
    wheel = Wheel(tmp_path)
    champion, candidate = in_shadow(wheel)
    wheel.served(40, champion, ("candidate", candidate), said="hidden")
    with dying(2) as done, pytest.raises(Crash):
        turn(wheel.pipeline, "toy")
    assert done == ["write_trial", "_write", "promote"] and wheel.stands[0] == candidate
    made, recorded = take_back(wheel.pipeline, "toy", "it is rude")
    assert made.package_digest == champion and recorded
    assert turn(wheel.pipeline, "toy").state.stage == "idle" and wheel.stands == (champion, None)
    assert turn(wheel.pipeline, "toy").state.stage == "idle", "its tests do not make it a candidate again"
    with pytest.raises(UserError, match="no earlier champion"):
        take_back(wheel.pipeline, "toy", "and again")


def test_feedback_starts_one_training_and_what_was_learnt_by_hand_none(tmp_path):
    wheel = Wheel(tmp_path, dict(FLYWHEEL, least_new=4))
    wheel.champion()
    wheel.demonstrate(3)
    assert turn(wheel.pipeline, "toy").state.stage == "idle"
    wheel.demonstrate(1)
    made = turn(wheel.pipeline, "toy")
    assert made.state.stage == "training" and made.state.key == "flywheel:toy:4" and wheel.stands[1] is None
    assert turn(wheel.pipeline, "toy").state == made.state

    p = wheel.pipeline
    p.seeds("toy")
    assert "v1" in turn(p, "toy").reason, "the data came, the model has not"
    wheel.packed("v1", 195)
    tried = turn(p, "toy").state
    assert tried.stage == "shadow" and tried.trained_to == 4

    other = Wheel(tmp_path / "other", dict(FLYWHEEL, least_new=4))
    other.champion()
    other.demonstrate(5)
    other.pipeline.seeds("toy")
    assert "0 new demonstrations" in turn(other.pipeline, "toy").reason


def test_a_store_that_cannot_be_read_changes_nothing(tmp_path):
    wheel = Wheel(tmp_path)
    stands = in_shadow(wheel)
    file = wheel.settings.home / "store" / "store.db"
    wheel.store._engine.dispose()
    for one in file.parent.iterdir():
        one.unlink()
    file.write_bytes(b"no database" * 500)
    with pytest.raises(StoreUnavailable):
        turn(wheel.pipeline, "toy")
    assert wheel.stands == stands


def test_without_a_flywheel_the_test_promotes_as_ever_and_a_turn_says_what_is_missing(tmp_path):
    wheel = Wheel(tmp_path, {"enabled": False})
    wheel.champion()
    better = wheel.packed("v2", 190).digest
    assert wheel.pipeline.regression("toy", "v2").metadata["promoted"] and wheel.stands == (better, None)
    with pytest.raises(UserError, match="not enabled"):
        turn(wheel.pipeline, "toy")
    made, _ = take_back(wheel.pipeline, "toy", "it is rude")
    assert made.variant == "v1" and not wheel.pipeline.regression("toy", "v2").metadata["promoted"]
    assert wheel.stands[0] == made.package_digest
