"""Gold outputs to training targets, and the loss of each kind of head."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pp_resources.json_schema import get_path
from pp_resources.models.encoder.compile import Head, same
from pp_resources.models.encoder.model import NEG
from pp_resources.models.encoder.occurrences import occurrences
from pp_resources.models.encoder.tokens import Encoded

OUTSIDE, BEGIN, INSIDE = 0, 1, 2


def token_ranges(row: Encoded, text: str, value: str) -> list[tuple[int, int]]:
    """(first token, last token) of each place where `value` stands and tokens begin and end exactly with it."""
    found = []
    starts = {a: i for i, (a, b) in enumerate(row.offsets) if b > a}
    ends = {b: i for i, (a, b) in enumerate(row.offsets) if b > a}
    for a, b in occurrences(text, value):
        if a in starts and b in ends:
            found.append((starts[a], ends[b]))
    return found


def target_of(head: Head, row: Encoded, text: str, output: Mapping[str, Any]) -> Any:
    """choice: class index; flags: list of 0/1; span: list of (first, last), [] for null; tags: one class a token. None: nothing to learn
    from this row (the value is not in the text, or is cut off)."""
    value = get_path(output, head.path)
    if head.kind == "choice":
        return next((i for i, v in enumerate(head.values) if same(v, value)), None)
    if head.kind == "flags":
        return [float(any(same(v, item) for item in value or [])) for v in head.values]
    if head.kind == "span":
        return [] if value is None else token_ranges(row, text, value) or None
    tags = [OUTSIDE] * len(row.ids)
    # Longest first, so that "red tea pot" is not cut by "tea pot"; in the order given, since that of a set changes from process to process.
    for item in sorted(dict.fromkeys(value or []), key=len, reverse=True):
        places = token_ranges(row, text, item)
        if not places:
            return None
        for first, last in places:
            if all(t == OUTSIDE for t in tags[first : last + 1]):
                tags[first : last + 1] = [BEGIN] + [INSIDE] * (last - first)
    return tags


def head_loss(head: Head, logits: Tensor, targets: Sequence[Any], words: Tensor, width: int, smoothing: float) -> Tensor:
    """Mean loss over the rows that have a target: cross-entropy, binary cross-entropy, or minus log of the
    probability of all right spans."""
    keep = [i for i, t in enumerate(targets) if t is not None]
    if not keep:
        return logits.sum() * 0.0
    if head.kind == "choice":
        wanted = torch.tensor([targets[i] for i in keep])
        return torch.nn.functional.cross_entropy(logits[keep], wanted, label_smoothing=smoothing if len(head.values) > 1 else 0.0)
    if head.kind == "flags":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[keep], torch.tensor([targets[i] for i in keep]))
    if head.kind == "tags":
        wanted = torch.full(logits.shape[:2], -100)
        for i in keep:
            wanted[i, : len(targets[i])] = torch.tensor(targets[i])
        wanted[~words] = -100
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100)
    right = torch.zeros(logits.shape, dtype=torch.bool)
    rows = []
    for i in keep:
        places = [1 + first * width + last - first for first, last in targets[i] if last - first < width]
        if targets[i] and not places:
            continue
        right[i, places or [0]] = True
        rows.append(i)
    if not rows:
        return logits.sum() * 0.0
    chosen = logits[rows].masked_fill(~right[rows], 2 * NEG)
    return (logits[rows].logsumexp(-1) - chosen.logsumexp(-1)).mean()
