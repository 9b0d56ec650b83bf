"""The product's own models, rows and metrics in an experiment: a small model that was really trained."""

import json
import os
import shutil
from dataclasses import replace

import pytest
from test_package import package, parts

from bench.serving import serving
from pp_assets.answers import answers
from pp_assets.evaluation.metrics import score_system
from pp_assets.evaluation.predictions import make_rows
from pp_assets.experiment import Experiment, ask, models, op, parsed, task_rows, task_scores
from pp_assets.experiment.item_scores import NOT_OF_AN_ITEM
from pp_assets.pipeline import Pipeline
from pp_assets.task.examples import count_test_openings, read_split
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction


@pytest.fixture
def installed(monkeypatch):
    """The environment of an installation with one trained variant, and its pipeline."""
    task, _, _, _, store = parts("encoder-lora")
    package("encoder-lora")
    monkeypatch.setenv("PP_HOME", str(store.root))
    monkeypatch.setenv("PP_TASKS", str(task.folder.parent))
    return Pipeline.from_env()


def test_a_variant_and_its_package_are_one_model_and_share_their_answers(installed, tmp_path):
    folder = package("encoder-lora").path
    variant, packaged = models("toy/encoder-lora", str(folder))
    assert variant.identity == packaged.identity and (variant.name, packaged.name) == ("toy/encoder-lora", str(folder))
    assert not variant._loaded and not packaged._loaded

    def exp(*which):
        return Experiment(task_rows("toy"), store=tmp_path / "c.db").vary(model=list(which)).step("answer", ask).step("output", parsed)

    assert exp(packaged).plan().counts["answer"] == 6 and not packaged._loaded, "a plan loads nothing"
    first = exp(packaged).run()
    assert first.computed == {"answer": 6, "output": 6} and first.spent_usd == 0 and first.df["tokens_in"].min() > 0
    assert exp(variant).run().computed == {"answer": 0, "output": 0} and not variant._loaded
    texts = [row["input_text"] for row in task_rows("toy")]
    assert [a["text"] for a in first.df["answer"]] == [said.text for said in variant.predict(texts)]
    assert first.df["output"].map(set).tolist() == [{"topic", "order", "angry"}] * 6


def test_reports_and_experiments_ask_by_the_same_cells(installed, tmp_path):
    task, adapter, _, dataset, _ = parts("encoder-lora")
    texts = [row.input_text for row in read_split(dataset.path, "val")]
    answers(installed, task, adapter, texts)
    exp = Experiment(task_rows("toy"), store=installed.settings.home / "cells.db").vary(model=models("toy/encoder-lora"))
    assert exp.step("answer", ask).run().computed == {"answer": 0}


def test_other_words_to_the_model_are_another_identity_and_other_metrics_are_not(installed, tmp_path):
    task = parts("encoder-lora")[0]
    before = models("toy/encoder-lora")[0].identity
    folder = tmp_path / "tasks" / "toy"
    shutil.copytree(task.folder, folder)
    spec = json.loads((folder / "task.json").read_text())

    def identity(**changes):
        (folder / "task.json").write_text(json.dumps(spec | changes))
        return models("toy/encoder-lora")[0].identity

    os.environ["PP_TASKS"] = str(folder.parent)
    assert identity(system_prompt="You sort mail.") != before
    assert identity(gates=[], description="Another") == before


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("toy/encoder-lara", "no model 'toy/encoder-lara'.*did you mean 'toy/encoder-lora'"),
        ("somewhere/else", "known: toy/encoder-lora"),
        ("toy/majority", "has stored answers and no weights; 'pp compare' compares those"),
    ],
)
def test_a_name_that_is_no_model_is_told_with_the_nearest(installed, named, says):
    if named == "toy/majority":
        _, _, evaluation, _, store = parts("encoder-lora")
        base = store.produce(
            "baselines", "toy", {"a": "b"}, lambda out: shutil.copytree(evaluation.file("predictions"), out / "predictions") and {}
        )
        assert base.path.exists()
    with pytest.raises(UserError, match=says):
        models(named)


def test_a_changed_package_is_not_asked(installed, tmp_path):
    folder = tmp_path / "package"
    shutil.copytree(package("encoder-lora").path, folder)
    file = folder / "adapter" / "heads.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"heads.safetensors: changed"):
        models(str(folder))[0].predict(["where is it"])


def test_the_rows_of_a_split_are_those_of_the_data_set_and_openings_of_test_are_counted(installed):
    dataset = parts("encoder-lora")[3]
    assert [row["id"] for row in task_rows("toy", "train")] == [e.item_id for e in read_split(dataset.path, "train")]
    before = count_test_openings(installed.ledger, "toy")
    assert len(task_rows("toy", "test")) == 12 and count_test_openings(installed.ledger, "toy") == before + 1
    with pytest.raises(UserError, match="unknown split 'dev'"):
        task_rows("toy", "dev")


