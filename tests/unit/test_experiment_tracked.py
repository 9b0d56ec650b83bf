"""Experiments in MLflow, on a real store."""

import json
from pathlib import Path
from urllib.parse import urlparse

import pytest

from pp_assets.experiment import Experiment, op
from pp_resources.errors import UserError
from pp_resources.settings import Settings
from pp_resources.tracking import open_tracker

ROWS = [{"id": i, "number": i} for i in range(12)]
LONG = "Answer in one word, and say nothing else that was not asked for. " * 6


def answer(prompt, number):
    return number % (3 if prompt == "plain" else 2) == 0


def right(answer):
    return bool(answer)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "c.db"
    exp = Experiment(ROWS, store=store).vary(prompt=["plain", LONG + "a", LONG + "b"], size=[1])
    return exp.step("answer", op(answer, sampled=False)).score(right).run()


@pytest.fixture(autouse=True)
def installed(tmp_path_factory, monkeypatch):
    """One store of MLflow for all tests: making one takes seconds."""
    home = tmp_path_factory.getbasetemp() / "tracked"
    monkeypatch.setenv("PP_HOME", str(home))
    return home


def test_a_run_has_what_was_varied_every_number_the_comparisons_the_plots_and_the_page(results, tmp_path):
    url = results.log("prompts", margin=0.1)
    assert url is not None
    client = open_tracker(Settings.from_env()).client
    run = client.get_run(urlparse(url).fragment.rpartition("/")[2])
    assert run.info.status == "FINISHED" and run.data.tags["pp.stage"] == "experiment"
    params = run.data.params
    assert (params["items"], params["rows"], params["trials"]) == ("12", "36", "1")
    assert params["dims.prompt.1"] == "plain" and params["dims.prompt.3"] == LONG + "b" and params["code.answer"] == results.codes["answer"]
    table = results.summary("right").loc["plain"]
    logged = {name: run.data.metrics[f"right/prompt 1/{name}"] for name in ("mean", "low", "high", "n_items", "n_trials")}
    assert logged == pytest.approx(table[list(logged)].astype(float).to_dict())
    assert {name.split("/")[1] for name in run.data.metrics if name.startswith("right/")} == {"prompt 1", "prompt 2", "prompt 3"}
    assert run.data.metrics["calls/answer"] == 36 and run.data.metrics["failed"] == 0
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == "prompts" and parent.data.metrics["right/prompt 2/mean"] == 0.5

    folder = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert {p.name for p in folder.iterdir()} >= {"experiment.html", "comparisons.json", "summary.json", "plots"}
    told = json.loads((folder / "comparisons.json").read_text())
    rows = [dict(zip(told["columns"], line)) for line in told["data"]]
    assert len(rows) == 3 == len(list((folder / "plots").glob("*.png")))
    found = results.compare("prompt", "plain", LONG + "a", "right")
    assert rows[0]["delta"] == pytest.approx(found.delta) and rows[0]["verdict"] == found.verdict(0.1) and rows[0]["n_items"] == 12
    assert "<h1>prompts</h1>" in (folder / "experiment.html").read_text()


def test_where_tracking_is_off_nothing_is_written(results, tmp_path, monkeypatch):
    monkeypatch.setenv("PP_TRACKING", "off")
    monkeypatch.setenv("PP_HOME", str(tmp_path / "home"))
    assert results.log("prompts") is None and not (tmp_path / "home").exists()


def test_an_experiment_without_scores_has_counts_alone(tmp_path):
    results = Experiment(ROWS, store=tmp_path / "c.db").step("answer", answer, inputs={"prompt": "number"}).run()
    assert results.log("no-scores", task="my-task") is not None


@pytest.mark.parametrize(("name", "task"), [("it's", "experiments"), ("mine", "My Task")])
def test_names_are_plain_words(results, name, task):
    with pytest.raises(UserError, match="is not a name"):
        results.log(name, task=task)
