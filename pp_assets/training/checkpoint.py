"""Checkpoints without pickle: tensors (weights, optimiser moments, random state) as safetensors, the rest as JSON, one folder per
step.

A checkpoint is written beside its final name and renamed, so that a kill leaves the one before it.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pp_resources.artifacts import sync


def save_checkpoint(
    home: Path, step: int, tensors: Mapping[str, Tensor], optimizers: Mapping[str, torch.optim.Optimizer], state: Any
) -> None:
    """Write ``home/step-NNNNNNNN`` and drop the older ones. `state` is JSON; torch's random state is kept with it, also that of the
    device that the tensors are on."""
    home.mkdir(parents=True, exist_ok=True)
    target, work = home / f"step-{step:08}", home / ".writing"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    packed = {f"model/{name}": _kept(value) for name, value in tensors.items()}
    packed["random"] = torch.get_rng_state()
    for device in {value.device for value in tensors.values() if value.device.type != "cpu"}:
        packed["random_device"] = torch.get_device_module(device).get_rng_state(device)
    groups = {}
    for name, optimizer in optimizers.items():
        state_dict = optimizer.state_dict()
        groups[name] = state_dict["param_groups"]
        for index, entry in state_dict["state"].items():
            packed |= {f"optimizer/{name}/{index}/{key}": _kept(value) for key, value in entry.items()}
    save_file(packed, work / "tensors.safetensors")
    (work / "state.json").write_text(json.dumps({"step": step, "param_groups": groups, "state": state}))
    for path in work.iterdir():
        sync(path)
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    sync(home)
    for old in home.glob("step-*"):
        if old != target:
            shutil.rmtree(old)


def load_checkpoint(
    home: Path, optimizers: Mapping[str, torch.optim.Optimizer], only_if: Callable[[Any], bool], device: torch.device | str = "cpu"
) -> tuple[int, dict[str, Tensor], Any] | None:
    """(step, tensors on `device`, state) of the newest checkpoint; restores the optimisers and torch's random state on the way.

    None, with nothing restored, when there is none or `only_if` refuses its state.
    """
    found = sorted(home.glob("step-*"))
    if not found:
        return None
    meta = json.loads((found[-1] / "state.json").read_text("utf-8"))
    if not only_if(meta["state"]):
        return None
    packed = load_file(found[-1] / "tensors.safetensors")
    for name, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in packed.items():
            if key.startswith(f"optimizer/{name}/"):
                index, entry = key.split("/")[2:]
                state.setdefault(int(index), {})[entry] = value
        optimizer.load_state_dict({"state": state, "param_groups": meta["param_groups"][name]})
    torch.set_rng_state(packed["random"])
    if "random_device" in packed:
        torch.get_device_module(device).set_rng_state(packed["random_device"], device)
    tensors = {key.removeprefix("model/"): value.to(device) for key, value in packed.items() if key.startswith("model/")}
    return meta["step"], tensors, meta["state"]


def _kept(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True).contiguous()
