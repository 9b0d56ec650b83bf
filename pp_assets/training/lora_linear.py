"""LoRA in the linear layers of a model, and a training step for it that is six matrix products and nothing beside them.

peft's own layer casts, scales and adds whole activations one operation at a time, and autocast casts the frozen weights anew in each pass.
Of the last layer only keys and values are read by other tokens: what gets no logits needs no query and no feed-forward there.
"""

import re
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import Tensor
from torch.nn.functional import linear

from pp_assets.training.causal_attention import asked_tokens
from pp_assets.training.params import CausalParams
from pp_resources.errors import UserError


def with_lora(base: Any, params: CausalParams, where: str) -> Any:
    """The peft model of a base, its new weights drawn from torch's random state. Raises UserError when `targets` match no module."""
    config = LoraConfig(
        r=params.r,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=params.targets,
        use_rslora=params.rslora,
        use_dora=params.dora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(base, config)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"no LoRA can be put on the base: {reason}", where=where, how="set targets to all-linear, or to a pattern of names"
        ) from error
    last = base.config.get_text_config().num_hidden_layers - 1
    fuse(model, rf".*\.{last}\.(self_attn\.[qo]_proj|mlp\.(gate|up|down)_proj)")
    return model


def fuse(model: Any, at_end: str = "") -> None:
    """Let the plain LoRA layers of a peft model (no dropout, no variant such as DoRA) compute by the step below; those whose name matches
    `at_end` compute only the tokens that are asked for."""
    end = re.compile(at_end)
    for name, module in model.named_modules():
        plain = type(module) is Linear and not module.lora_variant and type(module.base_layer) is torch.nn.Linear
        if plain and all(isinstance(dropout, torch.nn.Identity) for dropout in module.lora_dropout.values()):
            module.forward = _fast(module, module.forward, at_end=bool(end.fullmatch(name)))


class _LoraLinear(torch.autograd.Function):
    """x W' + scale (x A') B' with W frozen; all products in the type of W. With `rows` only those are computed, the others are 0."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, rows: Tensor | None
    ) -> Tensor:
        flat, a, b = x.reshape(-1, x.shape[-1]).to(weight.dtype), a.to(weight.dtype), (b * scale).to(weight.dtype)
        flat = flat if rows is None else flat[rows]
        low = flat @ a.T
        ctx.save_for_backward(flat, low, weight, a, b, rows)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, x.dtype
        return _spread(linear(flat, weight, bias).addmm_(low, b.T), rows, x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        flat, low, weight, a, b, rows = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        grad = grad if rows is None else grad[rows]
        back = grad @ b
        into = _spread((grad @ weight).addmm_(back, a), rows, ctx.shape).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return into, None, None, (back.T @ flat).float(), (grad.T @ low).float() * ctx.scale, None, None


def _spread(made: Tensor, rows: Tensor | None, shape: torch.Size) -> Tensor:
    """Rows of a flat batch where they belong: (*shape without its last size, columns)."""
    if rows is not None:
        made = made.new_zeros(shape[:-1].numel(), made.shape[-1]).index_copy_(0, rows, made)
    return made.view(*shape[:-1], -1)


def _fast(module: Any, plain: Any, *, at_end: bool) -> Any:
    """The step above for a plain LoRA layer of one adapter; switched off or merged it does as before."""
    base, (name,) = module.base_layer, module.lora_A.keys()
    a, b, scale = module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]
    halves: dict[torch.dtype, tuple[Tensor, Tensor | None]] = {}

    def forward(x: Tensor) -> Tensor:
        if module.disable_adapters or module.merged:
            return plain(x)
        kind, rows = x.device.type, asked_tokens(x.shape[:-1].numel()) if at_end else None
        if not torch.is_autocast_enabled(kind):
            return _LoraLinear.apply(x, base.weight, base.bias, a, b, scale, rows)
        dtype = torch.get_autocast_dtype(kind)
        if dtype not in halves:
            halves[dtype] = base.weight.detach().to(dtype), None if base.bias is None else base.bias.detach().to(dtype)
        with torch.autocast(kind, enabled=False):
            return _LoraLinear.apply(_cast_once(x, dtype), *halves[dtype], a, b, scale, rows)

    return forward


def _cast_once(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in that type; layers that read one tensor (queries, keys, values) share the copy, and their gradients add up in it."""
    found = getattr(x, "_cast", None)
    if found is None or found.dtype != dtype:
        found = x._cast = x.to(dtype)  # type: ignore[attr-defined]
    return found