@pytest.fixture
def url(installed):
    """A server of this installation that allows nothing but what every server does."""
    from pp_assets.experiment.served import Served
    from pp_gateway.experiment_server import Door, build_app

    with serving(build_app(Served([]), Door())) as made:
        yield made


def test_a_server_asks_its_own_copy_of_a_model_and_scores_by_the_task(installed, url, tmp_path):
    def exp(name, *which):
        made = Experiment(task_rows("toy"), store=tmp_path / name).vary(model=list(which)).step("answer", ask).step("output", parsed)
        return made.score(task_scores("toy"))

    variant, packaged = models("toy/encoder-lora", str(package("encoder-lora").path))
    there = exp("there.db", variant).run(where=url)
    assert not variant._loaded and there.computed == {"answer": 6, "output": 6, "task": 6} and there.spent_usd == 0
    here = exp("here.db", variant).run()
    for column in ("output", *here.metrics, "tokens_in", "cost_usd"):
        assert here.df[column].tolist() == there.df[column].tolist(), column
    assert exp("there.db", packaged).run(where=url).computed == {"answer": 0, "output": 0, "task": 0}

    retrained = replace(variant, weights="of another training")
    with pytest.raises(UserError, match="the server's 'toy/encoder-lora' is another model under the same name"):
        exp("other.db", retrained).run(where=url)
    for key in ("toy/lora-r9", "../toy", str(packaged.folder)):
        with pytest.raises(UserError, match=r"no model 'toy/lora-r9'|is no TASK/VARIANT"):
            exp("other.db", replace(variant, key=key, weights="w")).run(where=url)


GOOD = '{"topic": "refund", "order": "A1", "angry": true}'
SAID = [GOOD, "no JSON", "[]", '{"topic": "food", "order": null, "angry": true}', '{"topic": "refund"}', f'{GOOD[:-1]}, "more": 1}}']


def test_the_means_of_the_scores_are_the_numbers_of_a_report(installed, tmp_path):
    task, _, _, dataset, _ = parts("encoder-lora")
    rows = read_split(dataset.path, "train")
    said = [SAID[i % 7] if i % 7 < 6 else dump_output(task.output_schema, row.output) for i, row in enumerate(rows)]
    predictions = [Prediction(text, finish_reason="length" if i % 5 == 0 else "stop") for i, text in enumerate(said)]
    report = score_system(task, make_rows(rows, predictions, lambda output: dump_output(task.output_schema, output)))
    answers = dict(zip((row.input_text for row in rows), predictions))

    @op(version="1", sampled=False)
    def tell(input_text):
        return answers[input_text]

    results = Experiment(task_rows("toy", "train"), store=tmp_path / "c.db").step("answer", tell).score(task_scores("toy")).run()
    told = {name.removeprefix("task."): results.df[name].mean() for name in results.metrics}
    assert told == pytest.approx({name: report[name].value for name in told})
    whole = {name for name, metric in report.items() if metric.value is not None and name.endswith(("_rate", "_match", "_mean"))}
    assert whole - {*NOT_OF_AN_ITEM, "latency_ms_mean"} <= told.keys() and "field_exact.order" in told
    assert 0 < told["object_exact_match"] < told["schema_valid_rate"] < told["json_valid_rate"] < 1 and told["length_stop_rate"] > 0


def test_a_text_a_parsed_output_and_an_answer_with_confidences_score_alike():
    task = parts("encoder-lora")[0]
    score = task_scores(task.spec)
    expected = json.loads(GOOD)
    text, output = (score(answer=answer, output_json=expected) for answer in (GOOD, expected))
    full = score(answer=vars(Prediction(GOOD)), output_json=expected)
    assert text == output and text["object_exact_match"] == 1.0
    assert full == text | {"length_stop_rate": 0.0}, "how a text ended is not known"
    assert score(answer=None, output_json=expected)["json_valid_rate"] == 0.0
    assert score(answer="[]", output_json=expected)["out_of_enum_rate"] is None, "not an object: nothing to count"
    with pytest.raises(UserError, match="the expected output is not valid"):
        score(answer=GOOD, output_json={"topic": "food"})


def test_scores_of_another_schema_or_other_rules_are_other_scores():
    spec = parts("encoder-lora")[0].spec
    other = spec.model_copy(update={"rubric": spec.rubric.model_validate({"fields": {"order": {"compare": "casefold"}}})})
    assert task_scores(spec).identity == task_scores(spec).identity != task_scores(other).identity
    assert list(task_scores(spec).arguments) == ["answer", "output_json"]
