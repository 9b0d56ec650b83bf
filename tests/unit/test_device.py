"""PP_DEVICE: what it may say, what becomes of it, and that no result of one kind of device is taken for one of another."""

import os
from pathlib import Path

import pytest
import torch

from pp_assets.experiment.systems import TrainedModel
from pp_assets.packaging.lock import lock_facts, lock_text
from pp_assets.pipeline import Training
from pp_assets.result_facts import hardware
from pp_assets.task.spec import load_task
from pp_assets.training.overrides import recipe_of
from pp_assets.trainings import training_inputs
from pp_resources.device import device_kind, find_device
from pp_resources.errors import UserError
from pp_resources.instance import dagster_environment
from pp_resources.settings import PROJECT_ROOT, Settings


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def settings(monkeypatch, device: str | None) -> Settings:
    monkeypatch.delenv("PP_DEVICE") if device is None else monkeypatch.setenv("PP_DEVICE", device)
    return Settings.from_env()


def test_the_processor_is_used_where_nothing_is_said(monkeypatch):
    assert settings(monkeypatch, None).device == settings(monkeypatch, "").device == "cpu"


@pytest.mark.parametrize("said", ["cpu", "cuda", "cuda:1", "auto"])
def test_a_device_is_kept_as_it_was_said_and_passed_on(monkeypatch, said):
    made = settings(monkeypatch, said)
    assert made.device == said
    assert dagster_environment(made)["PP_DEVICE"] == said


@pytest.mark.parametrize("said", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "mps", "cpu:0", "cuda:0,1"])
def test_anything_else_is_refused(monkeypatch, said):
    with pytest.raises(UserError, match=r"^PP_DEVICE: .* is not a device; give cpu, cuda, "):
        settings(monkeypatch, said)


def test_a_name_becomes_a_device(two_gpus):
    assert [str(find_device(said)) for said in ("cpu", "cuda", "cuda:1", "auto")] == ["cpu", "cuda:0", "cuda:1", "cuda:0"]
    assert [device_kind(said) for said in ("cpu", "cuda:1", "auto")] == ["cpu", "cuda", "cuda"]


def test_auto_is_the_processor_where_there_is_no_other(no_gpu):
    assert str(find_device("auto")) == device_kind("auto") == "cpu"


def test_a_device_that_is_not_there_is_refused_with_what_is(two_gpus):
    with pytest.raises(UserError, match=r"no device 'cuda:2': torch \S+ finds 2 CUDA devices; give cuda:0, cuda:1 or cpu"):
        find_device("cuda:2")


def test_without_any_the_way_to_one_is_told(no_gpu):
    with pytest.raises(UserError, match=r"no device 'cuda': torch \S+ finds 0 CUDA devices; give cpu, or install"):
        find_device("cuda")


def test_no_torch_is_needed_to_say_cpu(command_line_python):
    assert (
        command_line_python("from pp_resources.device import device_kind; device_kind('cpu'); import sys; print('torch' in sys.modules)")
        == "False"
    )


@pytest.fixture
def command_line_python():
    import subprocess
    import sys

    def run(code: str) -> str:
        env = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout.strip()

    return run


def test_an_adapter_and_its_answers_are_of_the_kind_of_device(two_gpus):
    task = load_task("support-triage", PROJECT_ROOT / "tasks")
    recipe, rows = recipe_of(task, "encoder-lora"), Training([], [], [])
    plain, first, second, auto = (training_inputs(task, recipe, rows, said) for said in ("cpu", "cuda", "cuda:1", "auto"))
    assert training_inputs(task, recipe, rows) == plain
    assert first == second == auto
    assert {k for k in plain if plain[k] != first[k]} == {"device"}

    said = {device: TrainedModel("m", "t/v", task.spec, Path(), "d", 1, device).identity for device in ("cpu", "cuda", "cuda:1")}
    assert said["cpu"] != said["cuda"] == said["cuda:1"]


def test_reports_say_which_card_answered(two_gpus, tmp_path):
    assert hardware(Settings(tmp_path, tmp_path, 3))["device"] == "cpu"
    assert hardware(Settings(tmp_path, tmp_path, 3, "cuda:1"))["device"] == "cuda (Card 1)"


def test_the_lock_asks_for_the_same_device_and_promises_no_bytes_there():
    training = {"threads": 2, "seed": 1, "base_model_id": "b", "base_weights_sha256": "s", "bf16_autocast": True}
    on_cpu = lock_text("t", "v", {**training, "device": "cpu"}, {})
    on_card = lock_text("t", "v", {**training, "device": "cuda (Card 0)"}, {})
    assert lock_facts(on_cpu)["reproduce"] == "PP_THREADS=2 pp run t --variant v"
    assert lock_facts(on_card)["reproduce"] == "PP_DEVICE=cuda PP_THREADS=2 pp run t --variant v"
    assert lock_facts(on_card)["device"] == "cuda (Card 0)"
    assert "gives the same bytes on the same type of processor" in on_cpu
    assert "gives the same bytes on no GPU" in on_card


def test_a_run_on_a_device_that_is_not_there_makes_nothing(no_gpu, tmp_path):
    from pp_assets.execute import Runner

    with pytest.raises(UserError, match="no device 'cuda'"):
        Runner(Settings(tmp_path / "home", tmp_path / "tasks", 1, "cuda"), tracking=False)
    assert not list(tmp_path.iterdir())
