"""On a CUDA device: `pytest -m gpu`. The same trainings as on the second device, with the device's own kernels, in bf16 where it has it."""

from pathlib import Path

import pytest
import torch
from on_device import FAMILIES, trained, without_sharing

from pp_assets.training.hardware import has_bf16
from pp_resources.device import described, find_device

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_in_fp32_starts_learns_and_answers_as_on_the_processor(tmp_path: Path, family):
    # Draws of dropout are the device's own: what depends on them is only near.
    near = 1e-3 if family in ("lora", "activated", "gemma2") else 0.1
    here, there = (trained(family, tmp_path, device, bf16=False) for device in ("cpu", "cuda"))
    assert (here.device, there.device) == ("cpu", described(find_device("cuda")))
    if family in ("encoder", "windows", "frozen"):
        assert there.attention == "sdpa"
    else:
        assert (there.attention, there.initial) == ("shared_prefix", here.initial)
    assert there.losses == pytest.approx(here.losses, rel=near)
    if near < 0.1:
        assert there.answers == here.answers


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_answers_alike_on_the_device_and_on_the_processor(tmp_path: Path, family):
    there, here = (trained(family, tmp_path, "cuda", asked_on=asked) for asked in ("cuda", "cpu"))
    assert there.weights == here.weights
    assert here.answers == there.answers
    assert here.confidences == pytest.approx(there.confidences, rel=1e-3)


@pytest.mark.parametrize("family", ["mistral", "encoder"])
def test_a_killed_run_goes_on_to_the_losses_of_one_that_was_not(tmp_path: Path, family):
    whole, resumed = trained(family, tmp_path, "cuda"), trained(family, tmp_path, "cuda", killed_at=1)
    assert resumed.losses == pytest.approx(whole.losses, rel=1e-3)


@pytest.mark.skipif(not has_bf16("cuda"), reason="the device has no bf16")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loop_runs_in_bf16_near_that_in_fp32(tmp_path: Path, family):
    exact, used = trained(family, tmp_path, "cuda", bf16=False), trained(family, tmp_path, "cuda")
    assert used.weights != exact.weights
    assert used.losses == pytest.approx(exact.losses, rel=0.05)


def test_a_base_whose_rows_share_no_prefix_answers_as_on_the_processor(tmp_path: Path):
    assert without_sharing(tmp_path, "cuda") == without_sharing(tmp_path, "cpu")
