"""Real runs of the jobs on a small task: what they leave, what they show, what they reuse."""

import dagster as dg
import pytest
from small_task import write_task

from pp_assets import names
from pp_assets.answers import answers
from pp_assets.evaluation.predictions import read_predictions
from pp_assets.execute import QUIET, Runner
from pp_assets.lineage.graph import lineage
from pp_assets.partitions import register
from pp_assets.pipeline import ADAPTERS, BASELINES, DATASETS, EVALUATIONS, INPUTS, Pipeline
from pp_assets.task.examples import count_test_openings
from pp_resources.errors import UserError
from pp_resources.progress import watched_by
from pp_resources.settings import Settings
from pp_resources.tracking import MlflowTracker


def shown(result: dg.ExecuteInProcessResult) -> dict[str, dict]:
    return {e.asset_key.to_user_string(): dict(e.materialization.metadata) for e in result.get_asset_materialization_events()}


@pytest.fixture(scope="module")
def heard() -> tuple[list[tuple[str, int, int]], list[dg.EventLogEntry]]:
    """What is told of `runner` from its first run on: steps of progress (title, done, total), and Dagster's events."""
    return [], []


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, heard):
    root = tmp_path_factory.mktemp("whole")
    write_task(root / "tasks", "alpha")
    steps, events = heard
    watch = watched_by(lambda title, done, total, _detail: steps.append((title, done, total)))
    with Runner(Settings(root / "home", root / "tasks", 1), tracking=False, on_event=events.append) as made, watch:
        yield made


