"""Keys and values of a batch on a shared prefix, and the attention that reads them.

All tokens of a pass stand in one flat sequence, so that linear layers see no padding. The prefix is kept once for all rows; what a row has
of its own is written in place, never copied. `attend` is an attention implementation of Transformers like "eager" and "sdpa": it serves
every architecture that takes those by name and hands the cache's answer to it untouched, whatever its heads, windows and caps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, ModuleList
from transformers import AttentionInterface, Cache, DynamicCache

NAME = "shared_prefix_rows"
# Rows whose chunks differ in length are padded to one block up to this many times their tokens; small blocks always are.
WASTE, SMALL = 2, 256


@dataclass
class Block:
    """Neighbouring rows of a pass whose chunks are padded to one width: rows first..first+count, tokens start..end of the pass."""

    first: int
    lengths: list[int]
    before: list[int]
    start: int
    device: torch.device
    width: int = field(init=False)
    slots: int = field(init=False)
    padded: Tensor | None = field(init=False, default=None)
    real: Tensor | None = field(init=False, default=None)
    _hidden: dict[int | None, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.width = max(self.lengths)
        self.slots = max(length + before for length, before in zip(self.lengths, self.before, strict=True))
        if min(self.lengths) < self.width:
            steps, lengths = torch.arange(self.width), torch.tensor(self.lengths)
            starts = (lengths.cumsum(0) - lengths)[:, None]
            inside = steps < lengths[:, None]
            self.padded = torch.where(inside, starts + steps, 0).flatten().to(self.device)
            self.real = inside.flatten().nonzero()[:, 0].to(self.device)

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def end(self) -> int:
        return self.start + sum(self.lengths)

    def hidden(self, window: int | None) -> Tensor:
        """The row's own slots that each of its queries may not see: (rows, 1, width, slots)."""
        if window not in self._hidden:
            # Padding looks at what the row's first tokens look at; its answer is thrown away.
            positions = (torch.tensor(self.before)[:, None] + torch.arange(self.width))[:, None, :, None]
            ahead = (torch.arange(self.slots) - positions).to(self.device)
            self._hidden[window] = ahead > 0 if window is None else (ahead > 0) | (ahead <= -window)
        return self._hidden[window]


@dataclass
class Store:
    """One layer: `prefix` are its keys and values (heads, tokens, size), `own` those of the rows (rows, heads, slots, size)."""

    cache: "RowCache"
    prefix: tuple[Tensor, Tensor] | None
    own: tuple[Tensor, Tensor]


class RowCache(Cache):
    """Room for `rows` rows of `slots` own tokens each after a prefix; rows are numbered from 0 without gaps."""

    def __init__(self, prefix: DynamicCache, rows: int, slots: int) -> None:
        super().__init__(layers=[])
        self.prefix_length = prefix.get_seq_length()
        self.size = (rows, slots)
        self.lengths = [0] * rows
        self.blocks: list[Block] = []
        layers: list[Any] = prefix.layers if self.prefix_length else []
        self._prefix = [(layer.keys[0].contiguous(), layer.values[0].contiguous()) for layer in layers]
        self._stores: dict[int, Store] = {}

    def lay_out(self, first: int, lengths: Sequence[int], device: torch.device) -> Tensor:
        """Make room for a pass that feeds so many tokens to each row from the `first` on; the position of each token, (tokens)."""
        chunks = torch.tensor(lengths)
        rows = torch.arange(len(lengths)).repeat_interleave(chunks)
        starts = torch.tensor(self.lengths[first : first + len(lengths)])
        steps = torch.arange(int(chunks.sum())) - (chunks.cumsum(0) - chunks)[rows]
        self._rows, self._slots = (rows + first).to(device), (starts[rows] + steps).to(device)
        self._hidden_prefix: dict[int, Tensor] = {}
        self.blocks = list(self._cut(first, lengths, device))
        for row, length in enumerate(lengths, first):
            self.lengths[row] += length
        return self._slots + self.prefix_length

    def _cut(self, first: int, lengths: Sequence[int], device: torch.device) -> Iterator[Block]:
        begin, start = 0, 0
        while begin < len(lengths):
            end, width, tokens = begin, 0, 0
            while end < len(lengths):
                wider = max(width, lengths[end])
                area = wider * (end + 1 - begin)
                if end > begin and area > WASTE * (tokens + lengths[end]) + SMALL:
                    break
                end, width, tokens = end + 1, wider, tokens + lengths[end]
            yield Block(first + begin, list(lengths[begin:end]), self.lengths[first + begin : first + end], start, device)
            begin, start = end, start + tokens

    def hidden_prefix(self, window: int) -> Tensor:
        """The tokens of the prefix that are out of the window of each token of the pass: (tokens, prefix)."""
        if window not in self._hidden_prefix:
            back = self._slots[:, None] + self.prefix_length - torch.arange(self.prefix_length, device=self._slots.device)
            self._hidden_prefix[window] = back >= window
        return self._hidden_prefix[window]

    def move(self, source: int, target: int, length: int | None = None) -> None:
        """Row `target` becomes what row `source` is, or was after its first `length` tokens."""
        used = self.lengths[target] = self.lengths[source] if length is None else length
        for store in self._stores.values():
            for tensor in store.own:
                tensor[target, :, :used] = tensor[source, :, :used]

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any) -> Any:
        """Write the pass's keys and values, each (1, heads, tokens, size). `attend` gets the layer's store in place of tensors, so that
        any other attention fails instead of answering wrongly."""
        if layer_idx not in self._stores:
            rows, slots = self.size
            keys = key_states.new_empty(rows, key_states.shape[1], slots, key_states.shape[3])
            # A slot that a row has not written yet weighs nothing, but nothing times what memory happens to hold may be no number.
            values = value_states.new_zeros(rows, value_states.shape[1], slots, value_states.shape[3])
            self._stores[layer_idx] = Store(self, self._prefix[layer_idx] if self._prefix else None, (keys, values))
        store = self._stores[layer_idx]
        for tensor, states in zip(store.own, (key_states, value_states), strict=True):
            tensor[self._rows, :, self._slots] = states[0].transpose(0, 1)
        return store, store

    def get_seq_length(self, *_args: Any, **_kwargs: Any) -> int:
        return self.prefix_length


