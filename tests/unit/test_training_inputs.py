"""What makes a training stale: what the model reads, and nothing else."""

from dataclasses import replace

import pytest

from pp_assets.pipeline import Training
from pp_assets.task.spec import Task, load_task
from pp_assets.training.overrides import recipe_of
from pp_assets.trainings import training_inputs
from pp_resources.settings import PROJECT_ROOT


def changed(task: Task, variant: str, **words: object) -> set[str]:
    """The inputs of a variant's training that are others where the task says something else."""
    other, rows = replace(task, spec=task.spec.model_copy(update=words)), Training([], [], [])
    before, after = (training_inputs(one, recipe_of(one, variant), rows) for one in (task, other))
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("words", "encoder", "causal"),
    [
        ({"instruction_template": "Say it: {{ input_text }}"}, set(), {"spec"}),
        ({"system_prompt": "You are brief."}, set(), {"spec"}),
        ({"seed": 7}, {"spec"}, {"spec"}),
        ({"description": "Another one"}, set(), set()),
    ],
)
def test_a_change_of_the_prompt_concerns_models_that_read_it(words: dict[str, object], encoder: set[str], causal: set[str]) -> None:
    task = load_task("support-triage", PROJECT_ROOT / "tasks")
    assert changed(task, "encoder-lora", **words) == encoder
    assert changed(task, "lora-r8", **words) == causal
