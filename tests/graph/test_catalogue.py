"""Every pipeline of the catalogue on a small task, as Dagster runs: each ends in a report, and what it made of assets is seen."""

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from small_task import write_task

from pp_assets.champion import promote
from pp_assets.execute import Runner
from pp_assets.pipeline import EVALUATIONS, PACKAGES, Pipeline
from pp_assets.pipelines.assets import job_of
from pp_assets.pipelines.catalogue import ENTRIES, entry
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.report import Figure, Report
from pp_assets.pipelines.runs import last_run, perform
from pp_resources.artifacts import changed_files
from pp_resources.errors import UserError
from pp_resources.settings import Settings

MORE = "params: {encoder-frozen: {epochs: 4}, encoder-lora: {epochs: 1, r: 4, alpha: 8, lr: 1.0e-6, head_lr: 1.0e-6}, "
MORE += "ensemble-vote: {members: [encoder-frozen, encoder-lora]}}"
# The order in which a task would be worked on; what is not named here comes after.
FIRST = ("fine-tuning-dataset-prep", "fine-tuning-orchestration")
OPTIONS = {
    "fine-tuning-orchestration": {"variant": "encoder-frozen", "trials": 2},
    "model-evaluation-benchmark": {"items": 4, "batch": 4, "repeats": 1, "memory": False},
    "model-comparison-ensemble": {"strategies": ["vote"]},
    "model-comparison-ab": {"a": "encoder-frozen", "b": "majority"},
    "model-comparison-cross-provider": {"models": ["encoder-frozen", "encoder-lora", "base-zero-shot-constrained"], "timed": 4},
}


class Loud(Options):
    loss: float = 0.0


def refused(runner: Runner, pipeline: str, options: dict) -> str:
    with pytest.raises(UserError) as error:
        runner.catalogued(pipeline, "alpha", options)
    return str(error.value)


def test_a_run_that_finds_something_bad_has_failed_and_has_its_report(place) -> None:
    place.add("alpha")

    def run(_p: Pipeline, name: str, options: Loud) -> Report:
        report = Report()
        with report.step("look") as step:
            step.said, step.figures = f"{name} is worse", [Figure("loss", options.loss, n=3)]
            step.files["told.txt"] = b"worse"
        return report.end("stop", "FAIL", ["It is worse."])

    one = Entry("model-evaluation-loud", "Look", "low", ("nothing",), ("look",), Loud, lambda *_: Estimate(), run, alarms=True)
    for kind, failed in ((one, True), (replace(one, id="model-evaluation-quiet", alarms=False), False)):
        config = {"ops": {f"run_{kind.job}": {"config": {"task": "alpha", "options": {"loss": 0.25}}}}}
        resources = {"installation": place.defs.resources["installation"]}
        done = job_of(kind).execute_in_process(config, place.instance, resources=resources, raise_on_error=False)
        assert done.success is not failed
        made = last_run(place.pipeline, "alpha", kind.id)
        told = json.loads(made.file("report.json").read_text())
        assert (told["outcome"], told["options"], told["steps"][0]["figures"][0]["value"]) == ("FAIL", {"loss": 0.25}, 0.25)
        assert made.metadata["kind"] == "stop" and made.file("look/told.txt").read_bytes() == b"worse"


@pytest.mark.slow
def test_every_pipeline_runs_to_a_report(tmp_path: Path) -> None:
    write_task(tmp_path / "tasks", "alpha", rows=120, more=MORE)
    with Runner(Settings(tmp_path / "home", tmp_path / "tasks", 1), tracking=False) as runner:
        p = runner.pipeline
        assert "did you mean 'trials'?" in refused(runner, "fine-tuning-orchestration", {"trails": 2})
        assert "no variant is trained" in refused(runner, "fine-tuning-evaluation", {})
        for pipeline in sorted((one.id for one in ENTRIES), key=lambda name: name not in FIRST):
            made = runner.catalogued(pipeline, "alpha", OPTIONS.get(pipeline, {}))
            told = json.loads(made.file("report.json").read_text())
            assert changed_files(made.path) == [] and told["outcome"] and told["reasons"], pipeline
            assert [step["name"] for step in told["steps"]] == list(entry(pipeline).steps), pipeline
            assert all(step["said"] for step in told["steps"]), pipeline
            page, short = made.file("report.html").read_text(), made.file("report.md").read_text()
            assert told["outcome"] in page and f"# alpha: {pipeline}" in short
            figures = [one for step in told["steps"] for one in step["figures"]]
            assert figures and all(one["value"] is not None or one["reason"] for one in figures), f"{pipeline}: what has no value says why"
            if pipeline == "fine-tuning-orchestration":
                p.adapter("alpha", "encoder-lora")

        # One that has learnt nothing: the run has failed, which is told wherever failures are, and its report says so.
        stands = [p.current(kind, "alpha/encoder-frozen") for kind in (PACKAGES, EVALUATIONS)]
        promote(p, "alpha", "encoder-frozen", *stands)
        p.eval_report("alpha", "encoder-lora")
        p.package("alpha", "encoder-lora")
        bad = runner.catalogued("model-evaluation-regression", "alpha", {"variant": "encoder-lora"})
        assert (bad.metadata["kind"], bad.metadata["outcome"]) == ("stop", "FAIL")
        failed = [run for run in runner.instance.get_runs() if not run.is_success]
        assert [run.job_name for run in failed] == ["model_evaluation_regression", "fine_tuning_evaluation", "fine_tuning_orchestration"]

        records = runner.instance.fetch_materializations(dg.AssetKey("adapter"), limit=5).records
        assert {str(one.partition_key) for one in records} >= {"alpha|encoder-frozen"}, "a training of a pipeline is seen as one"
        runs = runner.instance.get_runs()
        assert {run.tags.get("pp/pipeline") for run in runs} == {one.id for one in ENTRIES}
        one = entry("fine-tuning-evaluation")
        assert one.estimate(p, "alpha", one.read({})).calls == 0, "all of it was asked"
        again, found = perform(p, one, "alpha", one.read({}))
        assert again.metadata["calls"] == 0 and all(made.reused for step in found.steps for made in step.made)
        assert len(p.store.versions("pipelines", f"alpha/{one.id}")) == 2, "each run has a report of its own"
