"""The pipelines of prompts on a served model with known truth: what helps is released, what does not is not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import command_line
from suite_models import examples, task
from test_encoder_tokens import tiny_encoder
from thinking_world import Thinker, served
from writing_world import RULES, World

from pp_assets.prompts.search.export import read_prompt


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("installation")
    rubric = {"fields": {name: {"description": rule} for name, rule in RULES.items()}}
    spec = task(encoder_model_id=str(tiny_encoder(made / "encoder")), rubric=rubric, eval_split={"near_duplicate_threshold": 1.0})
    folder = made / "tasks" / "toy"
    folder.mkdir(parents=True)
    (folder / "task.json").write_text(json.dumps(spec.model_dump(mode="json")))
    rows = [{"input_text": row.input_text, "output_json": row.output} for row in examples(500)]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return made


@pytest.fixture
def study(root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    @contextmanager
    def of(world: World) -> Iterator[Any]:
        pp = command_line(root, capfd)
        with served(world) as url:
            monkeypatch.setenv("PP_PROVIDER_URL", url)
            monkeypatch.setenv("PP_PROVIDER_MODEL", "world")

            def run(name: str, *words: str) -> dict[str, Any]:
                said = pp("prompt", name, "toy", "--target", "world", "--json", *words)
                assert said.code == 0, said.err
                return said.json

            yield run

    return of


def figures(told: dict[str, Any], step: str) -> dict[str, dict[str, Any]]:
    found = next(one for one in told["steps"] if one["name"] == step)
    return {one["name"]: one for one in found["figures"]}


@pytest.mark.parametrize(("lift", "outcome"), [(0.35, "RELEASE"), (0.0, "NOT PROVEN")])
def test_explanations_are_released_where_they_help(study, lift: float, outcome: str) -> None:
    with study(World(base=0.6, lift=lift)) as run:
        told = run("explain", "--calls", "900")
    assert told["outcome"] == outcome
    prompt = read_prompt(Path(told["path"]) / "test" / "prompt.json")
    assert (any(rule in prompt["template"] for rule in RULES.values())) or not lift
    changed = next(one for one in told["steps"] if one["name"] == "what has changed")["tables"][0]["rows"]
    assert changed if lift else True
    assert sum(int(row[3]) for row in changed) < sum(int(row[2]) for row in changed) or not lift


def test_a_writer_explains_too(study) -> None:
    world = World(base=0.6, lift=0.35)
    with study(world) as run:
        told = run("explain", "--calls", "900", "--writer", "world")
    tried = next(one for one in told["steps"] if one["name"] == "improvements")["tables"][0]["rows"]
    assert {row[1] for row in tried} >= {"explained", "reflection"} and world.asked["writer"] > 0


@pytest.mark.parametrize(("thought", "worth"), [(0.12, True), (0.0, False)])
def test_what_steps_are_worth_is_told_beside_the_twin(study, thought: float, worth: bool) -> None:
    world = Thinker(base=0.8, thought=thought, loose=0.2)
    with study(world) as run:
        told = run("reasoning", "--calls", "700", "--count", "2", "--writer", "world")
    found = figures(told, "performance benchmarking")
    effect = found["with reasoning against without: quality"]
    assert (effect["low"] > 0) == worth and effect["n"] >= 50
    assert found["with reasoning against without: tokens saved"]["high"] < 0
    passing = found["reasoning consistency: answers whose steps pass the checks"]
    assert passing["low"] < 0.8 < passing["high"]
    extraction, validation = (
        next(one for one in told["steps"] if one["name"] == name) for name in ("reasoning step extraction", "logic validation")
    )
    assert "of the model's own" in extraction["said"] and "written to known answers" in extraction["said"]
    assert validation["said"] and (told["outcome"] == "RELEASE") == worth


def test_examples_are_released_where_they_help(study) -> None:
    with study(World(base=0.6, demo=0.18)) as run:
        told = run("fewshot", "--calls", "1200", "--count", "1", "--count", "8", "--orders", "3")
    assert told["outcome"] == "RELEASE" and len(read_prompt(Path(told["path"]) / "test" / "prompt.json")["shots"]) == 8
    spread = figures(told, "order")["spread over orders (standard deviation beyond chance)"]
    assert spread["value"] == 0.0 and spread["low"] == 0.0, "this world does not look at the order"


def test_the_impact_of_a_rule_is_told(study, root: Path) -> None:
    file = root / "tasks" / "toy" / "task.json"
    before = file.read_text()
    raw = json.loads(before)
    file.write_text(json.dumps(raw | {"instruction_template": f"Read this. {RULES['kind']}\nInput: {{{{ input_text }}}}"}))
    try:
        with study(World(base=0.5, lift=0.45)) as run:
            told = run("impact", "--calls", "400")
    finally:
        file.write_text(before)
    [table] = told["steps"][1]["tables"]
    verdicts = {row[1]: row[-1] for row in table["rows"]}
    assert verdicts == {"Read this.": "not shown", RULES["kind"]: "buys"}
