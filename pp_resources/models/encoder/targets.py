"""Gold outputs to training targets, and the loss of each kind of head."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pp_resources.json_schema import get_path
from pp_resources.models.encoder.compile import Head, same
from pp_resources.models.encoder.model import NEG
from pp_resources.models.encoder.occurrences import occurrences
from pp_resources.models.encoder.tokens import Encoded

OUTSIDE, BEGIN, INSIDE = 0, 1, 2
UNTOLD = -100  # a token that no tag is learnt for


def token_readings(head: Head, row: Encoded, text: str) -> list[tuple[int, int, Any]]:
    """(first token, last token, value) of each value that the reader of the head finds in the part of the text that was encoded."""
    assert head.reader
    words = [(a, b, i) for i, (a, b) in enumerate(row.offsets) if b > a]
    starts, found = [a for a, _, _ in words], []
    for start, end, value in head.reader.read(text):
        # The tokens that the value touches: "5pm" may be one.
        first, last = bisect_right(starts, start) - 1, bisect_left(starts, end) - 1
        if first >= 0 and end <= words[-1][1]:
            found.append((words[first][2], words[last][2], value))
    return found


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
    """choice: class index; flags: list of 0/1; span: list of (first, last), [] for null; value: list of (first, last, whether right), none
    right for null; tags: one class a token; items: (tags, list of (first, last, class index of each field)).

    None: nothing to learn from this row (the value is not in the text, or is cut off).
    """
    value = get_path(output, head.path)
    match head.kind:
        case "choice":
            return _index(head, value)
        case "flags":
            return [float(any(same(v, item) for item in value or [])) for v in head.values]
        case "span":
            return [] if value is None else token_ranges(row, text, value) or None
        case "value":
            found = [(first, last, same(reading, value)) for first, last, reading in token_readings(head, row, text)]
            return found if value is None or any(right for _, _, right in found) else None
        case "tags":
            tagged = _tags(row, text, dict.fromkeys(value or []))
            return tagged and tagged[0]
        case _:
            return _items(head, row, text, value or [])


def _index(head: Head, value: Any) -> int | None:
    return next((i for i, v in enumerate(head.values) if same(v, value)), None)


def _tags(row: Encoded, text: str, items: Iterable[str]) -> tuple[list[int], list[tuple[int, int, str]]] | None:
    """Tags of all places of all items and the places; None when one is nowhere. Where an item is but a part of a token ("look" in "looks"),
    that token is left out and the rest of the row still teaches."""
    tags, tagged = [OUTSIDE] * len(row.ids), []
    # Longest first, so that "red tea pot" is not cut by "tea pot"; in the order given, since that of a set changes from process to process.
    for item in sorted(items, key=len, reverse=True):
        places = token_ranges(row, text, item)
        touched = [] if places else _touched(row, text, item)
        if not places and not touched:
            return None
        for at in touched:
            tags[at] = UNTOLD
        for first, last in places:
            if all(t == OUTSIDE for t in tags[first : last + 1]):
                tags[first : last + 1] = [BEGIN] + [INSIDE] * (last - first)
                tagged.append((first, last, item))
    return tags, tagged


def _touched(row: Encoded, text: str, item: str) -> list[int]:
    return [i for start, end in occurrences(text, item) for i, (a, b) in enumerate(row.offsets) if a < end and start < b]


def _items(
    head: Head, row: Encoded, text: str, objects: Sequence[Mapping[str, Any]]
) -> tuple[list[int], list[tuple[int, int, list[int]]]] | None:
    classes = {get_path(item, head.anchor): [_index(field, get_path(item, field.path)) for field in head.fields] for item in objects}
    tagged = _tags(row, text, classes)
    # Two objects of one name cannot be told apart by where they stand.
    if tagged is None or len(classes) < len(objects) or any(None in chosen for chosen in classes.values()):
        return None
    return tagged[0], [(first, last, [i for i in classes[item] if i is not None]) for first, last, item in tagged[1]]


def head_loss(head: Head, logits: Tensor, targets: Sequence[Any], words: Tensor, width: int, smoothing: float) -> Tensor:
    """Mean loss over the rows that have a target: minus log of the probability of the field's value. Of flags that is the sum over the
    labels, not their mean: beside 34 other fields the 48 intents of NLU++ banking were not learnt at all in the first epoch with the mean
    (F1 0.00 of 184 validation rows against 0.86). Of tags it is the mean over all tokens; a sum was no better on wnut17."""
    keep = [i for i, t in enumerate(targets) if t is not None]
    if not keep:
        return logits.sum() * 0.0
    if head.kind == "choice":
        wanted = torch.tensor([targets[i] for i in keep], device=logits.device)
        return torch.nn.functional.cross_entropy(logits[keep], wanted, label_smoothing=smoothing if len(head.values) > 1 else 0.0)
    if head.kind == "flags":
        marks = torch.tensor([targets[i] for i in keep], device=logits.device)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[keep], marks, reduction="sum") / len(keep)
    if head.kind == "tags":
        return _tag_loss(logits, [targets[i] for i in keep], keep, words)
    if head.kind == "items":
        return _items_loss(head, logits, [targets[i] for i in keep], keep, words)
    if head.kind == "value":
        return _value_loss(head, logits[keep], [targets[i] for i in keep])
    return span_loss(logits.unsqueeze(1), [[target] for target in targets], width)


def span_loss(logits: Tensor, targets: Sequence[Sequence[Any]], width: int) -> Tensor:
    """The losses of several span heads added up: `logits` (batch, heads, 1 + tokens*width), `targets` by row and head. Of a head it is the
    mean over the rows that have a target which some range can hold."""
    found = [
        (i, k, option)
        for i, row in enumerate(targets)
        for k, ranges in enumerate(row)
        if ranges is not None
        for option in ([1 + first * width + last - first for first, last in ranges if last - first < width] if ranges else [0])
    ]
    rows, heads, options = torch.tensor(found, dtype=torch.long).view(-1, 3).T
    right = torch.zeros(logits.shape, dtype=torch.bool)
    right[rows, heads, options] = True
    told = torch.zeros(logits.shape[:2])
    told[rows, heads] = 1.0
    share = (told / told.sum(0).clamp(min=1)).to(logits.device)
    chosen = logits.masked_fill(~right.to(logits.device), 2 * NEG)
    return ((logits.logsumexp(-1) - chosen.logsumexp(-1)) * share).sum()


def reading_scores(head: Head, logits: Tensor, ranges: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
    """Of a value head's logits (batch, 1 + tokens, 2): (batch, 1 + most ranges), the null option first, masked where there is none."""
    most = max(map(len, ranges), default=0)
    ends = torch.zeros((2, len(ranges), most), dtype=torch.long)
    real = torch.zeros((len(ranges), most), dtype=torch.bool)
    for i, places in enumerate(ranges):
        if places:
            ends[:, i, : len(places)] = 1 + torch.tensor(places).T
            real[i, : len(places)] = True
    ends, real = ends.to(logits.device), real.to(logits.device)
    found = (logits[..., 0].gather(1, ends[0]) + logits[..., 1].gather(1, ends[1])).masked_fill(~real, NEG)
    null = logits[:, :1].sum(-1)
    return torch.cat([null if head.nullable else torch.full_like(null, NEG), found], 1)


