"""Every pipeline of the catalogue on a small task, as Dagster runs: each ends in a report, and what it made of assets is seen."""

import json
from pathlib import Path

import dagster as dg
import pytest
from small_task import write_task

from pp_assets.execute import Runner
from pp_assets.pipelines.catalogue import ENTRIES, entry
from pp_assets.pipelines.runs import perform
from pp_resources.artifacts import changed_files
from pp_resources.errors import UserError
from pp_resources.settings import Settings

MORE = "params: {encoder-frozen: {epochs: 4}, encoder-lora: {epochs: 1, r: 4, alpha: 8}, "
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


def refused(runner: Runner, pipeline: str, options: dict) -> str:
    with pytest.raises(UserError) as error:
        runner.catalogued(pipeline, "alpha", options)
    return str(error.value)


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

        records = runner.instance.fetch_materializations(dg.AssetKey("adapter"), limit=5).records
        assert {str(one.partition_key) for one in records} >= {"alpha|encoder-frozen"}, "a training of a pipeline is seen as one"
        runs = runner.instance.get_runs()
        assert {run.tags.get("pp/pipeline") for run in runs} == {one.id for one in ENTRIES} and all(run.is_success for run in runs)
        one = entry("fine-tuning-evaluation")
        assert one.estimate(p, "alpha", one.read({})).calls == 0, "all of it was asked"
        again, found = perform(p, one, "alpha", one.read({}))
        assert again.metadata["calls"] == 0 and all(made.reused for step in found.steps for made in step.made)
        assert len(p.store.versions("pipelines", f"alpha/{one.id}")) == 2, "each run has a report of its own"
