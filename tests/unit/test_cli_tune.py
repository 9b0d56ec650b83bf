"""`pp tune` on a small task: real trainings, one MLflow run each, no test row, and settings that `pp train` then uses."""

import json
from pathlib import Path

import pytest
from command_line import Said, command_line, use_installation
from small_task import write_task
from test_encoder_tokens import tiny_encoder

from pp_assets import names
from pp_assets.execute import QUIET, Runner
from pp_assets.pipeline import TUNINGS, Pipeline
from pp_assets.task.examples import count_test_openings
from pp_assets.task.spec import load_task
from pp_assets.trainings import training_inputs
from pp_assets.tuning import untuned
from pp_resources.settings import Settings
from pp_resources.tracking import open_tracker

# Few steps a trial; what lies outside of the search space stays as the task says.
SHORT = "params:\n  encoder-frozen: {max_steps: 12, least_epochs: 2}  # short"
METRIC = "primary_metric: {name: field_exact_mean}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("installation")
    write_task(made / "tasks", "alpha", rows=64, more=f"{SHORT}\n{METRIC}\nencoder_model_id: {tiny_encoder(made / 'encoder')}")
    return made


@pytest.fixture
def settings(root: Path) -> Settings:
    use_installation(root)
    return Settings.from_env()


@pytest.fixture
def pp(root: Path, capfd: pytest.CaptureFixture[str]):
    return command_line(root, capfd)


def tune(pp, *more: str) -> Said:
    said = pp("tune", "alpha", "--variant", "encoder-frozen", *more)
    assert said.code == 0, said.err
    return said


def test_a_search_tells_what_it_found_and_opens_no_test_split(pp, settings):
    said = tune(pp, "--trials", "2", "--json").json
    assert said["trials"] == 2 and [t["number"] for t in said["all"]] == [0, 1]
    assert said["val_rows"] > 0 and said["low"] <= said["effect"] <= said["high"] and said["corrected"] <= max(said["effect"], 0.0)
    assert {p.name for p in Path(said["path"]).iterdir()} == {"trials.json", "best.json", "search.png", "answers", "manifest.json"}
    assert said["metric"] == "field_exact_mean" and said["all"][0]["value"] == pytest.approx(said["default_value"])
    assert count_test_openings(settings.home / "ledger" / "test_openings.jsonl", "alpha") == 0


def test_more_trials_go_on_and_the_same_ones_are_there_already(pp):
    first = tune(pp, "--trials", "2", "--json").json["all"]
    more = tune(pp, "--trials", "3")
    assert more.err.count("  trial ") == 1, "the two that were there are not made again"
    assert tune(pp, "--trials", "3", "--json").json["all"][:2] == first
    assert "encoder-frozen: best of 3 trials" in more.out and "the recipe" in more.out
    assert "nothing to change" in more.out or ("corrected for the choice" in more.out and "params:" in more.out)


def test_each_trial_is_a_run_within_the_run_of_its_search(settings):
    tracker = open_tracker(settings)
    experiment = tracker.client.get_experiment_by_name("alpha").experiment_id
    runs = {run.info.run_id: run for run in tracker.client.search_runs([experiment])}
    trials = [run for run in runs.values() if run.info.run_name.startswith("encoder-frozen trial ")]
    assert len(trials) == 3
    for run in trials:
        search = runs[run.data.tags["mlflow.parentRunId"]]
        assert search.info.run_name == "encoder-frozen search" and search.data.params["seed"] == "0"
        assert "head_lr" in run.data.params and "val_object_exact_match" in run.data.metrics and run.info.status == "FINISHED"


def test_the_job_finds_the_search_that_the_command_made(settings):
    asked = {"task": "alpha", "variant": "encoder-frozen", "trials": 3}
    with Runner(settings) as runner:
        job = runner.defs.resolve_job_def(names.JOB_TUNE)
        done = job.execute_in_process(run_config=QUIET | {"ops": {"search": {"config": asked}}}, instance=runner.instance)
        (seen,) = [e.asset_observation_data.asset_observation for e in done.all_events if e.event_type_value == "ASSET_OBSERVATION"]
        assert seen.metadata["trials"].value == 3 and len(runner.pipeline.store.versions(TUNINGS, "alpha/encoder-frozen")) == 2


def test_settings_that_were_written_are_those_of_the_next_training_and_not_of_the_next_search(pp, settings, root):
    before = load_task("alpha", settings.tasks)
    said = tune(pp, "--trials", "3", "--write", "--json").json
    after = load_task("alpha", settings.tasks)
    outside = {"max_steps": 12, "least_epochs": 2}
    assert after.spec.params == {"encoder-frozen": outside | said["params"]} and said["written"] == bool(said["params"])
    assert untuned(after, "encoder-frozen") == untuned(before, "encoder-frozen")
    assert "  trial " not in tune(pp, "--trials", "3").err, "a search does not start from its own result"
    pipeline = Pipeline(settings)
    trained = pipeline.adapter("alpha", "encoder-frozen")
    record = json.loads(trained.file("training.json").read_text())
    assert {k: record["params"][k] for k in outside | said["params"]} == outside | said["params"]
    plain = training_inputs(before, untuned(before, "encoder-frozen"), pipeline.training_rows("alpha"))
    assert (trained.inputs["recipe"] == plain["recipe"]) is not bool(said["params"])
    best = next(t for t in said["all"] if t["number"] == said["best_trial"])
    assert record["history"][record["best_epoch"] - 1]["val_primary"] == best["value"], "the training is that of the trial"


def test_a_variant_or_budget_that_cannot_be_is_one_line(pp):
    said = pp("tune", "alpha", "--variant", "encoder-frosen", "--trials", "2")
    assert said.code == 2 and "did you mean 'encoder-frozen'?" in said.err
    assert pp("tune", "alpha", "--variant", "encoder-frozen", "--trials", "0").code == 2