def test_the_data_job_leaves_every_stage_and_its_checks_and_a_second_run_computes_nothing(runner: Runner) -> None:
    register(runner.instance, ["alpha"], ["encoder-frozen"])
    job = runner.defs.resolve_job_def(names.JOB_TASK_DATA)
    run = job.execute_in_process(run_config=QUIET, partition_key="alpha", instance=runner.instance)
    first = shown(run)
    assert list(first) == ["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "baselines", "generation_choice"]
    assert not any(metadata["reused"].value for metadata in first.values())
    assert first["clusters"]["map"].value.startswith("![map](data:image/png;base64,")
    assert first["generated_data"]["sample"].records and first["seeds"]["train"].value > 40
    assert first["clusters"]["inputs"].value["dataset"] == first["seeds"]["digest"].value
    assert first["seeds"]["path"].value == str(runner.pipeline.current(DATASETS, "alpha").path)
    openings = count_test_openings(runner.pipeline.ledger, "alpha")
    assert openings == 1, "the baselines, and nothing else"

    checks = {e.check_name: e for e in run.get_asset_check_evaluations()}
    assert checks[names.CHECK_LEAKAGE].passed and checks[names.CHECK_LEAKAGE].blocking
    leaks = {"same_item": 0, "same_group": 0, "near_duplicate": 0, "disturbed": 0}
    assert {k: v.value for k, v in checks[names.CHECK_LEAKAGE].metadata.items()} == leaks
    assert checks[names.CHECK_QUALITY].metadata["test"].value > 10

    second = shown(job.execute_in_process(run_config=QUIET, partition_key="alpha", instance=runner.instance))
    assert all(metadata["reused"].value for metadata in second.values())
    assert count_test_openings(runner.pipeline.ledger, "alpha") == openings
    record = runner.instance.get_latest_data_version_record(dg.AssetKey("seeds"), partition_key="alpha")
    version = record.asset_materialization.tags["dagster/data_version"]
    assert version == runner.pipeline.current(DATASETS, "alpha").digest


def test_feedback_changes_training_rows_and_leaves_the_test_rows(place) -> None:
    place.add("alpha")
    p = place.pipeline
    p.seeds("alpha")
    before = p.current(DATASETS, "alpha").metadata
    p.inbox.add(p.task("alpha"), "quite another matter: the invoice of may is missing", output={"kind": "billing", "order": None})
    after = p.seeds("alpha")
    assert after.stale_because == ("feedback",) and after.metadata["train"] == before["train"] + 1
    assert after.metadata["splits_sha256"]["test"] == before["splits_sha256"]["test"]


def test_a_stage_without_its_upstream_says_what_to_run(place) -> None:
    place.add("alpha")
    with pytest.raises(UserError, match="no datasets for 'alpha' yet; run 'pp run alpha'"):
        place.pipeline.clusters("alpha")


def test_the_whole_pipeline_from_a_folder_to_a_package(runner: Runner) -> None:
    steps = runner.everything("alpha")
    assert [s.asset for s in steps] == [
        *("seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "baselines", "generation_choice"),
        *("adapter", "eval_report", "package", "leaderboard"),
    ]
    assert [s.asset for s in steps if not s.reused] == ["adapter", "eval_report", "package", "leaderboard"]
    report = runner.pipeline.current(EVALUATIONS, "alpha/encoder-frozen")
    assert report.metadata["verdict"] in ("SHIP", "DO NOT SHIP", "NOT ENOUGH DATA") and report.metadata["best_baseline"]
    assert report.inputs["baselines"] == runner.pipeline.current(BASELINES, "alpha").digest
    found = lineage(runner.pipeline, "alpha")
    trained = next(node for node in found.nodes if node.kind == ADAPTERS)
    assert {source.name for source in trained.made_from if source.node} >= {"dataset", "evaluated_inputs", "generated"}
    (prompt,) = (node for node in found.nodes if node.kind == "prompt")
    assert prompt.current and prompt.digest == report.metadata["prompt"]["digest"]
    materialized = runner.instance.get_materialized_partitions(dg.AssetKey("package"))
    assert materialized == {"alpha|encoder-frozen"}, "what a command did is seen in the UI"

    again = runner.everything("alpha")
    assert all(s.reused for s in again), [(s.asset, s.artifact.stale_because) for s in again if not s.reused]


def test_progress_of_the_work_inside_a_job_reaches_whoever_started_it(runner: Runner, heard) -> None:
    runner.everything("alpha")
    steps, events = heard
    training = [(done, total) for title, done, total in steps if title == "encoder-frozen"]
    second = next(place for place, (done, _) in enumerate(training) if place and not done)
    assert [done for done, _ in training[:second]] == list(range(second)) and second > 3
    assert {"embedding", "answering"} <= {title for title, _, _ in steps}
    assert {e.dagster_event.event_type_value for e in events if e.dagster_event} >= {"STEP_START", "ASSET_MATERIALIZATION", "STEP_SUCCESS"}


def test_a_changed_metric_asks_the_model_nothing_and_one_more_text_once(runner: Runner) -> None:
    p = runner.pipeline
    trained, first = p.current(ADAPTERS, "alpha/encoder-frozen"), p.current(EVALUATIONS, "alpha/encoder-frozen")
    texts = [row.input_text for row in rows_of(first)]
    assert first.metadata["asked"] == len(set(texts))
    write_task(p.settings.tasks, "alpha", more="primary_metric: {name: field_exact.kind}")
    tracker = MlflowTracker(p.settings.mlflow_uri, p.settings.mlflow_artifacts, p.settings.home)
    again = Pipeline(p.settings, tracker).eval_report("alpha", "encoder-frozen")
    tags = tracker.client.get_run(again.metadata["mlflow"]["run_id"]).data.tags
    assert (tags["pp.data_version"], tags["pp.adapter_digest"]) == (p.current(DATASETS, "alpha").digest, trained.digest)
    assert tags["pp.prompt_digest"] == again.metadata["prompt"]["digest"] and tags["pp.code_digest"] == again.inputs["code"]
    assert again.stale_because == ("spec",) and again.metadata["asked"] == 0
    assert again.metadata["metric"] == "field_exact.kind" != first.metadata["metric"]
    said, asked = answers(p, p.task("alpha"), trained, [*texts, "where is my bicycle?"])
    assert asked == 1 and [a.text for a in said[:-1]] == [row.output for row in rows_of(again)]
    write_task(p.settings.tasks, "alpha")
    assert p.eval_report("alpha", "encoder-frozen").digest == first.digest


def rows_of(report):
    return read_predictions(report.file("predictions") / "encoder-frozen.jsonl.gz")


def test_an_adapter_of_other_data_is_not_evaluated(runner: Runner) -> None:
    """Today's test rows may be among what it has learnt from."""
    p = runner.pipeline
    p.inbox.add(p.task("alpha"), "one more thing about my invoice, honestly", output={"kind": "billing", "order": None})
    runner.task_data("alpha")
    assert p.current(INPUTS, "alpha").metadata["kept_written"] > 0
    with pytest.raises(UserError, match="the adapter was trained on another version of the data; run 'pp train alpha"):
        p.eval_report("alpha", "encoder-frozen")


def test_an_unknown_variant_is_refused_with_the_nearest_name(runner: Runner) -> None:
    with pytest.raises(UserError, match="unknown variant 'encoder-frosen'; did you mean 'encoder-frozen'"):
        runner.train("alpha", "encoder-frosen")
