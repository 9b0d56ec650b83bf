"""Texts longer than an encoder reads, in overlapping windows: a token has its state from the window where it is most in the middle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pp_resources.models.encoder.tokens import Batch, Encoded, collate, encode

MAX_WINDOWS = 16
_CHUNK = 16  # windows in one pass of the encoder; while it is trained only one chunk's activations are kept


@dataclass(frozen=True)
class Window:
    """`row` is a part of a text with the special tokens around it; its states from `kept[0]` to before `kept[1]` are those of the whole
    text's tokens from `at` on."""

    row: Encoded
    kept: tuple[int, int]
    at: int


def encode_long(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[Encoded]:
    """Tokenise without padding; a text longer than `MAX_WINDOWS` windows of `max_tokens` is cut and marked."""
    special = tokenizer.num_special_tokens_to_add()
    room = max_tokens - special
    return encode(tokenizer, texts, special + room + (MAX_WINDOWS - 1) * _stride(room))


def windows(row: Encoded, max_tokens: int) -> list[Window]:
    """The windows of one text: a quarter of each is also in the next, and the cut lies in the middle of that quarter."""
    size = len(row.ids)
    if size <= max_tokens:
        return [Window(row, (0, size), 0)]
    before, after = _edges(row)
    room, end = max_tokens - before - after, size - after
    starts = [*range(before, end - room, _stride(room)), end - room]
    cuts = [0, *((a + room + b) // 2 for a, b in pairwise(starts)), size]
    out = []
    for start, (first, last) in zip(starts, pairwise(cuts)):
        picked = [*range(before), *range(start, start + room), *range(end, size)]
        part = Encoded([row.ids[i] for i in picked], [row.offsets[i] for i in picked], [row.shapes[i] for i in picked], False)
        # From the place of a token in the text to that in the window.
        shift = before - start
        kept = (first + shift if first else 0, last + shift if last < size else len(picked))
        out.append(Window(part, kept, first))
    return out


def token_states(forward: Callable[[Batch], Tensor], rows: Sequence[Encoded], batch: Batch, pad_id: int, max_tokens: int) -> Tensor:
    """States (batch, tokens, hidden) of the texts in `batch`, the `rows` collated, by `forward`; one pass where they fit."""
    if batch.ids.shape[1] <= max_tokens:
        return forward(batch)
    parts = [(i, window) for i, row in enumerate(rows) for window in windows(row, max_tokens)]
    parts.sort(key=lambda part: len(part[1].row.ids))
    pieces: list[list[tuple[int, Tensor]]] = [[] for _ in rows]
    for start in range(0, len(parts), _CHUNK):
        chunk = parts[start : start + _CHUNK]
        padded = collate([window.row for _, window in chunk], pad_id, batch.ids.device)
        recomputed = len(parts) > _CHUNK and torch.is_grad_enabled()
        if recomputed:
            # Tensors by themselves: by them the random state of their device is found, and dropout drawn again as it was.
            tensors = padded.ids, padded.mask, padded.words, padded.shapes
            found = checkpoint(lambda *each: forward(Batch(*each)), *tensors, use_reentrant=False)
        else:
            found = forward(padded)
        for (i, window), states in zip(chunk, found):
            pieces[i].append((window.at, states[slice(*window.kept)]))
    whole = [torch.cat([states for _, states in sorted(found, key=lambda piece: piece[0])]) for found in pieces]
    return torch.nn.utils.rnn.pad_sequence(whole, batch_first=True)


def _stride(room: int) -> int:
    return max(1, room * 3 // 4)


def _edges(row: Encoded) -> tuple[int, int]:
    """How many special tokens stand before and after the text."""
    text = [i for i, offset in enumerate(row.offsets) if offset != (0, 0)]
    return text[0], len(row.offsets) - 1 - text[-1]
