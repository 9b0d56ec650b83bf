"""Ensembles: how answers are combined field by field, what is fitted on validation rows, and that two good members beat either alone."""

import json
import math
import random
from dataclasses import asdict

import pytest
from causal_tiny import examples, spec_on, write_tiny_base

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.scoring import Scoring
from pp_assets.task.examples import Example
from pp_assets.training.causal import CausalRun
from pp_assets.training.ensemble import LOSS, fit_ensemble, write_ensemble
from pp_assets.training.loop import train
from pp_assets.training.params import CausalParams, EnsembleParams
from pp_assets.training.predictors import load_predictor
from pp_assets.training.recipes import Recipe
from pp_resources.errors import UserError
from pp_resources.json_schema import output_validator
from pp_resources.models.ensemble.opinions import Opinion, Weights, decide
from pp_resources.models.ensemble.predictor import Combiner, EnsemblePredictor, FieldCombiner, pooled, route
from pp_resources.models.interface import Choice, Prediction

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "order", "tags"],
    "properties": {
        "kind": {"enum": ["a", "b", "c"]},
        "order": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"type": "object", "required": ["city"], "additionalProperties": False, "properties": {"city": {"type": "string"}}},
    },
}
PATHS = ("kind", "order", "tags", "place.city")
EQUAL = Weights([1.0] * 3, [0.0] * 3)
SPEC = {"name": "toy", "io_schema": {"output": SCHEMA}}
SCORING = Scoring.of(SPEC)
READER = OutputReader(SCORING.schema, SCORING.compare)


def said(kind="a", order=None, tags=(), sure=0.8, **more) -> Prediction:
    return Prediction(json.dumps({"kind": kind, "order": order, "tags": list(tags), **more}), sure, {}, 10, 5, 2.0)


def voter(members=3) -> FieldCombiner:
    weights = Weights([1.0] * members, [0.0] * members)
    fields = dict.fromkeys(PATHS, weights)
    return FieldCombiner(SCHEMA, Combiner("vote", ["x", "y", "z"][:members], list(range(members)), fields))


def values(prediction: Prediction):
    return json.loads(prediction.text)


def test_the_majority_wins_field_by_field_and_cost_is_that_of_all():
    made = voter().combine([said("a", "1"), said("b", "1"), said("b", None)])
    assert values(made) == {"kind": "b", "order": "1", "tags": []}
    assert (made.tokens_in, made.tokens_out, made.latency_ms) == (30, 15, 6.0)
    assert made.fields["kind"] == pytest.approx(1.6 / 3) and 0 < made.confidence < made.fields["kind"]


def test_a_tie_goes_to_the_more_confident_then_to_the_first():
    assert values(voter(2).combine([said("a", sure=0.6), said("b", sure=0.9)]))["kind"] == "b"
    assert values(voter(2).combine([said("c", sure=0.7), said("b", sure=0.7)]))["kind"] == "c"


def test_arrays_are_decided_item_by_item():
    made = voter().combine([said(tags=["x", "y"]), said(tags=["y", "z"]), said(tags=["y", "x"])])
    assert sorted(values(made)["tags"]) == ["x", "y"]
    assert values(voter(2).combine([said(tags=["x"], sure=0.9), said(tags=[], sure=0.6)]))["tags"] == ["x"]
    assert values(voter(2).combine([said(tags=["x"], sure=0.6), said(tags=[], sure=0.9)]))["tags"] == []
    assert values(voter().combine([said(tags=["x", "x"]), said(tags=["x", "x"]), said(tags=["x"])]))["tags"] == ["x", "x"]


def test_an_optional_object_is_there_when_most_say_so():
    with_city, without = said(place={"city": "Oslo"}), said()
    assert values(voter().combine([with_city, with_city, without]))["place"] == {"city": "Oslo"}
    assert "place" not in values(voter().combine([without, with_city, without]))


def test_answers_that_break_the_schema_have_no_vote():
    broken = Prediction('{"kind": "q"}', 0.99)
    assert values(voter().combine([broken, broken, said("c")]))["kind"] == "c"
    assert voter().combine([broken, broken, broken]).text == broken.text, "nothing to choose from: the best member's text as it is"


