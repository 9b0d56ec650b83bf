"""Greedy answers for architectures that cannot share a prefix between rows: recurrent ones, and those with an attention of their own.

One input and one token at a time, the way `generate` runs them, under the same rules as the shared loop.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from pp_resources.models.causal_cache import RowCache, reading_rows
from pp_resources.models.causal_decode import Decoded, Row, Rules, compute_prefix, read_rows

# The names under which architectures return and take their state.
_STATES = ("past_key_values", "cache_params")
# Of the largest logit, for fp32 and for half precision.
_TOLERANCE = {torch.float32: 1e-3}
_shares: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def shares_prefix(model: Any) -> bool:
    """Whether rows on a shared prefix get the logits that they would get alone: tried once per model, on a dozen tokens."""
    if model not in _shares:
        layers = {*(getattr(model.config.get_text_config(), "layer_types", None) or [])}
        _shares[model] = layers <= {"full_attention", "sliding_attention"} and _same_logits(model)
    return _shares[model]


@torch.inference_mode()
def _same_logits(model: Any) -> bool:
    prefix, rows = [3, 5, 4], [[[6, 3], [4]], [[5], [3, 6, 4, 5]]]
    try:
        cache = RowCache(compute_prefix(model, prefix), 2, 8)
        with reading_rows(model):
            shared = [read_rows(model, cache, [row[i] for row in rows]) for i in (0, 1)][1]
    except Exception:  # Whatever an architecture does with a cache that it does not know, it is then run its own way.
        return False
    ids = [torch.tensor([prefix + row[0] + row[1]], device=model.device) for row in rows]
    alone = torch.cat([model(input_ids=i, use_cache=False).logits[:, -1] for i in ids])
    return bool((shared - alone).abs().max() <= _TOLERANCE.get(alone.dtype, 5e-2) * alone.abs().max())


@torch.inference_mode()
def decode_plainly(
    model: Any, prefix_ids: list[int], texts: Sequence[str], suffixes: list[list[int]], rules: Rules
) -> Iterator[tuple[int, Decoded]]:
    """Greedy answers to `texts`, whose tokens after the prefix are `suffixes`, with their indices, one after another."""
    for i, (text, suffix) in enumerate(zip(texts, suffixes, strict=True)):
        row, read = Row(i, text, suffix, rules), _Sequence(model)
        pending = [prefix_ids + row.feed()]
        while not row.done:
            for ids in pending:
                logits = read(ids)
            rules.choose(logits, [row])
            # Recurrent layers take further tokens only one by one.
            pending = [[token] for token in row.feed()]
        yield i, row.answer


class _Sequence:
    """A model on one growing sequence; a model that keeps no state reads it anew at each call."""

    def __init__(self, model: Any) -> None:
        self.model, self.ids = model, list[int]()
        self.state: dict[str, Any] = {}

    def __call__(self, ids: list[int]) -> Tensor:
        """The logits after these further tokens, (1, vocabulary)."""
        self.ids += ids
        fed = ids if self.state else self.ids
        out = self.model(input_ids=torch.tensor([fed], device=self.model.device), use_cache=True, **self.state)
        self.state = {name: out[name] for name in _STATES if out.get(name) is not None}
        return out.logits[:, -1]
