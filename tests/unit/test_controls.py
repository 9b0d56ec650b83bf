"""A leak that is planted is reported, and a sound training is not accused; what is exchanged, and when there is nothing to exchange."""

import json
from collections import Counter

import numpy as np
import pytest
from suite_models import Rule, examples, task, truth

from pp_assets.evaluation.baselines import classical_baselines
from pp_assets.evaluation.controls import LEAST, Against, chosen_paths, control, exchanged, probes, why_not, without_text
from pp_assets.evaluation.predictions import make_rows
from pp_assets.task.examples import Example
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction

SPEC = task()
SCHEMA = SPEC.output_schema
PATHS = ["kind", "urgent"]
SAID = {
    "billing": ["you charged me twice", "the invoice is wrong", "refund the second payment"],
    "delivery": ["the parcel never came", "where is the driver", "the box arrived wet"],
    "returns": ["i want to send it back", "the label does not print", "please swap the size"],
}


def tickets(n, seed, size=1):
    """Messages whose words tell the kind and the urgency; `size` to a group."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        kind, urgent = str(rng.choice(list(SAID))), bool(rng.random() < 0.4)
        order = f"{rng.choice(list('ABC'))}-{rng.integers(1000, 9999)}"
        text = f"{rng.choice(SAID[kind])}, {order}, {'hurry' if urgent else 'no rush'} {rng.integers(100)}"
        made.append(Example(f"{seed}-{i:04d}", text, {"kind": kind, "urgent": urgent, "order": order}, group=f"g{seed}-{i // size}"))
    return made


def rows_of(some, said):
    return make_rows(some, said, lambda output: dump_output(SCHEMA, output))


def learner(train, texts):
    """Logistic regression on words, as the baselines have it."""
    embed = lambda some: np.ones((len(some), 1))  # noqa: E731
    return classical_baselines(SPEC, train, texts, embed)["tfidf-logreg"]


def judged(train, val, seed=3, more=()):
    """The control of a learner that is given `more` rows than it should have."""
    taught = exchanged(train, PATHS, seed)
    assert why_not(SCHEMA, PATHS, taught) == ""
    said = learner([*taught, *more], [*taught, *val])
    return control(SPEC, PATHS, taught, rows_of(taught, said[: len(taught)]), rows_of(val, said[len(taught) :]))


def test_a_sound_training_knows_no_more_than_the_commonest_answer():
    found = judged(tickets(150, 1), tickets(90, 2))
    assert found["held_out"]["verdict"] != "leak" and found["held_out"]["low"] < 0.05 and found["held_out"]["n"] == 90
    assert found["learnt"]["low"] > 0, "numbers in the texts tell the rows apart, so that some are learnt by heart"
    assert learner(tickets(150, 1), tickets(90, 2))[0].text != learner(exchanged(tickets(150, 1), PATHS, 3), tickets(90, 2))[0].text


def test_held_out_rows_among_those_that_are_taught_are_a_leak():
    val = tickets(90, 2)
    found = judged(tickets(150, 1), val, more=val * 3)["held_out"]
    assert found["verdict"] == "leak" and found["low"] > 0.05 and found["p_value"] < 0.001 and found["value"] > found["other"]


def test_a_model_that_finds_the_label_elsewhere_is_a_leak():
    taught, val = exchanged(examples(120, 1), PATHS, 3), examples(60, 2)
    said = lambda some: rows_of(some, Rule().predict([e.input_text for e in some]))  # noqa: E731
    found = control(SPEC, PATHS, taught, said(taught), said(val))
    assert found["held_out"]["verdict"] == "leak" and found["held_out"]["value"] == 1.0
    assert found["learnt"]["value"] < 0.7, "it does not learn what it is taught"


def test_no_other_exchange_accuses_a_sound_training():
    train, val = tickets(150, 1, size=3), tickets(90, 2, size=3)
    verdicts = Counter(judged(train, val, seed)["held_out"]["verdict"] for seed in range(5))
    assert verdicts["leak"] == 0, verdicts


def test_choices_change_places_and_nothing_else_does():
    rows = tickets(60, 1, size=2)
    made = exchanged(rows, PATHS, 3)
    assert [(e.item_id, e.input_text, e.output["order"], e.group) for e in made] == [
        (e.item_id, e.input_text, e.output["order"], e.group) for e in rows
    ]
    pairs = lambda some: [(e.output["kind"], e.output["urgent"]) for e in some]  # noqa: E731
    assert Counter(pairs(made)) == Counter(pairs(rows)) and pairs(made) != pairs(rows), "groups are of one size: the same outputs"
    blocks = [pairs(made)[i : i + 2] for i in range(0, 60, 2)]
    assert sorted(blocks) == sorted(pairs(rows)[i : i + 2] for i in range(0, 60, 2)), "groups stay together"
    assert exchanged(rows, PATHS, 3) == made != exchanged(rows, PATHS, 4)
    assert rows == tickets(60, 1, size=2), "the rows themselves are not touched"


def test_what_cannot_be_exchanged_is_told():
    rows = tickets(40, 1)
    assert chosen_paths(SCHEMA, rows) == PATHS
    assert "no field takes one of a list's values" in why_not(SCHEMA, [], rows)
    assert "groups to exchange outputs between: 4" in why_not(SCHEMA, PATHS, tickets(40, 1, size=10))
    alike = [Example(e.item_id, e.input_text, {**e.output, "kind": "billing", "urgent": True}) for e in rows]
    assert why_not(SCHEMA, PATHS, alike) == "all rows have the same choices"
    tied = {**SCHEMA, "if": {"properties": {"kind": {"const": "billing"}}}, "then": {"properties": {"order": {"type": "null"}}}}
    paid = [Example(e.item_id, e.input_text, {**e.output, "order": None if e.output["kind"] == "billing" else "A-1"}) for e in rows]
    assert why_not(tied, PATHS, paid) == "" and "the schema ties fields together" in why_not(tied, PATHS, exchanged(paid, PATHS, 3))


def test_fields_that_are_not_in_all_rows_are_left_alone():
    loose = {**SCHEMA, "required": ["kind", "order"]}
    rows = [Example("a", "x", {"kind": "billing", "order": None}), Example("b", "y", {"kind": "returns", "order": None, "urgent": True})]
    assert chosen_paths(loose, rows) == ["kind"]


def test_too_few_rows_have_no_verdict():
    found = judged(tickets(150, 1), tickets(LEAST - 1, 2))["held_out"]
    assert found["effect"] is None and found["verdict"] == "cannot tell" and "fewer than 10 rows: 9" in found["reason"]


def test_a_model_that_reads_is_told_from_one_that_does_not():
    val = examples(60, 2)
    constant = [Prediction(json.dumps(truth("")))] * len(val)
    blind = rows_of(val, constant)
    read = without_text(SPEC, rows_of(val, Rule().predict([e.input_text for e in val])), blind)
    assert read.verdict == "reads the text" and read.value == 1.0 and read.effect == pytest.approx(1 - read.other)
    same = without_text(SPEC, blind, blind)
    assert same.verdict == "cannot tell" and same.effect == 0.0


def test_probes_are_named_together():
    near = {"gap": None, "reason": "fewer than 10 on a side"}
    found = probes({"same_item": 0, "near_duplicate": 2}, near, None, Against(60, 0.9, 0.3, 0.6, 0.5, 0.7))
    assert [p["name"] for p in found] == ["shared rows", "near neighbours", "exchanged outputs", "empty text"]
    assert found[0]["verdict"] == "leak" and "near duplicate 2" in found[0]["reason"]
    assert found[1]["reason"] == near["reason"] and "--control" in found[2]["reason"] and found[3]["effect"] == 0.6
