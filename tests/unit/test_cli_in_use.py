"""`pp drift` and `pp feedback clusters` on the inbox: jobs that the UI shows, with the answer that the plain functions give."""

import json
from pathlib import Path

import pytest
from command_line import command_line
from small_task import SAID, write_task

from pp_assets import names
from pp_assets.drifts import embed, known_inputs, windows
from pp_assets.feedback.inputs import of_inbox
from pp_assets.pipeline import COMPLAINTS, DRIFTS, Pipeline
from pp_resources.instance import open_instance
from pp_resources.settings import Settings

ELSEWHERE = ("play some jazz", "what is the weather in Lima", "wake me at seven", "book a table for two", "how tall is that mountain")


@pytest.fixture(scope="module")
def p(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """An installation whose task `alpha` has its topics and has met 100 inputs like the known ones, then 30 of which most are not."""
    root = tmp_path_factory.mktemp("installation")
    write_task(root / "tasks", "alpha")
    p = Pipeline(Settings(root / "pp", root / "tasks", 1))
    for stage in (p.seeds, p.contract, p.generated_data, p.clusters):
        stage("alpha")
    known = [text for texts in SAID.values() for text in texts]
    for i in range(130):
        text = known[i % len(known)] if i < 100 or i % 3 == 0 else ELSEWHERE[i % len(ELSEWHERE)]
        p.inbox.add(p.task("alpha"), f"{text} {i}", rating=False, comment=f"the wrong team, number {i}", source="app")
    return p


@pytest.fixture
def pp(p: Pipeline, capfd: pytest.CaptureFixture[str]):
    return command_line(p.settings.home.parent, capfd)


def runs(p: Pipeline) -> list[tuple[str, str, str]]:
    """Job, status and task of every run that the UI lists, the last first."""
    instance = open_instance(p.settings)
    try:
        return [(run.job_name, run.status.value, run.tags["dagster/partition"]) for run in instance.get_runs()]
    finally:
        instance.dispose()


def test_windows_of_the_inbox_are_a_run_and_the_rest_behind_them_is_tested_too(pp, p: Pipeline) -> None:
    said = pp("drift", "alpha", "--json")
    assert said.code == 1, said.err
    rows = of_inbox(p.inbox.entries("alpha"))
    like, texts = known_inputs(p, "alpha")
    expected = windows(like, texts, rows, embed(p, "alpha", [row.input_text for row in rows]))
    assert [one["n"] for one in expected["windows"]] == [100, 30] and expected["windows"][1]["drift"]
    assert said.json == {"task": "alpha", **expected, "plot": None}
    assert runs(p) == [(names.JOB_MONITOR, "SUCCESS", "alpha")]
    assert len(json.loads(p.current(DRIFTS, "alpha").file("drift.json").read_text())["windows"]) == 1
    again = pp("drift", "alpha")
    assert again.code == 1 and "130 inputs in windows of 100" in again.out and "drift  " in again.err and "unchanged" in again.err
    assert len(runs(p)) == 2 and p.store.current(COMPLAINTS, "alpha") is None, "the other asset of the job was not asked for"


def test_what_is_only_looked_at_is_no_run(pp, p: Pipeline, tmp_path: Path) -> None:
    before = runs(p)
    file = tmp_path / "calls.txt"
    file.write_text("\n".join(f"{text} please {i}" for i in range(8) for text in ELSEWHERE))
    for arguments in ([str(file)], ["--window", "40"], ["--alpha", "0.01"]):
        assert pp("drift", "alpha", *arguments).code == 1, arguments
    assert len(pp("drift", "alpha", "--each", "--json").json) == 130
    assert runs(p) == before


def test_topics_of_feedback_are_a_run(pp, p: Pipeline, tmp_path: Path) -> None:
    before = len(runs(p))
    said = pp("feedback", "clusters", "alpha", "--json")
    assert said.code == 0, said.err
    made = p.current(COMPLAINTS, "alpha")
    assert said.json == {"task": "alpha", "entries": 130, "topics": json.loads(made.file("topics.json").read_text())}
    topic, file = said.json["topics"][0]["topic"], tmp_path / "seeds.jsonl"
    assert pp("feedback", "clusters", "alpha", "--topic", topic, "--offer", "seeds", "--to", str(file)).code == 0 and file.stat().st_size
    assert runs(p)[: len(runs(p)) - before] == [(names.JOB_MONITOR, "SUCCESS", "alpha")] * 2


def test_too_few_inputs_are_refused_before_anything_runs(pp, p: Pipeline) -> None:
    write_task(p.settings.tasks, "beta")
    before = runs(p)
    assert pp("drift", "beta").err.endswith("there is no input to test; give a file, send feedback, or take another --range\n")
    p.inbox.add(p.task("beta"), "who painted this", rating=True, source="app")
    said = pp("drift", "beta")
    assert said.code == 2 and "1 inputs are too few to test" in said.err and runs(p) == before
