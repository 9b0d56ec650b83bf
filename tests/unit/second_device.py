"""A device beside the processor, where there is none: what its tensors hold lies with the processor, and an operation that mixes them with
the processor's own is refused, as a CUDA device refuses it.

It is a backend of PyTorch's own kind (PrivateUse1), so autograd, optimisers and modules treat it as they treat any device; it lasts as long
as the process. What it cannot tell: how a CUDA device rounds, which kernels it has, how fast it is.
"""

from typing import Any

import torch
from torch import Tensor, library
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "second"
aten = torch.ops.aten
# What takes tensors of two devices on CUDA as well: copies, and indexing by indices of the processor.
_COPIES = (aten.copy_.default, aten._to_copy.default)
_INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class Second(Tensor):
    """A tensor on the device; `near` is what it holds."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Second":
        shape, strides, offset = near.shape, near.stride(), near.storage_offset()
        made = Tensor._make_wrapper_subclass(cls, shape, strides=strides, storage_offset=offset, dtype=near.dtype, device=DEVICE)
        made.near = near
        return made  # type: ignore[no-any-return]

    @property
    def data(self) -> "Second":
        return Second(self.near)

    @data.setter
    def data(self, other: "Second") -> None:
        self.near = other.near

    def tolist(self) -> Any:
        return self.near.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert a tensor on {NAME} to numpy")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: only within Running")


class Running(TorchDispatchMode):
    """Within it the device works. `calls` counts its operations."""

    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # In inference mode operations that are made of others come whole.
        with self:
            made = func.decompose(*args, **kwargs)
        if made is not NotImplemented:
            return made
        here = any(isinstance(leaf, Second) for leaf in tree_leaves((args, kwargs)))
        near_args, near_kwargs = tree_map_only(Second, lambda tensor: tensor.near, (args, kwargs))
        if here and func not in _COPIES:
            _refuse_mixed(func, args, kwargs)
        if near_kwargs.get("device") is not None:
            here = torch.device(near_kwargs["device"]).type == NAME
            near_kwargs = {**near_kwargs, "device": torch.device("cpu")}
        elif func is aten.copy_.default:
            here = isinstance(args[0], Second)
        if not here:
            return func(*near_args, **near_kwargs)
        self.calls += 1
        # A view that is made in inference mode of a tensor that was not cannot be wrapped.
        with torch.inference_mode(False), torch.no_grad():
            made = tree_map_only(Tensor, Second, func(*near_args, **near_kwargs))
            return return_and_correct_aliasing(func, args, kwargs, made)


def _refuse_mixed(func: Any, args: Any, kwargs: Any) -> None:
    """A tensor of the processor that is more than one number beside one of the device."""
    checked = (args[0], args[2:]) if func in _INDEXED else (args, kwargs)
    found = [leaf for leaf in tree_leaves(checked) if isinstance(leaf, Tensor)]
    odd = [leaf for leaf in found if not isinstance(leaf, Second) and leaf.dim()]
    if odd:
        raise RuntimeError(f"{func}: expected all tensors on one device, found {NAME} and cpu of shape {tuple(odd[0].shape)}")


class _Module:
    """What PyTorch asks of a device. Its draws are those of the processor's generator."""

    is_initialized = is_available = staticmethod(lambda: True)
    is_in_bad_fork = _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])

    get_rng_state = staticmethod(lambda _device: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, _device: torch.set_rng_state(state))
    manual_seed_all = staticmethod(lambda _seed: None)

    def _lazy_init(self) -> None: ...


_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
# torch.tensor(..., device=...) makes its tensor on the processor, and copies it where the mode sees it.
torch._C._set_only_lift_cpu_tensors(True)
DEVICE = torch.device(NAME, 0)

# Under autocast products are in bf16, as on CUDA; all else is as it comes.
_AUTOCAST = "AutocastPrivateUse1"
_REST, _PRODUCTS = library.Library("_", "IMPL"), library.Library("aten", "IMPL")
_REST.fallback(library.fallthrough_kernel, _AUTOCAST)


def _in_bf16(name: str) -> Any:
    def product(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
            low = tree_map_only(Tensor, lambda t: t.bfloat16() if t.is_floating_point() else t, (args, kwargs))
            return getattr(aten, name).default(*low[0], **low[1])

    return product


for _name in ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "scaled_dot_product_attention"):
    _PRODUCTS.impl(_name, _in_bf16(_name), _AUTOCAST)
