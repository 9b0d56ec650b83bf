"""The device that models run on, found when the first of them is loaded: to ask for one takes torch."""

from typing import TYPE_CHECKING

from pp_resources.errors import UserError

if TYPE_CHECKING:
    import torch

CPU, AUTO = "cpu", "auto"


def find_device(wanted: str) -> "torch.device":
    """`cpu`, `cuda`, `cuda:N`, or `auto`: the first CUDA device where there is one. Raises UserError for one that is not there."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == CPU or (wanted == AUTO and not count):
        return torch.device(CPU)
    index = int(wanted.partition(":")[2] or 0)
    if index >= count:
        seen = f"{count} CUDA device{'' if count == 1 else 's'}"
        there = ", ".join(f"cuda:{i}" for i in range(count))
        how = f"give {there} or cpu" if count else "give cpu, or install a driver and the CUDA build of torch"
        raise UserError(f"there is no device {wanted!r}: torch {torch.__version__} finds {seen}", where="PP_DEVICE", how=how)
    return torch.device("cuda", index)


def device_kind(wanted: str) -> str:
    """`cpu` or `cuda`: what a result depends on, whichever of several it is. Raises as `find_device`."""
    return CPU if wanted == CPU else find_device(wanted).type


def described(device: "torch.device") -> str:
    """For records: the kind, and of a CUDA device its name. Another type of device rounds otherwise."""
    import torch

    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
