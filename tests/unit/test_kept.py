"""Answers that are kept: a killed suite goes on, one with other statistics asks nothing, what is asked again is asked again."""

import json
from dataclasses import replace

import pytest
from suite_models import Rule, examples, task

from pp_assets.evaluation.predictions import make_rows
from pp_assets.evaluation.suite.asking import Asked, Subject
from pp_assets.evaluation.suite.consistency import consistency
from pp_assets.evaluation.suite.paired import Judge
from pp_assets.kept import KeptPredictor
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output

TEST = examples(30)


class Weights(Rule):
    """A rule with an identity, that is killed when it has answered so many texts."""

    def __init__(self, identity="a", until=None, **rest):
        super().__init__(**rest)
        self.identity, self.until = identity, until

    def predict(self, inputs, *, distributions=False):
        if self.until is not None and len(self.seen) >= self.until:
            raise KeyboardInterrupt
        return super().predict(inputs, distributions=distributions)


def keeping(tmp_path, model):
    return KeptPredictor(tmp_path / "cells.db", model, "1", batch=16)


def part(tmp_path, model, spec=None):
    """The part of a suite that asks in most ways: (what it says with its counts, texts that the model was given)."""
    predictor = keeping(tmp_path, model)
    again = lambda trial: replace(predictor, trial=trial)  # noqa: E731
    subject = Subject("rule", predictor, again=again)
    judge, asked = Judge.of(spec or task()), Asked(predictor, again)
    said = asked.answers([e.input_text for e in TEST], distributions=True)
    rows = make_rows(TEST, said, lambda output: dump_output(judge.scoring.schema, output))
    found = consistency(judge, TEST, {row.item_id: row for row in rows}, asked, subject)
    return json.dumps([found, asked.asked, asked.calls, asked.no_choices]), predictor.asked.total()


def test_a_text_is_asked_once_of_each_model_in_each_trial_with_and_without_distributions(tmp_path):
    model = Weights()
    asked = keeping(tmp_path, model)
    texts = [e.input_text for e in TEST]
    plain, told = asked.predict([*texts, texts[0]]), asked.predict(texts, distributions=True)
    assert len(plain) == 31 and plain[0] == plain[-1] and not plain[0].choices
    assert told == Rule().predict(texts, distributions=True), "choices come back as they were given"
    assert [replace(p, choices={}) for p in told] == plain[:-1] and len(model.seen) == 60 == asked.asked.total()
    again = replace(asked, trial=1)
    assert again.predict(texts) == plain[:-1] and len(model.seen) == 90 and asked.asked.total() == 90
    other = Weights("b")
    keeping(tmp_path, other).predict(texts[:3])
    for how in ({}, {"distributions": True}):
        replace(asked).predict(texts, **how)
    assert again.predict(texts[::-1]) == plain[-2::-1] and (len(model.seen), len(other.seen)) == (90, 3)
    replace(asked, version="2").predict(texts[:5])
    assert len(model.seen) == 95, "other code or libraries may answer otherwise"


def test_what_is_kept_is_told_without_asking(tmp_path):
    model = Weights()
    asked, texts = keeping(tmp_path, model), [e.input_text for e in TEST]
    assert asked.kept(texts) == {} and not (tmp_path / "cells.db").exists(), "to look makes no file"
    said = asked.predict(texts[:7])
    assert asked.kept([*texts, texts[0]]) == dict(zip(texts[:7], said)) and len(model.seen) == 7
    assert keeping(tmp_path, Weights("b")).kept(texts) == {} and replace(asked, trial=1).kept(texts) == {}


def test_what_a_model_refuses_is_told_and_not_kept(tmp_path):
    class Plain(Weights):
        def predict(self, inputs, *, distributions=False):
            if distributions:
                raise UserError("no distributions here", where="plain", how="ask without")
            return super().predict(inputs)

    model = Plain()
    with pytest.raises(UserError, match="no distributions here"):
        keeping(tmp_path, model).predict(["a"], distributions=True)
    found, calls = part(tmp_path, model)
    assert json.loads(found)[1:] == [240, 240, "no distributions here"] and calls == len(model.seen) == 240


def test_what_was_killed_goes_on_and_says_what_an_uninterrupted_run_says(tmp_path):
    whole = Weights()
    found, calls = part(tmp_path / "whole", whole)
    assert calls == len(whole.seen) == json.loads(found)[2] == 30 + 2 * 30 + 5 * 30
    for until in (16, 200):
        killed, later, place = Weights(until=until), Weights(), tmp_path / str(until)
        with pytest.raises(KeyboardInterrupt):
            part(place, killed)
        resumed, rest = part(place, later)
        assert resumed == found and 0 < len(killed.seen) < calls
        assert rest == len(later.seen)
        assert calls <= len(killed.seen) + rest <= calls + 2 * 16, "asked twice is at most what was in flight: two batches"


def test_other_statistics_ask_nothing(tmp_path):
    model = Weights()
    first, calls = part(tmp_path, model)
    second, more = part(tmp_path, model, task(primary_metric={"name": "field_exact.kind", "alpha": 0.2}, seed=4))
    assert (more, len(model.seen)) == (0, calls) and json.loads(second)[1:] == json.loads(first)[1:]


def test_a_repeat_really_asks_again_and_once(tmp_path):
    class Moody(Weights):
        def answer(self, text, distributions):
            self.fault = lambda _: text == TEST[7].input_text and self.seen.count(text) > 1
            return super().answer(text, distributions)

    model = Moody()
    for _ in range(2):
        repeats = json.loads(part(tmp_path, model)[0])[0]["repeats"]
        assert (repeats["verdict"], repeats["equal"]) == ("differs", 29)
    assert model.seen.count(TEST[7].input_text) == 3, "clean, and two more trials"
