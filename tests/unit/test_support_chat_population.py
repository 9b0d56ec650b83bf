"""Simulated customers: the same for the same seed, right labels whatever they write, a drift, feedback as people give it."""

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from test_package import write_task

from examples.support_chat.held_back import FILE, held_rows, hold_back
from examples.support_chat.measures import ACCURACY, RESOLUTION, SATISFACTION
from examples.support_chat.population import Drift, Style, population, reworded
from examples.support_chat.reactions import DEMONSTRATION, Habits, next_words, react, seconds
from pp_assets.task.examples import Example
from pp_assets.task.reader import LineChecker, Row
from pp_assets.task.spec import load_task
from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT

N = 600


@cache
def triage():
    return load_task("support-triage", PROJECT_ROOT / "tasks")


@cache
def rows():
    """A third of the messages, as if they were held back."""
    lines = [json.loads(line) for line in (triage().folder / "data.jsonl").read_text("utf-8").splitlines()][:200]
    return [Example(f"{i:04d}", one["input_text"], one["output_json"], one["source_id"], one["source_id"]) for i, one in enumerate(lines)]


@cache
def visits():
    return list(population(triage(), 5, N, rows=rows()))


@given(st.integers(0, 2**32), st.integers(1, 30))
@settings(max_examples=8, deadline=None)
def test_the_same_seed_gives_the_same_visits_whatever_is_asked_between(seed, n):
    made = list(population(triage(), seed, n, rows=rows()))
    again = population(triage(), seed, n, rows=list(reversed(rows())))
    for visit, other in zip(made, again, strict=True):
        assert visit == other and react(visit, visit.truth) == react(other, other.truth)
        react(visit, None)  # no draw of one visit moves another
    assert made != list(population(triage(), seed + 1, n, rows=rows()))
    assert [visit.episode for visit in made] == [f"support-triage-{seed}-{i:06d}" for i in range(n)]


def test_what_they_write_is_sound_and_their_truth_is_right_for_it():
    checker = LineChecker(triage().spec)
    known = {row.input_text for row in rows()}
    for visit in visits():
        line = json.dumps({"input_text": visit.text, "output_json": visit.truth}).encode()
        assert isinstance(checker.check("x", 1, line, to_split=False), Row), visit
        assert visit.right(dict(visit.truth)) and not visit.right({**visit.truth, "wants_human": not visit.truth["wants_human"]})
        assert not visit.right(None)
    told_anew = sum(visit.text not in known for visit in visits())
    assert told_anew > 0.6 * N
    labels = {row.group: set() for row in rows()}
    for row in rows():
        labels[row.group].add((row.output["category"], row.output["priority"], row.output["wants_human"]))
    for visit in visits():
        assert (visit.truth["category"], visit.truth["priority"], visit.truth["wants_human"]) in labels[visit.situation]