def test_fields_that_do_not_go_together_give_way_to_the_best_member():
    schema = {**SCHEMA, "if": {"properties": {"kind": {"const": "a"}}}, "then": {"properties": {"order": {"type": "string"}}}}
    weights = Weights([1.0] * 3, [0.0] * 3)
    fields = FieldCombiner(schema, Combiner("vote", ["x", "y", "z"], [1, 0, 2], dict.fromkeys(PATHS, weights)))
    answers = [said("a", "1"), said("b", None), said("a", "2")]
    assert values(fields.combine([*answers[:2], said("c", None)]))["order"] is None
    mixed = fields.combine([said("a", "1"), said("b", None), Prediction(said("a", "1").text, 0.8)])
    assert output_validator(schema).is_valid(values(mixed))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_members_say_the_answer_is_valid_when_one_of_them_is(seed):
    rng = random.Random(seed)

    def draw():
        tags = rng.choices("xyz", k=rng.randrange(4))
        more = {"place": {"city": rng.choice(["Oslo", "Rome"])}} if rng.random() < 0.5 else {}
        made = said(rng.choice("abc"), rng.choice([None, "1", "2"]), tags, rng.random(), **more)
        return made if rng.random() < 0.7 else Prediction(rng.choice(["", "[]", '{"kind": "a"}', "nonsense"]), rng.random())

    answers = [draw() for _ in range(3)]
    made = voter().combine(answers)
    valid = [voter().read(a) is not None for a in answers]
    assert (voter().read(made) is not None) == any(valid)
    assert made.confidence is None or 0 <= made.confidence <= 1
    assert all(0 <= p <= 1 for p in made.fields.values())


def test_weights_can_overrule_a_majority():
    opinions = [Opinion(0, "right", 0.9), Opinion(1, "wrong", 0.9), Opinion(2, "wrong", 0.9)]
    assert decide(opinions, EQUAL)[0] == "wrong"
    assert decide(opinions, Weights([3.0, 1.0, 1.0], [0.0] * 3)) == ("right", pytest.approx(0.54))


def test_stacked_weights_give_log_odds():
    weights = Weights([0.0, 0.0], [1.0, 1.0], bias=0.0, logistic=True)
    won, sure = decide([Opinion(0, "x", 0.8), Opinion(1, "x", 0.5)], weights)
    assert won == "x" and sure == pytest.approx(0.8)


def test_choices_are_pooled():
    one, other = {"kind": [Choice("a", 0.9), Choice("b", 0.1)]}, {"kind": [Choice("b", 0.7), Choice("a", 0.3)]}
    found = pooled([Prediction("", choices=one), Prediction("", choices=other), Prediction("")])
    assert found["kind"] == [Choice("a", pytest.approx(0.6)), Choice("b", pytest.approx(0.4))]


def test_a_cascade_asks_no_further_than_it_has_to():
    assert route([(True, 0.9), (True, 0.95)], 0.8) == (0, 1)
    assert route([(False, 0.9), (True, 0.5)], 0.8) == (1, 2), "an answer that is not valid settles nothing"
    assert route([(True, 0.7), (True, 0.5)], 0.8) == (0, 2), "nobody is sure enough: the surest counts"


