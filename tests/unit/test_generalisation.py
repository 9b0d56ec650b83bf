"""Overfitting is found where it is planted and not where it is not; the interval of a gap is that of the reference."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from command_line import command_line
from small_task import write_task
from statsmodels.stats.proportion import confint_proportions_2indep
from suite_models import Rule, examples, task, truth

from pp_assets.evaluation.controls import Against, probes
from pp_assets.evaluation.generalisation import difference, generalisation
from pp_assets.evaluation.generalisation_page import markdown, write_page
from pp_assets.evaluation.predictions import make_rows
from pp_assets.evaluation.stats.intervals import wilson
from pp_assets.generalisations import samples, sizes_of
from pp_assets.pipeline import Training
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction

SPEC = task()
SPLITS = {"train": examples(200, 1), "val": examples(60, 2), "test": examples(120, 3)}


class Memory:
    """Knows the texts that it was trained on by heart, and of others nothing but the commonest answer."""

    def __init__(self, taught):
        self.taught = {e.input_text: e.output for e in taught}

    def predict(self, texts):
        return [Prediction(json.dumps(self.taught.get(text) or {**truth(""), "kind": "billing"})) for text in texts]


def answered(model, splits=SPLITS):
    dump = lambda output: dump_output(SPEC.output_schema, output)  # noqa: E731
    return {name: make_rows(rows, model.predict([e.input_text for e in rows]), dump) for name, rows in splits.items()}


def test_a_model_that_learnt_by_heart_overfits():
    found = generalisation(SPEC, answered(Memory(SPLITS["train"])), {}, {})
    assert found["verdict"] == "overfits" and "training rows are answered better" in found["reason"]
    gaps = {(g["of"], g["over"]): g for g in found["gaps"]}
    assert gaps["train", "test"]["low"] > 0.5 and gaps["train", "val"]["verdict"] == "overfits"
    assert gaps["val", "test"]["verdict"] != "overfits"


def test_a_model_that_knows_the_rule_shows_no_sign_of_it():
    found = generalisation(SPEC, answered(Rule()), {}, {})
    assert found["verdict"] == "no sign of it" and found["gaps"][0]["effect"] == 0.0 and found["gaps"][0]["high"] <= 0.05


def test_a_model_that_is_as_wrong_on_what_it_was_taught_does_not_overfit():
    found = generalisation(SPEC, answered(Rule(lambda text: "4" in text)), {}, {})
    assert found["verdict"] != "overfits" and found["scores"]["train"]["value"] < 0.8


def test_few_rows_cannot_tell():
    few = {name: rows[:12] for name, rows in SPLITS.items()}
    found = generalisation(SPEC, answered(Rule(), few), {}, {})
    assert found["verdict"] == "cannot tell" and "which holds 0.05" in found["reason"]
    fewer = generalisation(SPEC, answered(Rule(), {name: rows[:5] for name, rows in SPLITS.items()}), {}, {})
    assert fewer["verdict"] == "cannot tell" and "fewer than 10 rows" in fewer["reason"]


def test_test_items_near_to_training_rows_are_told_apart():
    known = SPLITS["train"][:40]
    splits = {**SPLITS, "test": [*known, *(e for e in examples(100, 6) if e.item_id >= "0040")]}
    near = {e.item_id: 0.9 for e in known}
    found = generalisation(SPEC, answered(Memory(splits["train"]), splits), near, {})["neighbours"]
    assert found["close"] == 0.8 and found["scores"]["near"]["value"] == 1.0 and found["gap"]["verdict"] == "overfits"
    none = generalisation(SPEC, answered(Rule()), {}, {})["neighbours"]
    assert none["gap"] is None and "fewer than 10 on a side" in none["reason"]


@pytest.mark.parametrize(("x", "n", "y", "m"), [(56, 70, 48, 80), (9, 10, 3, 10), (5, 56, 0, 29), (10, 10, 10, 10)])
def test_the_interval_of_a_gap_is_that_of_newcombe(x, n, y, m):
    found = difference((x / n, *wilson(x, n)), (y / m, *wilson(y, m)))
    low, high = confint_proportions_2indep(x, n, y, m, method="newcomb", compare="diff")
    assert found == pytest.approx((x / n - y / m, low, high), abs=1e-9)


def test_a_metric_of_which_less_is_better_turns_the_gap():
    spec = task(primary_metric={"name": "valid_but_wrong_rate", "higher_is_better": False})
    found = generalisation(spec, answered(Memory(SPLITS["train"])), {}, {})
    assert found["verdict"] == "overfits" and found["gaps"][0]["effect"] > 0.5


def test_a_curve_that_rises_says_so(tmp_path):
    learnt = {n: answered(Memory(SPLITS["val"][: n // 4]))["val"] for n in (200, 8)}
    found = generalisation(SPEC, answered(Rule()), {}, learnt)
    assert "more rows still help" in found["curve_reason"] and found["curve"][1]["rows"] == 200
    beside = {"probes": probes({"same_item": 0}, found["neighbours"], None, Against(60, 0.9, 0.3, 0.6, 0.5, 0.7))}
    beside |= {"control": None, "leaks": []}
    write_page(found | beside | {"variant": "rule"}, tmp_path)
    assert (tmp_path / "plots" / "curve.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "generalisation.md").read_text()
    assert "**no sign of it**" in text and "| train - test |" in text and "| 200 |" in text
    taught = {
        "held_out": asdict(Against(60, 0.9, 0.3, 0.6, 0.5, 0.7, verdict="leak")),
        "learnt": asdict(Against(60, 0.4, 0.3)),
        "fields": ["kind"],
    }
    leaking = {
        "probes": probes({"same_item": 0}, found["neighbours"], taught, Against(0)),
        "control": taught,
        "leaks": ["exchanged outputs"],
    }
    said = markdown(found | leaking | {"variant": "rule"})
    assert "**no sign of it; leak: exchanged outputs**" in said and "a base that saw them" in said
    assert "it gives back 0.400 (the commonest values 0.300)" in said
    assert "| exchanged outputs |" in text and "not asked for" in text and "0.900 with the text, 0.300" in text


def test_samples_are_seeded_and_bounded():
    rows = Training(examples(700, 1), examples(20, 2), [])
    found = samples(rows, 3)
    assert len(found["train"]) == 500 and len(found["val"]) == 20 and found == samples(rows, 3) != samples(rows, 4)
    assert sizes_of(100) == [8, 16, 25, 32, 50, 100] and sizes_of(10) == [2, 5, 8, 10]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generalisation")
    write_task(root / "tasks", "alpha", rows=96, more="params: {encoder-frozen: {epochs: 2}}")
    return root


@pytest.mark.parametrize("part", ["--curve", "--control"])
def test_a_part_without_its_suite_is_refused(home, capfd, part):
    said = command_line(home, capfd)("eval", "alpha", "-v", "encoder-frozen", part)
    assert said.code == 2 and f"{part} is part of --suite generalisation" in said.err


@pytest.mark.slow
def test_the_command_asks_nothing_twice_draws_a_curve_and_teaches_a_control(home, capfd):
    pp = command_line(home, capfd)
    assert pp("run", "alpha").code == 0
    openings = (home / "pp" / "ledger" / "test_openings.jsonl").read_text()
    said = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "generalisation", "--curve", "--json")
    assert said.code == 0, said.err
    found = said.json["generalisation"]
    assert found["verdict"] in ("overfits", "no sign of it", "cannot tell")
    assert [p["rows"] for p in found["curve"]] == sorted({p["rows"] for p in found["curve"]}) and len(found["curve"]) >= 4
    assert (home / "pp" / "ledger" / "test_openings.jsonl").read_text() == openings, "stored answers to test items are read"
    again = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "generalisation", "--curve", "--json").json
    assert again["reused"] and again["generalisation"] == found
    assert "gap" in pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "generalisation", "--curve").out
    controlled = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "generalisation", "--control", "--json")
    assert controlled.code == 0, controlled.err
    made = controlled.json["generalisation"]
    assert made["control"]["fields"] == ["kind"] and made["control"]["held_out"]["n"] > 0 and made["leaks"] == []
    assert made["probes"][0]["verdict"] == "no sign of it" and made["probes"][3]["value"] is not None
    files = sorted((home / "pp" / "curves" / "alpha" / "encoder-frozen").glob("*/exchanged-*"))
    assert [file.name for file in files] == ["exchanged-train.jsonl.gz", "exchanged-val.jsonl.gz"]
    stamps = [file.stat().st_mtime_ns for file in files]
    pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "generalisation", "--control", "--curve")
    assert [file.stat().st_mtime_ns for file in files] == stamps, "a control that is there is not trained again"
