"""What merging leaves of an adapter: a change smaller than the rounding step of a base weight is lost, and with it what was learnt."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


@torch.inference_mode()
def shares_after_merging(model: Any, logits: Callable[[], Tensor]) -> dict[str, float]:
    """For base weights of each precision, how much of the adapter's change of the logits is left once it is merged into them: 1 is all
    of it, 0 none. `logits` computes the same ones at each call."""
    return {str(dtype).removeprefix("torch."): _share(model, logits, dtype) for dtype in PRECISIONS}


def _share(model: Any, logits: Callable[[], Tensor], dtype: torch.dtype) -> float:
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    with _rounded(layers, dtype):
        with model.disable_adapter():
            plain = logits()
        wanted = logits() - plain
        for layer in layers:
            layer.merge()
            weight = layer.get_base_layer().weight
            weight.data = weight.data.to(dtype).float()
        found = logits() - plain
        for layer in layers:
            layer.unmerge()
    # The part of the change that points where the adapter points: what rounding adds goes anywhere.
    return round(float((found * wanted).sum() / (wanted * wanted).sum()), 4)


@contextmanager
def _rounded(layers: list[Any], dtype: torch.dtype) -> Iterator[None]:
    """Base weights as that precision holds them; their own again afterwards, to the bit."""
    kept = [layer.get_base_layer().weight.data for layer in layers]
    try:
        for layer, weight in zip(layers, kept, strict=True):
            # A copy even where nothing is rounded: merging may write in place.
            layer.get_base_layer().weight.data = weight.to(dtype, copy=True).float()
        yield
    finally:
        for layer, weight in zip(layers, kept, strict=True):
            layer.get_base_layer().weight.data = weight