def test_half_way_topics_shift_new_situations_come_and_people_write_otherwise():
    before, after = visits()[: N // 2], visits()[N // 2 :]
    assert not any(visit.drifted for visit in before) and all(visit.drifted for visit in after)
    early = {visit.situation for visit in before}
    assert len({visit.situation for visit in after} - early) > 5
    assert sum(visit.first for visit in visits()) == len({visit.situation for visit in visits()})
    strong = list(population(triage(), 5, N, rows=rows(), drift=Drift(factor=10.0, unseen=0.0)))
    shares = [Counter(visit.topic for visit in part) for part in (strong[: N // 2], strong[N // 2 :])]
    grown = [topic for topic, _ in shares[1].most_common(2)]
    assert all(shares[1][topic] > 1.5 * shares[0][topic] for topic in grown), shares
    assert all(shares[1][topic] < shares[0][topic] for topic in shares[0] if topic not in grown)
    still = list(population(triage(), 5, N, rows=rows(), drift=Drift(factor=1.0, phrasing=0.0, unseen=0.0)))
    frames = [sum("from my watch" in visit.text or "hey bot, " in visit.text for visit in part) for part in (after, still[N // 2 :])]
    assert frames[0] > 20 and frames[1] == 0


def test_without_style_and_drift_they_write_what_was_held_back():
    plain = population(triage(), 1, 50, rows=rows(), style=Style(0, 0, 0), drift=Drift(at=1.0))
    assert {visit.text for visit in plain} <= {row.input_text for row in rows()}


def test_new_words_never_touch_what_is_copied():
    import random

    text = "Order ORDER-1 for the order bell: no refund"
    keep = [False] * len(text)
    for word in ("ORDER-1", "order bell"):
        at = text.index(word)
        keep[at : at + len(word)] = [True] * len(word)
    said = reworded(text, keep, random.Random(1))
    assert "ORDER-1" in said and "order bell" in said and "reimbursement" in said and "Purchase ORDER-1" in said


def wrong(visit):
    return {**visit.truth, "priority": "low" if visit.truth["priority"] != "low" else "high"}


def said(answer_of, metric, habits=None):
    """The values of a metric over all visits, one a visit."""
    found = [[one.value for one in react(visit, answer_of(visit), habits) if one.metric == metric] for visit in visits()]
    return [values[0] for values in found if values]


def holds(hits, n, share):
    """A count that is not surely another share."""
    return binomtest(hits, n, share).pvalue > 1e-4


def test_they_speak_err_and_correct_as_often_as_their_habits_say():
    habits = Habits()
    for answer_of, speak, fine in ((lambda v: v.truth, habits.answers, 1 - habits.mistaken), (wrong, habits.complains, habits.mistaken)):
        values = said(answer_of, ACCURACY)
        assert holds(len(values), N, speak) and holds(sum(values), len(values), fine)
    corrections = said(wrong, DEMONSTRATION)
    assert holds(len(corrections), N, habits.complains * (1 - habits.mistaken) * habits.corrects)
    slips = sum(not any(visit.right(value) for visit in visits() if visit.truth["order_id"] == value["order_id"]) for value in corrections)
    assert slips < len(corrections)
    assert said(lambda v: None, ACCURACY) == [], "nobody rates an answer that they did not see"
    assert set(said(lambda v: v.truth, RESOLUTION)) == {True, False} and set(said(wrong, SATISFACTION)) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    stars = [said(answer_of, SATISFACTION) for answer_of in (wrong, lambda v: v.truth)]
    assert len(stars[0]) == len(stars[1]) and sum(stars[0]) < sum(stars[1]), "the same people, in the same mood"


def test_a_slip_is_a_correction_with_another_topic_and_still_in_form():
    habits = Habits(complains=1.0, mistaken=0.0, corrects=1.0, slips=1.0)
    for visit in islice(visits(), 50):
        (found,) = {json.dumps(one.value) for one in react(visit, wrong(visit), habits) if one.metric == DEMONSTRATION}
        assert json.loads(found) == {**visit.truth, "category": json.loads(found)["category"]} != visit.truth


def test_some_is_late_and_some_is_sent_twice():
    every = Habits(answers=1.0, late=0.3, again=0.2, clicks=0.1)
    found = [react(visit, visit.truth, every) for visit in visits()]
    assert holds(sum(one[0].after > 0 for one in found), N, 0.3) and max(one[0].after for one in found) <= every.latest
    keys = [[reaction.key for reaction in one] for one in found]
    assert holds(sum(len(set(one)) < len(one) for one in keys), N, 0.2), "one key: a retry"
    assert holds(sum(any(key.endswith(":2") for key in one) for one in keys), N, 0.1), "two keys on one answer: another click"
    assert len({key for one in keys for key in one}) == sum(len(set(one)) for one in keys), "no key of one customer is another's"


@pytest.mark.parametrize("output", [{}, {"category": 3}, {"category": None, "products": "x"}, {"other": [1]}])
def test_an_answer_that_breaks_the_form_is_wrong_and_no_error(output):
    for visit in islice(visits(), 5):
        assert not visit.right(output) and react(visit, output) == react(visit, wrong(visit))


def test_a_reaction_is_what_the_gateway_takes():
    (visit,) = islice(visits(), 1)
    one = react(visit, wrong(visit), Habits(complains=1.0, mistaken=0.0, corrects=1.0, slips=0.0))[1]
    body = one.body("support-triage", "i-1", visit.episode)
    assert body["metric_name"] == "demonstration" and body["value"] == visit.truth and body["inference_id"] == "i-1"
    end = replace(one, level="episode").body("support-triage", "i-1", visit.episode)
    assert end["episode_id"] == visit.episode and "inference_id" not in end


def test_who_was_not_understood_says_it_again():
    words = [next_words(visit, wrong(visit)) for visit in visits()]
    assert holds(sum(one is not None for one in words), N, Habits().asks)
    assert all(visit.text in one for visit, one in zip(visits(), words) if one)
    assert {next_words(visit, visit.truth) for visit in visits()} == {None, "Thanks, that is all."}
    assert next_words(visits()[0], None) is None and all(8 <= seconds(visit) <= 90 for visit in visits())


def toy(folder, **changes):
    """60 messages in 20 situations."""
    task = write_task(folder, **changes)
    file = task.folder / "data.jsonl"
    lines = [json.loads(line) | {"source_id": f"s-{i // 3}"} for i, line in enumerate(file.read_text().splitlines())]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return task


def test_held_back_situations_are_on_one_side_whole(tmp_path):
    task = toy(tmp_path / "tasks")
    made = hold_back(task, tmp_path / "other", share=0.4, seed=3)
    held, known = held_rows(made), [json.loads(line) for line in (made.folder / "data.jsonl").read_text().splitlines()]
    assert 24 <= len(held) <= 27 and len(held) + len(known) == 60
    assert not {row.source_id for row in held} & {line["source_id"] for line in known}
    again = hold_back(task, tmp_path / "again", share=0.4, seed=3)
    assert (again.folder / FILE).read_bytes() == (made.folder / FILE).read_bytes()
    other = hold_back(task, tmp_path / "seed", share=0.4, seed=4)
    assert (other.folder / FILE).read_bytes() != (made.folder / FILE).read_bytes()
    assert next(population(made, 0, 1)).truth.keys() == {"topic", "order", "angry"}


def test_what_cannot_be_held_back_is_told_and_nothing_is_written(tmp_path):
    task = toy(tmp_path / "tasks")
    with pytest.raises(UserError, match=r"no rows are held back.*--hold-back"):
        next(population(task, 0, 1))
    with pytest.raises(UserError, match="is no share"):
        hold_back(task, tmp_path / "other", share=1.5)
    assert not (tmp_path / "other").exists()
    with pytest.raises(UserError, match="is there already"):
        hold_back(task, tmp_path / "tasks")
    (task.folder / FILE).write_text('{"input_text": "x"}\n')
    with pytest.raises(UserError, match=f"{FILE}:1: output_json"):
        held_rows(task)
    (task.folder / FILE).write_text("")
    with pytest.raises(UserError, match="is empty"):
        held_rows(task)
