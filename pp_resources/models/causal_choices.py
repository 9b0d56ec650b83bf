"""How likely each listed value of a field is: the model's probability of writing it in the place of the one that it chose.

All values of a field are scored behind the same beginning of the answer, each over the canonical tokens of its whole text up to the
character after it: tokens of a value may merge with what follows, and one value may begin like another. The greedy value, chosen token by
token, need not be the likeliest.

Many answers are read together: each once, then the values of all their fields, each behind a copy of the part of its answer that stands
before it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from pp_resources.json_schema import leaf_fields
from pp_resources.models.causal_cache import RowCache, reading_rows
from pp_resources.models.causal_decode import ROOM, passes, read_rows
from pp_resources.models.causal_fields import value_spans
from pp_resources.models.interface import Choice, ranked


@dataclass(frozen=True)
class Alternatives:
    """The values of one field: with each the first `same` tokens of the answer go on by its tail."""

    path: str
    values: list[Any]
    same: int
    tails: list[list[int]]


@dataclass
class Answer:
    """One answer in tokens (the prompt after the prefix included, the end token not), as far as its values need them."""

    tokens: list[int]
    fields: list[Alternatives] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(len(among.tails) for among in self.fields)

    @property
    def slots(self) -> int:
        """Most tokens that a row of it takes."""
        return max(len(self.tokens), *(among.same + len(tail) for among in self.fields for tail in among.tails))


def listed_values(schema: Mapping[str, Any]) -> dict[str, list[Any]]:
    """By path of each field that has more than one listed value."""
    fields = (f for f in leaf_fields(schema) if f.kind in ("enum", "boolean", "const"))
    found = {f.path: [*(f.values or (True, False)), *([None] if f.nullable else [])] for f in fields}
    return {path: values for path, values in found.items() if len(values) > 1}


def alternatives(listed: Mapping[str, list[Any]], tokenizer: Any, suffix: list[int], text: str) -> Answer:
    """What may stand in a compact answer `text` behind the prompt's `suffix` for each of the fields `listed`."""
    made = Answer(suffix + tokenizer(text, add_special_tokens=False)["input_ids"])
    raw = text.encode()
    for path, start, end in value_spans(raw):
        if path not in listed:
            continue
        before, after, written = raw[:start].decode(), raw[end:].decode(), []
        said = [before + json.dumps(value, ensure_ascii=False) for value in listed[path]]
        encoded = tokenizer([words + after for words in said], add_special_tokens=False, return_offsets_mapping=True)
        for words, ids, offsets in zip(said, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            written.append(suffix + [token for token, (first, _) in zip(ids, offsets, strict=True) if first <= len(words)])
        # The last common token is read again with each value, since its logits tell the first tokens apart.
        same = next(i for i, tokens in enumerate(zip(made.tokens, *written, strict=False)) if len({*tokens}) > 1) - 1
        made.fields.append(Alternatives(path, listed[path], same, [ids[same:] for ids in written]))
    made.tokens = made.tokens[: max([1, *(among.same for among in made.fields)])]
    return made


def choices_of(model: Any, prefix: DynamicCache, answers: Sequence[Answer]) -> list[dict[str, list[Choice]]]:
    """By answer and path, the probability of each value, given that it is one of them."""
    found: list[dict[str, list[Choice]]] = [{} for _ in answers]
    # The longest first: neighbours in a pass are of similar length.
    waiting = sorted((i for i, answer in enumerate(answers) if answer.fields), key=lambda i: (-len(answers[i].tokens), i))
    while waiting:
        count = rows = slots = 0
        for i in waiting:
            rows, slots = rows + answers[i].rows, max(slots, answers[i].slots)
            if count and rows * slots > ROOM:
                break
            count += 1
        group, waiting = waiting[:count], waiting[count:]
        logprobs = iter(_logprobs(model, prefix, [answers[i] for i in group]))
        for i in group:
            for among in answers[i].fields:
                each = torch.stack([*islice(logprobs, len(among.tails))])
                found[i][among.path] = ranked(among.values, each.softmax(0).tolist())
    return found


@torch.inference_mode()
def _logprobs(model: Any, prefix: DynamicCache, answers: Sequence[Answer]) -> list[Tensor]:
    """Of every tail, answer by answer and field by field."""
    rows = [(i, among.same, tail) for i, answer in enumerate(answers) for among in answer.fields for tail in among.tails]
    cache = RowCache(prefix, len(rows), max(answer.slots for answer in answers))
    said = torch.tensor([token for _, _, tail in rows for token in tail[1:]], device=model.device)
    parts: list[Tensor] = []
    with reading_rows(model):
        read_rows(model, cache, [answer.tokens for answer in answers])
        # From the last one on: an answer has more than one tail, so that its own row is written over after all copies are made.
        for row in reversed(range(len(rows))):
            cache.move(rows[row][0], row, rows[row][1])
        for logits in passes(model, cache, [tail[:-1] for _, _, tail in rows], every=True):
            wanted, said = said[: len(logits), None], said[len(logits) :]
            parts.append(logits.gather(-1, wanted)[:, 0].float() - logits.float().logsumexp(-1))
    return [part.sum() for part in torch.cat(parts).split([len(tail) - 1 for _, _, tail in rows])]
