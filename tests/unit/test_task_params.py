"""Hyper-parameters in a task file: strict, read by the recipe, written back without touching the rest of the file."""

import json
from pathlib import Path

import pytest
import yaml
from small_task import write_task

from pp_assets.pipeline import Pipeline, scoring_spec, training_spec
from pp_assets.task.spec import load_task
from pp_assets.task.spec_edit import params_line, write_params
from pp_assets.training.overrides import recipe_of
from pp_assets.training.recipes import RECIPES
from pp_resources.errors import UserError
from pp_resources.settings import Settings

FOUND = {"lr": 1.5e-05, "r": 8, "alpha": 16}


def task(tmp_path: Path, more: str = ""):
    write_task(tmp_path, "alpha", more=more)
    return load_task("alpha", tmp_path)


LR = RECIPES["encoder-lora"].params.lr


def test_a_task_may_change_parameters_of_a_recipe(tmp_path):
    found = task(tmp_path, "params: {encoder-lora: {lr: 0.001, epochs: 3, weight_decay: 0}}")
    changed = recipe_of(found, "encoder-lora").params
    assert (changed.lr, changed.epochs, changed.weight_decay, changed.r) == (0.001, 3, 0, RECIPES["encoder-lora"].params.r)
    assert recipe_of(found, "lora-r8") is not None and recipe_of(found, "lora-r8") == RECIPES["lora-r8"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("{encoder-lora: {lrr: 0.1}}", "params.encoder-lora: unknown parameter 'lrr' of encoder-lora; did you mean 'lr'?"),
        ("{encoder-lore: {lr: 0.1}}", "params: unknown variant 'encoder-lore'; did you mean 'encoder-lora'?"),
        ("{encoder-lora: {lr: 1e-3}}", f"params.encoder-lora: lr is '1e-3': Input should be a valid number; the recipe has {LR}"),
        ("{encoder-lora: {r: 2.5}}", "params.encoder-lora: r is 2.5: Input should be a valid integer"),
        ("{encoder-lora: {epochs: true}}", "params.encoder-lora: epochs is True"),
        ("{encoder-lora: {epochs: 0}}", "params.encoder-lora: epochs cannot be 0; the recipe has 12"),
        ("{encoder-lora: {lr: -0.1}}", "params.encoder-lora: lr cannot be -0.1"),
        ("{lora-r8: {targets: 3}}", "params.lora-r8: targets is 3"),
    ],
)
def test_a_parameter_that_no_recipe_takes_is_one_error_with_the_nearest_match(tmp_path, params, said):
    task(tmp_path, f"params: {params}")
    with pytest.raises(UserError) as caught:
        Pipeline(Settings(tmp_path / "home", tmp_path, 1)).task("alpha")
    assert str(caught.value).startswith(f"{tmp_path / 'alpha' / 'task.yaml'}: {said}")


def test_parameters_of_one_variant_and_more_baselines_make_nothing_else_stale(tmp_path):
    plain = task(tmp_path)
    tuned = task(tmp_path, "params: {encoder-lora: {lr: 0.001}}\nextra_baselines: [contrastive-logreg]")
    assert (training_spec(plain), scoring_spec(plain)) == (training_spec(tuned), scoring_spec(tuned)) and plain.digest != tuned.digest


@pytest.mark.parametrize(
    "before",
    [
        "",
        "params: {}",
        "params:  # found by hand\n  lora-r8: {lr: 0.004}  # good\n",
        "params:\n  lora-r8:\n    lr: 0.004\n    epochs: 4 # enough\n\n# the end",
        "params: {lora-r8: {lr: 0.004}, encoder-lora: {lr: 0.5}}  # one line",
        "params:\n  encoder-lora:\n    lr: 0.5  # old\n  lora-r8: {lr: 0.004}\n# after\ngates: []",
    ],
)
def test_writing_parameters_keeps_comments_and_everything_else(tmp_path, before):
    found = task(tmp_path, before)
    text = found.file.read_text()
    write_params(found, "encoder-lora", FOUND)
    after = load_task("alpha", tmp_path)
    assert after.spec.params == {**found.spec.params, "encoder-lora": FOUND}
    assert after.spec.model_copy(update={"params": found.spec.params}) == found.spec
    now = after.file.read_text()
    assert [line for line in text.splitlines() if "#" in line and "old" not in line and line.split("#")[1] not in now] == []
    write_params(after, "encoder-lora", {"r": 4})
    assert load_task("alpha", tmp_path).spec.params["encoder-lora"] == {"r": 4}


def test_writing_parameters_into_a_json_task(tmp_path):
    found = task(tmp_path)
    (tmp_path / "alpha" / "task.json").write_text(json.dumps(yaml.safe_load(found.file.read_text())))
    found.file.unlink()
    write_params(load_task("alpha", tmp_path), "encoder-lora", FOUND)
    assert load_task("alpha", tmp_path).spec.params == {"encoder-lora": FOUND}


def test_a_file_that_cannot_be_edited_stays_as_it_was(tmp_path):
    found = task(tmp_path, "params: &mine {lora-r8: {lr: 0.004}}")
    text = found.file.read_text().replace("name: alpha", "name: alpha\nx: 1", 1)
    found.file.write_text(text)  # no task any more: somebody is editing it
    with pytest.raises(UserError, match="cannot be edited"):
        write_params(found, "encoder-lora", FOUND)
    assert found.file.read_text() == text


def test_small_numbers_are_written_so_that_they_are_read_as_numbers():
    assert params_line("v", {"lr": 1e-05, "targets": "all-linear"}) == "v: {lr: 1.0e-05, targets: all-linear}"
