"""Texts to token batches with character offsets and letter shapes, which an uncased vocabulary throws away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# special or padding, punctuation, and of words: with a digit, lower, Title, UPPER, miXed; each as its first token and as a later one
SHAPES = 12


@dataclass(frozen=True)
class Encoded:
    """One text. `offsets` are character ranges of its tokens, (0, 0) for special tokens; `shapes` one class a token."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    shapes: list[int]
    truncated: bool


@dataclass(frozen=True)
class Batch:
    """Padded tensors of shape (batch, tokens); `words` marks real tokens of the text (not special, not padding)."""

    ids: Tensor
    mask: Tensor
    words: Tensor
    shapes: Tensor


def encode(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[Encoded]:
    """Tokenise without padding; a text longer than `max_tokens` is cut and marked."""
    found = tokenizer(list(texts), truncation=True, max_length=max_tokens, return_offsets_mapping=True, return_overflowing_tokens=True)
    firsts: dict[int, int] = {}
    counts: dict[int, int] = {}
    for row, sample in enumerate(found["overflow_to_sample_mapping"]):
        firsts.setdefault(sample, row)
        counts[sample] = counts.get(sample, 0) + 1
    out = []
    for sample, text in enumerate(texts):
        row = firsts[sample]
        offsets = [_trim(text, a, b) for a, b in found["offset_mapping"][row]]
        out.append(Encoded(found["input_ids"][row], offsets, [_shape(text, a, b) for a, b in offsets], counts[sample] > 1))
    return out


def collate(rows: Sequence[Encoded], pad_id: int, device: torch.device | str = "cpu") -> Batch:
    """Right-padded batch on `device`."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask, words, shapes = (torch.zeros((len(rows), width), dtype=torch.long) for _ in range(3))
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n] = torch.tensor(row.ids)
        mask[i, :n] = 1
        words[i, :n] = torch.tensor([int(b > a) for a, b in row.offsets])
        shapes[i, :n] = torch.tensor(row.shapes)
    return Batch(*(tensor.to(device) for tensor in (ids, mask, words.bool(), shapes)))


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Without the space that SentencePiece vocabularies count to the word after it: no value of a field begins with one."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _shape(text: str, start: int, end: int) -> int:
    if end <= start:
        return 0
    if not text[start].isalnum():
        return 1
    first, last = start, end
    while first and text[first - 1].isalnum():
        first -= 1
    while last < len(text) and text[last].isalnum():
        last += 1
    return 2 + _case(text[first:last]) + (5 if first < start else 0)


def _case(word: str) -> int:
    if any(letter.isdigit() for letter in word):
        return 0
    if word.islower():
        return 1
    if word[0].isupper() and (len(word) == 1 or word[1:].islower()):
        return 2
    return 3 if word.isupper() else 4
