"""Attention of a batch whose rows share a prefix: one flat sequence, the prefix first, then the rows one after another.

Every linear layer sees the prefix once, in one call with the rows; here the rows look at the prefix and at themselves only. It is an
attention implementation of Transformers like "eager" and "sdpa", so it serves every architecture that takes those by name. Compared with a
repeated cache it copies no keys and values, and adds up the prefix's gradients inside a matrix product.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as fused
from transformers import AttentionInterface

NAME = "shared_prefix"
# Scores in one piece beat the device's kernel on the CPU for short sequences (its backward was 29 % of a step); of longer ones they would
# not fit in memory.
EAGER_UP_TO = 512

Kept = dict[int, tuple[Tensor, Tensor]]
"""Keys and values of a prefix by layer, each (heads, tokens, head size)."""


@dataclass
class Layout:
    """Where the tokens of a flat batch stand: `prefix` tokens, then `rows` times `width`. A prefix that is `kept` is not in the batch;
    one that is goes to `seen`. Only the tokens `asked` get logits (all where it is None)."""

    prefix: int
    rows: int
    width: int
    asked: Tensor | None = None
    kept: Kept = field(default_factory=dict)
    seen: Kept = field(default_factory=dict)
    _biases: dict[Any, Tensor] = field(default_factory=dict)

    def bias(self, queries: int, keys: int, start: int, window: int | None, like: Tensor) -> Tensor:
        """What to add to scores, (queries, keys): minus infinity where a query may not look. The first query stands `start` tokens after
        the first key."""
        at = (queries, keys, start, window, like.dtype)
        if at not in self._biases:
            ahead = torch.arange(keys, device=like.device) - (torch.arange(queries, device=like.device) + start)[:, None]
            hidden = ahead > 0 if window is None else (ahead > 0) | (ahead <= -window)
            self._biases[at] = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))
        return self._biases[at]


_LAYOUT: ContextVar[Layout | None] = ContextVar("layout", default=None)


def asked_tokens(count: int) -> Tensor | None:
    """Indices of the tokens that the last layer need answer for, of a flat batch of `count` tokens; None outside of one."""
    layout = _LAYOUT.get()
    if layout is None or layout.asked is None or count != layout.prefix + layout.rows * layout.width:
        return None
    return layout.asked


@contextmanager
def laid_out(model: Any, layout: Layout) -> Iterator[None]:
    """Inside, `model` reads one flat sequence of this layout (its position ids must be given)."""
    token, before = _LAYOUT.set(layout), model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        _LAYOUT.reset(token)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Any,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    """(1, tokens, heads, head size) from a flat `query` (1, heads, tokens, head size); `key` and `value` may have fewer heads."""
    layout, heads = _LAYOUT.get(), key.shape[1]
    assert layout is not None
    p, b, t = layout.prefix, layout.rows, layout.width
    score = _Scorer(layout, scaling or query.shape[-1] ** -0.5, dropout, softcap, sliding_window)
    # Query heads that share a key head stand together: (key heads, heads of each, tokens, head size).
    q = query[0].unflatten(0, (heads, -1))
    (first_q, q), (first_k, k), (first_v, v) = (x.split([p, b * t], -2) for x in (q, key[0], value[0]))
    out, shared = [], layout.kept.get(module.layer_idx)
    if p:
        shared = first_k, first_v
        layout.seen[module.layer_idx] = first_k.detach(), first_v.detach()
        out.append(score(first_q[:, None], first_k[:, None], first_v[:, None], None)[:, 0])
    if b:
        made = score(q.unflatten(2, (b, t)).transpose(1, 2), k.unflatten(1, (b, t)), v.unflatten(1, (b, t)), shared)
        out.append(made.transpose(1, 2).flatten(2, 3))
    return torch.cat(out, 2).flatten(0, 1).transpose(0, 1)[None], None


class _Attention(torch.autograd.Function):
    """Attention of scaled queries (heads, rows, heads of each, tokens, head size) on their own keys and on shared ones: nothing but a
    softmax stands between the products."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, over: Tensor | None, q: Tensor, k: Tensor, v: Tensor, *shared: Tensor) -> Tensor:
        heads, rows, group, t, size = q.shape
        wide = q.reshape(heads, rows * group * t, size)
        scores = (wide.view(heads, rows, group * t, size) @ k.mT).view(heads, rows, group, t, t).add_(own)
        if shared:
            far = (wide @ shared[0].mT).view(heads, rows, group, t, -1)
            scores = torch.cat([far if over is None else far.add_(over), scores], -1)
        probs = scores.softmax(-1)
        near = probs[..., scores.shape[-1] - t :].reshape(heads, rows, group * t, t)
        out = near @ v
        far = probs[..., :-t].reshape(heads, rows * group * t, -1)
        if shared:
            out = out.view(heads, rows * group * t, -1).baddbmm_(far, shared[1])
        ctx.save_for_backward(wide, k, v, probs, near, far, *shared)
        return out.view(heads, rows, group, t, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, probs, near, far, *shared = ctx.saved_tensors
        heads, rows, group, t, _ = probs.shape
        wide = grad.reshape(heads, rows * group * t, -1)
        rowed = wide.view(heads, rows, group * t, -1)
        into = (rowed @ v.mT).view(heads, rows, group, t, t)
        if shared:
            into = torch.cat([(wide @ shared[1].mT).view(heads, rows, group, t, -1), into], -1)
        into = torch._softmax_backward_data(into, probs, -1, probs.dtype)
        own = into[..., into.shape[-1] - t :].reshape(heads, rows, group * t, t)
        to_q = own @ k
        ours = to_q, own.mT @ q.view(heads, rows, group * t, -1), near.mT @ rowed
        if not shared:
            return None, None, to_q.view(heads, rows, group, t, -1), *ours[1:]
        rest = into[..., :-t].reshape(heads, rows * group * t, -1)
        to_q = to_q.view(heads, rows * group * t, -1).baddbmm_(rest, shared[0]).view(heads, rows, group, t, -1)
        theirs = (rest.mT @ q, far.mT @ wide) if ctx.needs_input_grad[5] else (None, None)
        return None, None, to_q, *ours[1:], *theirs


@dataclass
class _Scorer:
    """Softmax attention of rows (key heads, rows, heads of each, tokens, head size) on their own keys and values (key heads, rows,
    tokens, head size) and on those that they share (key heads, tokens, head size)."""

    layout: Layout
    scale: float
    dropout: float
    softcap: float | None
    window: int | None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, shared: tuple[Tensor, Tensor] | None) -> Tensor:
        kind, n = q.device.type, shared[0].shape[1] if shared else 0
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            q, k, v = (q * self.scale).to(dtype), k.to(dtype), v.to(dtype)
            shared = (shared[0].to(dtype), shared[1].to(dtype)) if shared else None
        else:
            q = q * self.scale
        with torch.autocast(kind, enabled=False):
            if self.softcap is None and (kind != "cpu" or n + q.shape[3] > EAGER_UP_TO):
                return self._fused(q, k, v, shared)
            own, over = self._bias(q, 0, q.shape[3]), self._bias(q, n, n) if shared and self.window is not None else None
            if self.softcap is None and not self.dropout:
                return _Attention.apply(own, over, q, k, v, *(shared or ()))
            return self._step_by_step(own, over, q, k, v, shared)

    def _bias(self, q: Tensor, start: int, keys: int) -> Tensor:
        return self.layout.bias(q.shape[3], keys, start, self.window, q)

    def _step_by_step(
        self, own: Tensor, over: Tensor | None, q: Tensor, k: Tensor, v: Tensor, shared: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """With what the one step leaves out: capped scores, and dropout."""
        *shape, t, _ = q.shape
        scores = self._capped((q.flatten(2, 3) @ k.mT).view(*shape, t, t)) + own
        if shared:
            far = self._capped((q.flatten(1, 3) @ shared[0].mT).view(*shape, t, -1))
            scores = torch.cat([far if over is None else far + over, scores], -1)
        weights = torch.dropout(scores.softmax(-1), self.dropout, self.dropout > 0)
        made = (weights[..., scores.shape[-1] - t :].flatten(2, 3) @ v).view(*shape, t, -1)
        return made + (weights[..., :-t].flatten(1, 3) @ shared[1]).view(made.shape) if shared else made

    def _capped(self, scores: Tensor) -> Tensor:
        return scores if self.softcap is None else (scores / self.softcap).tanh() * self.softcap

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, shared: tuple[Tensor, Tensor] | None) -> Tensor:
        """The device's own attention, on a copy of the prefix for each row."""
        if shared:
            k, v = (torch.cat([s[:, None].expand(-1, q.shape[1], -1, -1), x], 2) for s, x in zip(shared, (k, v), strict=True))
        bias = self._bias(q, k.shape[2] - q.shape[3], k.shape[2])
        q, k, v = q.transpose(0, 1).flatten(1, 2), k.transpose(0, 1), v.transpose(0, 1)
        made = fused(q, k, v, attn_mask=bias, dropout_p=self.dropout, scale=1.0, enable_gqa=q.shape[1] != k.shape[1])
        return made.unflatten(1, (k.shape[1], -1)).transpose(0, 1)


AttentionInterface.register(NAME, attend)
