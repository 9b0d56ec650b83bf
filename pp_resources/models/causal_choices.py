"""How likely each listed value of a field is: the model's probability of writing it in the place of the one that it chose.

All values of a field are scored behind the same beginning of the answer, each over the canonical tokens of its whole text up to the
character after it: tokens of a value may merge with what follows, and one value may begin like another. The greedy value, chosen token by
token, need not be the likeliest.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from pp_resources.json_schema import leaf_fields
from pp_resources.models.causal_cache import RowCache, reading_rows
from pp_resources.models.causal_decode import read_rows
from pp_resources.models.causal_fields import value_spans
from pp_resources.models.interface import Choice, ranked


@dataclass(frozen=True)
class Alternatives:
    """The values of one field of one answer: `head` are the tokens that all begin with (prompt after the prefix included), `tails` those
    that tell them apart."""

    path: str
    values: list[Any]
    head: list[int]
    tails: list[list[int]]


def alternatives(schema: Mapping[str, Any], tokenizer: Any, suffix: list[int], text: str) -> Iterator[Alternatives]:
    """Of each field with listed values that stands in a compact answer `text`."""
    listed = {
        f.path: [*(f.values or (True, False)), *([None] if f.nullable else [])]
        for f in leaf_fields(schema)
        if f.kind in ("enum", "boolean", "const")
    }
    raw = text.encode()
    for path, start, end in value_spans(raw):
        before, after, written = raw[:start].decode(), raw[end:].decode(), []
        values = listed.get(path, [])
        for value in values:
            said = json.dumps(value, ensure_ascii=False)
            made = tokenizer(before + said + after, add_special_tokens=False, return_offsets_mapping=True)
            last = len(before + said)
            ids = [token for token, (first, _) in zip(made["input_ids"], made["offset_mapping"], strict=True) if first <= last]
            written.append(suffix + ids)
        if len(values) > 1:
            # The last common token is read again with each value, since its logits tell the first tokens apart.
            same = next(i for i, tokens in enumerate(zip(*written, strict=False)) if len({*tokens}) > 1) - 1
            yield Alternatives(path, values, written[0][:same], [ids[same:] for ids in written])


@torch.inference_mode()
def probabilities(model: Any, prefix: DynamicCache, among: Alternatives) -> list[Choice]:
    """The probability of each value, given that it is one of them."""
    tails = among.tails
    cache = RowCache(prefix, len(tails), len(among.head) + max(map(len, tails)))
    with reading_rows(model):
        if among.head:
            read_rows(model, cache, [among.head])
            for row in range(1, len(tails)):
                cache.move(0, row)
        logprobs = read_rows(model, cache, [tail[:-1] for tail in tails], every=True).float().log_softmax(-1)
    said = torch.tensor([token for tail in tails for token in tail[1:]], device=logprobs.device)
    each = logprobs.gather(-1, said[:, None])[:, 0].split([len(tail) - 1 for tail in tails])
    return ranked(among.values, torch.stack([part.sum() for part in each]).softmax(0).tolist())