def attend(
    _module: Any,
    query: Tensor,
    store: Store,
    _value: Store,
    _mask: Any,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    """(1, tokens, heads, size) from a flat `query` (1, heads, tokens, size); keys and values may have fewer heads."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    cache, kv = store.cache, store.own[0].shape[1]
    query = (query[0] * scale).unflatten(0, (kv, -1))  # (key heads, queries of each, tokens, size)
    parts = [_own(query[:, :, block.start : block.end], store, block, softcap, sliding_window) for block in cache.blocks]
    out, weight = (torch.cat(part, 2) for part in zip(*parts, strict=True))
    if store.prefix:
        hidden = None if sliding_window is None else cache.hidden_prefix(sliding_window)
        hidden = hidden if hidden is None else hidden.repeat(query.shape[1], 1)
        shared, shared_weight = _look(query.flatten(1, 2), *store.prefix, hidden, softcap)
        share = (shared_weight.view(weight.shape) - weight).sigmoid()
        out = out.lerp(shared.view(out.shape), share.to(out.dtype))
    return out.flatten(0, 1).transpose(0, 1)[None], None


def _own(q: Tensor, store: Store, block: Block, cap: float | None, window: int | None) -> tuple[Tensor, Tensor]:
    """What a block's queries (key heads, queries of each, tokens, size) see of their own rows."""
    q = q if block.padded is None else q[:, :, block.padded]
    kv, g, n, c = *q.shape[:2], len(block.lengths), block.width
    keys, values = (tensor[block.first : block.first + n, :, : block.slots] for tensor in store.own)
    q = q.view(kv, g, n, c, -1).permute(2, 0, 1, 3, 4).reshape(n, kv, g * c, -1)
    hidden = block.hidden(window)
    found = _look(q, keys, values, hidden if g == 1 else hidden.repeat(1, 1, g, 1), cap)
    out, weight = (part.view(n, kv, g, c, -1).permute(1, 2, 0, 3, 4).reshape(kv, g, n * c, -1) for part in found)
    return (out, weight) if block.real is None else (out[:, :, block.real], weight[:, :, block.real])


def _look(q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None, cap: float | None) -> tuple[Tensor, Tensor]:
    """Attention (..., queries, size) and the logarithm of the sum that its softmax divided by (..., queries, 1): two looks at different
    tokens are made one by it."""
    if hidden is None and cap is None and q.device.type == "cpu":
        # The kernel behind scaled_dot_product_attention, which keeps the weights to itself: 6 % less of all time than the steps below.
        out, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q[None], keys[None], values[None], scale=1.0)
        return out[0], weight[0, ..., None]
    scores = q @ keys.mT
    if cap is not None:
        scores = (scores / cap).tanh() * cap
    if hidden is not None:
        # Finite, so that a query that sees nothing here weighs nothing instead of spoiling the sum.
        scores.masked_fill_(hidden, torch.finfo(scores.dtype).min)
    probs = scores.softmax(-1, dtype=torch.float32)
    # The largest probability is exp(largest score - weight): cheaper than summing again.
    weight = scores.amax(-1, keepdim=True).float() - probs.amax(-1, keepdim=True).log()
    return probs.to(values.dtype) @ values, weight


AttentionInterface.register(NAME, attend)


@contextmanager
def reading_rows(model: Any) -> Iterator[None]:
    """Inside, `model` takes a RowCache."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def ending_at(model: Any, kept: Tensor, tokens: int) -> Iterator[None]:
    """Inside, the last layer's feed-forward part, whose other results nothing reads, is computed for the `kept` of the pass's `tokens`
    only: 4 % less of all time with seven layers."""
    layers = (m for m in model.modules() if isinstance(m, ModuleList) and len(m) == model.config.num_hidden_layers)
    part = getattr(next(layers, [None])[-1], "mlp", None)
    if not isinstance(part, Module):
        yield
        return

    def narrow(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, kept], *args[1:]) if args else args

    def widen(_module: Any, _args: tuple[Any, ...], out: Any) -> Any:
        # Experts give their router's scores beside the states.
        states = out if isinstance(out, Tensor) else out[0]
        if states.shape[1] == tokens:
            return out
        whole = states.new_zeros(1, tokens, states.shape[-1]).index_copy(1, kept, states)
        return whole if isinstance(out, Tensor) else (whole, *out[1:])

    hooks = part.register_forward_pre_hook(narrow), part.register_forward_hook(widen)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
