"""Training and answers on a device that is not the processor: every tensor is where it should be, and the results are the processor's.

In a process of its own: a device is known to PyTorch until its process ends.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from on_device import FAMILIES

pytestmark = pytest.mark.slow
RESUMED = ("mistral", "encoder")  # with dropout, whose draws go on where they were
_RUN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import torch
import second_device
from on_device import trained, without_sharing
from pp_assets.training import predictors

folder, families, resumed = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split()
predictors.find_device = torch.device
torch.set_num_threads(1)
found = {}
try:
    torch.ones(2) + second_device.Second(torch.ones(2))
except RuntimeError as error:
    found["outside"] = str(error)
with second_device.Running() as running:
    try:
        torch.ones(2) + torch.ones(2, device=second_device.DEVICE)
    except RuntimeError as error:
        found["mixed"] = str(error)
    for family in families:
        found[family] = {device: asdict(trained(family, folder, device, bf16=False)) for device in ("cpu", "second")}
    for family in resumed:
        found[family]["resumed"] = asdict(trained(family, folder, "second", bf16=False, killed_at=1))
        found[family]["bf16"] = asdict(trained(family, folder, "second", bf16=True, asked_on="cpu"))
    found["plain"] = {device: without_sharing(folder, device) for device in ("cpu", "second")}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    here = Path(__file__).parent
    command = [sys.executable, "-c", _RUN, str(tmp_path_factory.mktemp("second")), " ".join(FAMILIES), " ".join(RESUMED)]
    path = os.pathsep.join([str(here), str(here.parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_operation_on_tensors_of_both_devices_is_refused(found):
    assert "expected all tensors on one device" in found["mixed"]
    assert "only within Running" in found["outside"]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_learns_and_answers_as_on_the_processor(found, family):
    here, there = found[family]["cpu"], found[family]["second"]
    assert (here["device"], there["device"]) == ("cpu", "second")
    # A base that could not share its prefix there would answer the same, slowly.
    causal = family not in ("encoder", "windows", "frozen")
    assert (here["attention"], there["attention"]) == (("shared_prefix",) * 2 if causal else ("eager", "sdpa"))
    assert there["initial"] == here["initial"]
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-5)
    assert there["answers"] == here["answers"]
    assert there["confidences"] == pytest.approx(here["confidences"], rel=1e-3)


@pytest.mark.parametrize("family", RESUMED)
def test_a_killed_run_goes_on_there_to_the_same_bytes(found, family):
    assert found[family]["resumed"] == found[family]["second"]


@pytest.mark.parametrize("family", RESUMED)
def test_bf16_trains_nearly_the_same_and_the_adapter_answers_on_the_processor(found, family):
    exact, used = found[family]["second"], found[family]["bf16"]
    assert used["weights"] != exact["weights"]
    assert used["losses"] == pytest.approx(exact["losses"], rel=0.02)
    assert len(used["answers"]) == len(exact["answers"])


def test_a_base_whose_rows_share_no_prefix_answers_as_on_the_processor(found):
    assert found["plain"]["second"] == found["plain"]["cpu"]
    assert all(found["plain"]["cpu"])
