"""One training step of a causal model with LoRA: batches of like length, and a loss on the answers only, the shared prefix
computed once inside the graph."""

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import DynamicCache

from pp_assets.training.labels import Row

WINDOW = 8  # batches that are sorted by length together: short enough to stay random, long enough to save the padding
IGNORE = -100


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


def loss_of(model: Any, prefix_ids: Sequence[int], batch: Sequence[Row], pad_id: int) -> tuple[Tensor, int]:
    """(mean cross-entropy over the answer tokens of the batch, how many there are).

    Equal to the loss of the whole sequences: the prefix runs once with the current adapter, its keys and values are repeated for the
    rows, and gradients flow through them. Rows are padded on the right, where a causal model cannot look, so no mask is needed.
    """
    ids, labels = (tensor.to(model.device) for tensor in _tensors(batch, pad_id))
    cache = None
    if prefix_ids:
        shared = torch.tensor([list(prefix_ids)], device=model.device)
        cache = model(input_ids=shared, past_key_values=DynamicCache(config=model.config), use_cache=True, logits_to_keep=1).past_key_values
        cache.batch_repeat_interleave(len(batch))
    # Only positions from the first answer token on have a label: the others need no logits.
    first = min(len(row.suffix) for row in batch) - 1
    logits = model(input_ids=ids, past_key_values=cache, use_cache=cache is not None, logits_to_keep=ids.shape[1] - first).logits
    targets = labels[:, first + 1 :]
    wanted = targets != IGNORE
    return cross_entropy(logits[:, :-1][wanted].float(), targets[wanted]), int(wanted.sum())


def _tensors(batch: Sequence[Row], pad_id: int) -> tuple[Tensor, Tensor]:
    """(ids, labels), both (rows, longest row); labels are IGNORE outside the answers."""
    width = max(row.length for row in batch)
    ids = torch.full((len(batch), width), pad_id)
    labels = torch.full((len(batch), width), IGNORE)
    for i, row in enumerate(batch):
        ids[i, : row.length] = torch.tensor(row.suffix + row.answer)
        labels[i, len(row.suffix) : row.length] = torch.tensor(row.answer)
    return ids, labels
