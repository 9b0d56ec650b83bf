"""Batches of like length for a causal model, and their loss: on the answers only, the shared prefix computed once inside the graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pp_assets.training.causal_attention import Kept, Layout, laid_out
from pp_assets.training.labels import Row

WINDOW = 8  # batches that are sorted by length together: short enough to stay random, long enough to save the padding


@dataclass(frozen=True)
class SharedPrefix:
    """The tokens that all rows begin with. `kept`: keys and values by layer of a prefix that is not trained through, else it is computed
    in every batch. `shared` false: the model takes whole rows only."""

    ids: Sequence[int]
    kept: Kept = field(default_factory=dict)
    shared: bool = True


def epoch_batches(rows: Sequence[Row], batch_size: int, seed: int, epoch: int) -> list[list[Row]]:
    """All rows once, in batches of like length; a function of the seed and the epoch alone, so that a resumed run sees the same
    batches."""
    random = Random(f"{seed}:{epoch}")
    order = random.sample(range(len(rows)), len(rows))
    batches = []
    for start in range(0, len(order), batch_size * WINDOW):
        window = sorted(order[start : start + batch_size * WINDOW], key=lambda i: rows[i].length)
        batches += [[rows[i] for i in window[at : at + batch_size]] for at in range(0, len(window), batch_size)]
    random.shuffle(batches)
    return batches


def loss_of(model: Any, prefix: SharedPrefix, batch: Sequence[Row], pad_id: int) -> tuple[Tensor, int]:
    """(mean cross-entropy over the answer tokens of the batch, how many there are).

    Equal to the loss of the whole sequences: the prefix runs once with the current adapter, and gradients flow through it.
    """
    logits = answer_logits(model, prefix, batch, pad_id)
    targets = torch.tensor([token for row in batch for token in row.answer], device=logits.device)
    return cross_entropy(logits.float(), targets), len(targets)


def answer_logits(model: Any, prefix: SharedPrefix, batch: Sequence[Row], pad_id: int) -> Tensor:
    """The logits of each answer token of each row, in order: (tokens, vocabulary).

    Rows are padded on the right, where a causal model cannot look; end tokens are not read, and no other position gets logits.
    """
    width = max(row.length for row in batch) - 1
    ids = torch.full((len(batch), width), pad_id)
    asked = torch.zeros(len(batch), width, dtype=torch.bool)
    for i, row in enumerate(batch):
        ids[i, : row.length - 1] = torch.tensor(row.suffix + row.answer[:-1])
        asked[i, len(row.suffix) - 1 : row.length - 1] = True
    return (_shared_logits if prefix.shared else _whole_logits)(model, prefix, ids, asked)


def _shared_logits(model: Any, prefix: SharedPrefix, ids: Tensor, asked: Tensor) -> Tensor:
    length, (rows, width) = len(prefix.ids), ids.shape
    inside = 0 if prefix.kept else length
    flat = torch.cat([torch.tensor(prefix.ids[:inside], dtype=torch.long), ids.flatten()])
    steps = torch.arange(length + width)
    positions = torch.cat([steps[:inside], steps[length:].repeat(rows)])
    wanted = (inside + asked.flatten().nonzero()[:, 0]).to(model.device)
    layout = Layout(inside, rows, width, wanted, prefix.kept)
    with laid_out(model, layout):
        ids, positions = flat[None].to(model.device), positions[None].to(model.device)
        return model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=wanted).logits[0]


def _whole_logits(model: Any, prefix: SharedPrefix, ids: Tensor, asked: Tensor) -> Tensor:
    whole = torch.cat([torch.tensor([list(prefix.ids)], dtype=torch.long).expand(len(ids), -1), ids], 1)
    return model(input_ids=whole.to(model.device), use_cache=False, logits_to_keep=ids.shape[1]).logits[asked.to(model.device)]


def keep_prefix(model: Any, ids: Sequence[int]) -> SharedPrefix:
    """A prefix whose keys and values are computed here and now, to be looked at without being trained."""
    layout, tokens = Layout(len(ids), 0, 0), torch.tensor([list(ids)], device=model.device)
    with torch.no_grad(), laid_out(model, layout):
        model(input_ids=tokens, position_ids=torch.arange(len(ids), device=model.device)[None], use_cache=False, logits_to_keep=1)
    return SharedPrefix(ids, layout.seen)
