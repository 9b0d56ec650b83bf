"""The pipelines of prompts on a served model with known truth: what helps is released, what does not is not."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from command_line import use_installation
from suite_models import task, truth
from thinking_world import Thinker, served
from writing_world import RULES, World

from pp_assets.pipeline import Pipeline, read_json
from pp_assets.pipelines.entry import Entry
from pp_assets.pipelines.prompting import ENTRIES, STUDIES
from pp_assets.pipelines.runs import perform
from pp_assets.prompts.search.export import read_prompt

_, COT, FEWSHOT = ENTRIES
_, EXPLAIN = STUDIES


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task whose answers stand in the order number among words that mean nothing, its data made ready."""
    made = tmp_path_factory.mktemp("installation")
    rubric = {"fields": {name: {"description": rule} for name, rule in RULES.items()}}
    spec = task(rubric=rubric, generation={"enabled": False}, eval_split={"near_duplicate_threshold": 1.0})
    folder = made / "tasks" / "toy"
    folder.mkdir(parents=True)
    (folder / "task.json").write_text(json.dumps(spec.model_dump(mode="json")))
    rng, letters = random.Random(0), "bdfgklmnprstvz"
    words = [
        f"{rng.choice(letters)}{rng.choice('aeiou')}{rng.choice(letters)}{rng.choice('aeiou')}{rng.choice(letters)}" for _ in range(400)
    ]
    texts = [
        f"{' '.join(rng.sample(words, 8))} order {rng.choice('ABC')}-{rng.randrange(1000, 9999)} {' '.join(rng.sample(words, 6))}"
        for _ in range(460)
    ]
    rows = [{"input_text": text, "output_json": truth(text)} for text in texts]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    use_installation(made)
    p = Pipeline.from_env()
    for stage in (p.seeds, p.contract, p.generated_data, p.clusters, p.evaluated_inputs):
        stage("toy")
    return made


@pytest.fixture
def study(root: Path, monkeypatch: pytest.MonkeyPatch):
    use_installation(root)

    def run(world: World, entry: Entry, **options: Any) -> dict[str, Any]:
        with served(world) as url:
            monkeypatch.setenv("PP_PROVIDER_URL", url)
            monkeypatch.setenv("PP_PROVIDER_MODEL", "world")
            made, _ = perform(Pipeline.from_env(), entry, "toy", entry.read({"target": "world", **options}))
        return {**read_json(made.file("report.json")), "path": str(made.path)}

    return run


def figures(told: dict[str, Any], step: str) -> dict[str, dict[str, Any]]:
    found = next(one for one in told["steps"] if one["name"] == step)
    return {one["name"]: one for one in found["figures"]}


@pytest.mark.parametrize(("lift", "outcome"), [(0.35, "RELEASE"), (0.0, "NOT PROVEN")])
def test_explanations_are_released_where_they_help(study, lift: float, outcome: str) -> None:
    told = study(World(base=0.6, lift=lift), EXPLAIN, calls=900)
    assert told["outcome"] == outcome
    prompt = read_prompt(Path(told["path"]) / "test" / "prompt.json")
    changed = next(one for one in told["steps"] if one["name"] == "what has changed")["tables"][0]["rows"]
    before, after = (sum(int(row[place]) for row in changed) for place in (2, 3))
    improvements, test = (next(one for one in told["steps"] if one["name"] == name) for name in ("improvements", "test"))
    assert improvements["seconds"] > 0 and (test["seconds"] > 0) == bool(test["calls"]), "a test tells its own time"
    if lift:
        assert after < before and all(rule in prompt["template"] for rule in RULES.values())
        (shown,) = test["tables"]
        read = " ".join(line for _, line in shown["rows"])
        assert all(rule in read for rule in RULES.values()), "the words are read where the verdict is"
    else:
        assert after == before and not told["spent"]["test_openings"]


@pytest.mark.slow
def test_a_writer_explains_too(study) -> None:
    world = World(base=0.6, lift=0.35)
    told = study(world, EXPLAIN, calls=900, writer="world")
    tried = next(one for one in told["steps"] if one["name"] == "improvements")["tables"][0]["rows"]
    assert {row[1] for row in tried} >= {"explained", "reflection"} and world.asked["writer"] > 0


@pytest.mark.parametrize(
    ("thought", "demo", "outcome"),
    [(0.12, 0.0, "RELEASE"), (0.0, 0.0, "NOT PROVEN"), pytest.param(0.0, 0.08, "RELEASE", marks=pytest.mark.slow)],
)
def test_what_steps_are_worth_is_told_beside_the_twin(study, thought: float, demo: float, outcome: str) -> None:
    world, worth = Thinker(base=0.8, thought=thought, demo=demo, loose=0.2), bool(thought)
    told = study(world, COT, calls=700, shots=[2, 900], writer="world")
    made = next(one for one in told["steps"] if one["name"] == "example generation")
    assert "none with 900 examples" in made["said"]
    found = figures(told, "performance benchmarking")
    effect = found["with reasoning against without: quality"]
    assert (effect["low"] > 0) == worth and effect["n"] >= 50
    assert found["with reasoning against without: tokens saved"]["value"] < -40
    passing = found["reasoning consistency: answers whose steps pass the checks"]
    assert 0.6 < passing["value"] < 0.9, "one of five is loose"
    extraction, validation = (
        next(one for one in told["steps"] if one["name"] == name) for name in ("reasoning step extraction", "logic validation")
    )
    assert "of the model's own" in extraction["said"] and "written to known answers" in extraction["said"]
    assert validation["said"] and told["outcome"] == outcome, "examples alone may be what helps"
    assert ("not shown to help" in told["reasons"][-1]) != worth
    assert ("due to the examples" in told["reasons"][-1]) == (outcome == "RELEASE" and not worth)


def test_examples_are_released_where_they_help(study) -> None:
    told = study(World(base=0.6, demo=0.18), FEWSHOT, calls=1200, shots=[1, 8], orders=3)
    assert told["outcome"] == "RELEASE" and len(read_prompt(Path(told["path"]) / "test" / "prompt.json")["shots"]) == 8
    spread = figures(told, "order")["spread over orders (standard deviation beyond chance)"]
    assert spread["value"] < 1e-9 and spread["high"] < 1e-9, "this world does not look at the order"
