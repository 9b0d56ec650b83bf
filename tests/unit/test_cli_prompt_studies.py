"""`pp prompt impact`, `fewshot`, `reasoning` and `explain` on a small task with the embedded base."""

import os
from pathlib import Path
from typing import Any

import pytest
from command_line import Said, command_line, use_installation
from small_task import write_task
from test_encoder_tokens import tiny_encoder

from pp_assets.pipeline import DATASETS, INPUTS, Pipeline
from pp_assets.prompts.search.export import read_prompt
from pp_assets.serving.local import served_wording
from pp_assets.task.examples import count_test_openings
from pp_assets.task.spec import load_task
from pp_resources.settings import Settings

STUDIES = {
    "impact": ["--calls", "120", "--shots", "1"],
    "fewshot": ["--calls", "120", "--shots", "1", "--shots", "2", "--orders", "2"],
    "reasoning": ["--calls", "60", "--shots", "1", "--rationales", "2"],
    "explain": ["--calls", "120", "--rounds", "1"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("installation")
    os.environ["PP_TRACKING"] = "off"  # until the module ends; test_cli_prompt.py tracks
    write_task(made / "tasks", "alpha", rows=64, more=f"system_prompt: Say it as JSON.\nencoder_model_id: {tiny_encoder(made / 'encoder')}")
    return made


@pytest.fixture
def pp(root: Path, capfd: pytest.CaptureFixture[str]):
    return command_line(root, capfd)


def study(pp, name: str, *more: str) -> Said:
    said = pp("prompt", name, "alpha", *STUDIES[name], *more)
    assert said.code == 0, said.err
    return said


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    """What each study told that was made."""
    return {}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_in_a_report_and_asks_nothing_twice(pp, root: Path, found: dict[str, dict[str, Any]], name: str) -> None:
    use_installation(root)
    p = Pipeline.from_env()
    before = count_test_openings(p.ledger, "alpha")
    told = found[name] = study(pp, name, "--json").json
    out = Path(told["path"])
    assert {"report.json", "report.md", "report.html"} <= {file.name for file in out.iterdir()}
    searched = [step for step in told["steps"] if step["name"] not in ("test", "performance benchmarking")]
    assert 0 < sum(step["calls"] for step in searched) <= int(STUDIES[name][1])
    tested = [step for step in told["steps"] if step["name"] == "test" and step["details"]["ruling"]["tested"]]
    assert count_test_openings(p.ledger, "alpha") - before == told["spent"]["test_openings"] == len(tested) <= 1
    again = study(pp, name, "--json").json
    assert again["outcome"] == told["outcome"] and [s["figures"] for s in again["steps"]] == [s["figures"] for s in told["steps"]]
    assert told["task"] == "alpha"


def test_the_impact_of_the_parts_is_drawn_and_the_test_split_stays_shut(pp, found: dict[str, dict[str, Any]]) -> None:
    assert "report   " in study(pp, "impact").out
    told = found.get("impact") or study(pp, "impact", "--json").json
    out = Path(told["path"])
    assert (out / "effects" / "impact.png").read_bytes().startswith(b"\x89PNG") and told["spent"]["test_openings"] == 0
    [table] = told["steps"][1]["tables"]
    assert {row[0] for row in table["rows"]} >= {"system prompt", "example 1"} and len(table["head"]) == 7
    assert all(int(row[2]) > 0 for row in table["rows"]), "every part takes tokens"


def test_a_study_leaves_the_prompt_that_it_chose(pp, found: dict[str, dict[str, Any]]) -> None:
    for name in ("fewshot", "reasoning", "explain"):
        told = found.get(name) or study(pp, name, "--json").json
        prompt = read_prompt(Path(told["path"]) / "test" / "prompt.json")
        assert prompt["system"] == "Say it as JSON." and prompt["asked"] == "base"


def test_the_prompt_of_a_study_is_applied_as_it_was_scored(pp, found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    file = Path((found.get("reasoning") or study(pp, "reasoning", "--json").json)["path"]) / "test" / "prompt.json"
    words, prompt = ("prompt", "apply", "alpha", "--file", str(file)), read_prompt(file)
    if prompt["verdict"] != "RELEASE":
        assert f"the test did not release it ({prompt['verdict']})" in pp(*words).err
    task = load_task("alpha", Settings.from_env().tasks)
    before = task.file.read_text()
    try:
        assert pp(*words, "--anyway").code == 0
        spec = load_task("alpha", Settings.from_env().tasks).spec
        assert served_wording(spec, spec.serving.variants["searched"]).digest(spec) == prompt["digest"]
        other = tmp_path / "changed.json"
        other.write_text(file.read_text().replace("Say it as JSON.", "Say it."))
        changed = pp("prompt", "apply", "alpha", "--anyway", "--file", str(other))
        assert changed.code == 2 and "the file was changed since" in changed.err
    finally:
        task.file.write_text(before)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["impact", "alpha", "--calls", "20"], "20 calls are too few"),
        (["impact", "alpha", "--found", "--target", "none-such"], "none-such"),
        (["reasoning", "alpha", "--writer", "none-such"], "no provider 'none-such'"),
        (["fewshot", "alpha", "--shots", "900"], "shots: 900 examples leave no room for an input, or are not there"),
    ],
)
def test_what_cannot_be_done_is_said(pp, words: list[str], what: str) -> None:
    said = pp("prompt", *words)
    assert said.code == 2 and what in said.err


@pytest.mark.parametrize("shots", [0, 1, 3])
def test_calls_that_are_too_few_are_told_before_any_data_is_made(pp, root: Path, shots: int) -> None:
    write_task(root / "tasks", "beta", rows=64, more=f"system_prompt: Say it as JSON.\nencoder_model_id: {root / 'encoder'}")
    said = pp("prompt", "impact", "beta", "--shots", str(shots), "--calls", "19")
    least = int(said.err.split("allow ")[1].split()[0])
    assert said.code == 2 and f"19 calls are too few for {least // 10 - 1} parts" in said.err
    assert not [one for kind in (DATASETS, INPUTS) for one in Pipeline.from_env().store.keys(kind) if one == "beta"]
    before = pp("prompt", "impact", "alpha", "--shots", str(shots), "--calls", str(least - 1))
    assert before.code == 2 and f"allow {least} or more" in before.err
    assert pp("prompt", "impact", "alpha", "--shots", str(shots), "--calls", str(least)).code == 0, "what is told is what is needed"