class Member:
    """A model that knows the kind of texts whose number it was taught, and says so by its confidence."""

    def __init__(self, name, knows, sure=0.95, unsure=0.4):
        self.name, self.knows, self.sure, self.unsure, self.asked = name, knows, sure, unsure, 0

    def predict(self, inputs, *, distributions=False):
        self.asked += len(inputs)
        return [self.answer(text) for text in inputs]

    def answer(self, text):
        number = int(text)
        right = "abc"[number % 3]
        known = self.knows(number)
        return said(right if known else "abc"[(number + 1 + number // 3 % 2) % 3], sure=self.sure if known else self.unsure)


def rows(n, start=0):
    return [Example(f"{i:04d}", str(i), {"kind": "abc"[i % 3], "order": None, "tags": []}, group=f"g{i}") for i in range(start, start + n)]


def fitted(strategy, members, validation):
    texts = [row.input_text for row in validation]
    answers = {member.name: member.predict(texts) for member in members}
    combiner, found = fit_ensemble(READER, EnsembleParams(strategy), validation, answers, seed=1)
    again = Combiner.of(json.loads(json.dumps(asdict(combiner))))
    assert again == combiner, "what is stored is what was fitted"
    return EnsemblePredictor(strategy, members, SCHEMA, again), found


def accuracy(predictor, held_out):
    answers = predictor.predict([row.input_text for row in held_out])
    return sum(values(a)["kind"] == row.output["kind"] for a, row in zip(answers, held_out)) / len(held_out)


@pytest.mark.parametrize("strategy", ["stack", "route"])
def test_members_that_know_different_things_are_better_together(strategy):
    # Each is right on 60 %, and between them they know 100 %: confidence tells who knows.
    members = [Member("x", lambda n: n % 5 < 3), Member("y", lambda n: n % 5 >= 2)]
    predictor, found = fitted(strategy, members, rows(100))
    assert found["val_object_exact_match"] == 1.0 and found["val_members"] == {"x": 0.6, "y": 0.6}
    assert found["val_gain"]["low"] > 0
    assert accuracy(predictor, rows(100, 500)) == 1.0


def test_routing_saves_calls_where_the_first_member_is_sure():
    cheap, dear = Member("cheap", lambda n: n % 5 < 3), Member("dear", lambda n: True)
    predictor, found = fitted("route", [cheap, dear], rows(100))
    assert found["val_calls"] == pytest.approx(1.4)
    before = dear.asked
    assert accuracy(predictor, rows(50, 500)) == 1.0 and dear.asked - before == 20


class Luck:
    """Right or wrong by chance, as often as its confidence says."""

    def __init__(self, name, skill, seed):
        self.name, self.skill, self.seed = name, skill, seed

    def predict(self, inputs, *, distributions=False):
        return [self.answer(int(text)) for text in inputs]

    def answer(self, number):
        rng = random.Random(f"{self.seed} {number}")
        sure = 1 / (1 + math.exp(-(self.skill + 1.5 * rng.gauss(0, 1))))
        return said("abc"[number % 3] if rng.random() < sure else "abc"[(number + 1) % 3], sure=sure)


@pytest.mark.parametrize("draw", range(4))
def test_a_cascade_asks_as_little_as_its_members_confidences_allow(draw):
    """The luck of 40 rows is not followed: the share of right answers that is expected chooses the threshold, not the one that happened."""
    members = [Luck("cheap", 0.5, 1), Luck("dear", 1.0, 2), Luck("dearest", 1.5, 3)]
    validation = rows(40, 40 * draw)
    combiner = fitted("route", members, validation)[0].combiner
    fields = FieldCombiner(SCHEMA, combiner)
    trust = [fields.trust([member.answer(int(row.input_text)) for member in members]) for row in validation]
    surest = sum(max(p for _, p in row) for row in trust)

    def lost(threshold):
        return (surest - sum(row[route(row, threshold)[0]][1] for row in trust)) / len(trust)

    lower = [p for row in trust for _, p in row if p < combiner.threshold]
    assert 0 < lost(combiner.threshold) <= LOSS and lower
    assert all(lost(p) > LOSS for p in sorted(lower)[:-5]), "a lower threshold loses more, but for those between two that were tried"
    assert 1 < sum(route(row, combiner.threshold)[1] for row in trust) / len(trust) < 3


def test_causal_members_are_written_loaded_and_asked(tmp_path):
    base = write_tiny_base(tmp_path / "base")
    spec, validation = spec_on(base), examples(24, seed=9)
    texts = [row.input_text for row in validation]
    folders = {}
    for seed, name in enumerate(("lora-one", "lora-two")):
        recipe = Recipe(name, "causal", "test", CausalParams(r=4, alpha=8, lr=2e-2, epochs=2 - seed, batch_size=8))
        folders[name] = tmp_path / name
        train(CausalRun(spec, recipe, examples(24), [], seed, 1), folders[name], work=tmp_path / f"{name}-work")
    alone = {name: load_predictor(folder, spec, 1).predict(texts) for name, folder in folders.items()}
    scoring = Scoring.of(spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    for strategy in ("vote", "weighted", "stack", "route"):
        combiner, found = fit_ensemble(reader, EnsembleParams(strategy), validation, alone, seed=1)
        assert set(found["val_members"]) == set(folders) and 1 <= found["val_calls"] <= 2
        out = tmp_path / strategy
        out.mkdir()
        write_ensemble(out, combiner, folders, {"family": "ensemble", "variant": f"ensemble-{strategy}", "history": []})
        answers = load_predictor(out, spec, 1).predict(texts[:6])
        stored = FieldCombiner(scoring.schema, Combiner.of(json.loads((out / "combiner.json").read_text())))
        expected = [stored.answer(pair) for pair in zip(*alone.values())][:6]
        assert [a.text for a in answers] == [e.text for e in expected]
        assert [a.tokens_out for a in answers] == [e.tokens_out for e in expected] and all(a.tokens_out for a in answers)
        assert all(output_validator(scoring.schema).is_valid(values(a)) for a in answers)


def test_weights_follow_who_is_right_on_validation_rows():
    good, poor, worse = Member("good", lambda n: n % 10 < 9), Member("poor", lambda n: n % 10 < 4), Member("worse", lambda n: n % 10 < 4)
    members = [Member(m.name, m.knows, 0.7, 0.7) for m in (good, poor, worse)]
    predictor, _ = fitted("weighted", members, rows(90))
    weights = predictor.combiner.fields["kind"]
    assert weights.own[0] > 1.5 and weights.own[1] == weights.own[2] == 0.0
    assert accuracy(predictor, rows(90, 300)) == 0.9 > accuracy(fitted("vote", members, rows(90))[0], rows(90, 300))


def test_fitting_is_the_same_twice_and_needs_rows():
    members = [Member("x", lambda n: n % 5 < 3), Member("y", lambda n: n % 5 >= 2)]
    assert fitted("stack", members, rows(60))[1] == fitted("stack", members, rows(60))[1]
    with pytest.raises(UserError, match="too few to fit an ensemble"):
        fitted("stack", members, rows(5))
    fitted("vote", members, rows(5))