def _value_loss(head: Head, logits: Tensor, targets: Sequence[Sequence[tuple[int, int, bool]]]) -> Tensor:
    scores = reading_scores(head, logits, [[(first, last) for first, last, _ in target] for target in targets])
    right = torch.zeros(scores.shape, dtype=torch.bool)
    for i, target in enumerate(targets):
        marks = [mark for _, _, mark in target]
        right[i, : 1 + len(marks)] = torch.tensor([not any(marks), *marks])
    return (scores.logsumexp(-1) - scores.masked_fill(~right.to(scores.device), 2 * NEG).logsumexp(-1)).mean()


def _tag_loss(logits: Tensor, targets: Sequence[list[int]], rows: Sequence[int], words: Tensor) -> Tensor:
    wanted = torch.full(logits.shape[:2], UNTOLD)
    for i, tags in zip(rows, targets):
        wanted[i, : len(tags)] = torch.tensor(tags)
    wanted = wanted.to(logits.device).masked_fill_(~words, UNTOLD)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=UNTOLD)


def _items_loss(head: Head, logits: Tensor, targets: Sequence[Any], rows: Sequence[int], words: Tensor) -> Tensor:
    """Of the tags, and of the fields of all tagged spans."""
    tags, *fields = logits.split([3, *(len(field.values) for field in head.fields)], -1)
    loss = _tag_loss(tags, [target[0] for target in targets], rows, words)
    spans = [(i, *span) for i, target in zip(rows, targets) for span in target[1]]
    for k, scores in enumerate(fields if spans else []):
        pooled = torch.stack([scores[i, first : last + 1].mean(0) for i, first, last, _ in spans])
        wanted = torch.tensor([classes[k] for _, _, _, classes in spans], device=scores.device)
        loss = loss + torch.nn.functional.cross_entropy(pooled, wanted)
    return loss
