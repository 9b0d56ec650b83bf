"""The proof: seeds are pooled by item, the validation rows decide, and what does not help is left out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_task import write_task

from pp_assets.data.generation.proof import MORE_STEPS, WITH, WITHOUT, compared, decide, line_of
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.pipeline import Pipeline
from pp_assets.task.examples import count_test_openings
from pp_assets.task.spec import parse_spec
from pp_resources.settings import Settings

SPEC = parse_spec(
    {
        "name": "t",
        "instruction_template": "{{ input_text }}",
        "io_schema": {
            "output": {"type": "object", "required": ["a"], "properties": {"a": {"enum": ["x", "y"]}}, "additionalProperties": False}
        },
        "generation": {"enabled": "auto"},
    },
    "test",
)


def said(right: np.ndarray) -> dict[int, list[PredictionRow]]:
    """Answers by seed; `right` is (seeds, items)."""
    answer = lambda good: json.dumps({"a": "x" if good else "y"})  # noqa: E731
    return {
        seed: [PredictionRow(f"{i:03}", f"{i:03}", "text", answer(True), answer(good)) for i, good in enumerate(row)]
        for seed, row in enumerate(right)
    }


def sides(gain: float, items: int = 120, seeds: int = 3, world: int = 0) -> dict[str, dict[int, list[PredictionRow]]]:
    draw = np.random.default_rng(world).random((3, seeds, items))
    return {WITHOUT: said(draw[0] < 0.6), WITH: said(draw[1] < 0.6 + gain), MORE_STEPS: said(draw[2] < 0.6 + gain)}


def test_each_item_counts_once_with_the_mean_over_seeds() -> None:
    answers = sides(0.2)
    found = compared(SPEC, answers)
    means = {arm: np.mean([[row.output == row.expected for row in rows] for rows in of.values()], axis=0) for arm, of in answers.items()}
    assert found[WITHOUT].n == 120 and found[WITHOUT].effect == pytest.approx((means[WITH] - means[WITHOUT]).mean())
    assert found[MORE_STEPS].effect == pytest.approx((means[WITH] - means[MORE_STEPS]).mean())
    one = compared(SPEC, {arm: {0: of[0]} for arm, of in answers.items()})[WITHOUT]
    width = lambda c: c.high - c.low  # noqa: E731
    assert width(found[WITHOUT]) < width(one), "seeds sharpen the comparison"
    assert f"{found[WITHOUT].effect:+.4f}" in line_of(found[WITHOUT], WITHOUT)


@pytest.mark.parametrize(("gain", "use"), [(0.25, True), (-0.2, False)])
def test_the_validation_rows_decide(gain: float, use: bool) -> None:
    choice = decide(SPEC, {arm: of for arm, of in sides(gain).items() if arm != MORE_STEPS})
    assert choice["use"] is use and "validation rows" in choice["reason"]
    assert ("left out" in choice["reason"]) is not use


def test_without_an_effect_rows_are_used_about_as_often_as_the_confidence_lets_them() -> None:
    used = [decide(SPEC, {arm: of for arm, of in sides(0.0, world=i).items() if arm != MORE_STEPS})["use"] for i in range(40)]
    assert 1 <= sum(used) <= 15, "one in five, give or take what 40 draws vary"


def test_a_higher_confidence_is_harder_to_reach() -> None:
    small = sides(0.05)
    lows = []
    for confidence in (0.6, 0.8, 0.99):
        spec = SPEC.model_copy(update={"generation": SPEC.generation.model_copy(update={"confidence": confidence})})
        lows.append(decide(spec, small)["comparison"]["low"])
    assert lows == sorted(lows, reverse=True) and len(set(lows)) == 3


@pytest.mark.slow
def test_auto_trains_both_sides_and_training_goes_by_the_choice_and_a_proof_adds_the_test_split(tmp_path: Path) -> None:
    write_task(tmp_path / "tasks", "alpha")
    file = tmp_path / "tasks" / "alpha" / "task.yaml"
    spec = yaml.safe_load(file.read_text())
    spec["generation"] = {"enabled": "auto", "seeds": 1, "confidence": 0.8}
    spec["params"] = {"encoder-lora": {"epochs": 2}}
    file.write_text(yaml.safe_dump(spec))
    place = Pipeline(Settings(tmp_path / "home", tmp_path / "tasks", 1))
    for stage in (place.seeds, place.contract, place.generated_data, place.clusters, place.evaluated_inputs):
        stage("alpha")
    choice = place.generation_choice("alpha")
    assert choice.metadata["variant"] == "encoder-lora" and count_test_openings(place.ledger, "alpha") == 0
    assert bool(place.training_rows("alpha").generated) is choice.metadata["use"]
    assert "Does it help?" in choice.file("data_card.md").read_text()
    proof = place.generation_choice("alpha", proof=True)
    told = json.loads(proof.file("choice.json").read_text())
    assert told["use"] is choice.metadata["use"] and {WITHOUT, MORE_STEPS} == set(told["test"])
    assert len(told["lines"]) == 3 and count_test_openings(place.ledger, "alpha") == 1
    assert place.generation_choice("alpha").reused, "a proof has made the choice too"
    wanted = place.training_rows("alpha")
    assert wanted == (place.kept_rows("alpha") if told["use"] else replace(place.kept_rows("alpha"), generated=[]))
