"""Logits to JSON: the best answer of each field that its schema allows, with its probability."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jsonschema.protocols import Validator
from torch import Tensor

from pp_resources.json_schema import Schema, output_validator
from pp_resources.models.encoder.compile import Head, item_schema
from pp_resources.models.encoder.objects import assemble, place_of
from pp_resources.models.encoder.occurrences import border
from pp_resources.models.encoder.targets import BEGIN, INSIDE, OUTSIDE, reading_scores, token_readings
from pp_resources.models.encoder.tokens import Encoded

TRIED_SPANS = 50


class HeadDecoder:
    """Turns the logits of one head into (value, probability) per row; a value is always one that the head's schema allows."""

    def __init__(self, head: Head, width: int, schema: Schema) -> None:
        self.head, self.width = head, width
        # A part of the whole schema, so that references into it still hold.
        self.validator: Validator = output_validator(schema).evolve(schema=head.schema)
        self.item = place_of(item_schema(schema, head.schema)) if head.kind == "items" else None
        self.empty_is_none = head.nullable and (head.empty_is_null or not self.validator.is_valid([]))

    def decode(self, logits: Tensor, rows: Sequence[Encoded], texts: Sequence[str]) -> list[tuple[Any, float]]:
        # All at once: what follows takes it apart row by row.
        logits, temperature = logits.float().cpu(), self.head.temperature
        if self.head.listing:
            return [(value, p ** (1 / temperature)) for value, p in self._lists(logits, rows, texts)]
        logits = logits / temperature
        if self.head.kind == "choice":
            best = logits.softmax(-1).max(-1)
            return [(self.head.values[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist())]
        return self._readings(logits, rows, texts) if self.head.kind == "value" else self._spans(logits, rows, texts)

    def _lists(self, logits: Tensor, rows: Sequence[Encoded], texts: Sequence[str]) -> list[tuple[Any, float]]:
        if self.head.kind == "flags":
            return [self._flags(row) for row in logits.sigmoid().tolist()]
        decode = self._tags if self.head.kind == "tags" else self._items
        return [decode(scores, row, text) for scores, row, text in zip(logits, rows, texts)]

    def _flags(self, chances: list[float]) -> tuple[list[Any] | None, float]:
        ranked = sorted(range(len(chances)), key=lambda i: -chances[i])
        least = min(self.head.schema.get("minItems", 0), len(ranked))
        most = self.head.schema.get("maxItems", len(ranked))
        if self.empty_is_none and max(chances) <= 0.5:
            least = 0
        chosen = {i for n, i in enumerate(ranked) if n < most and (n < least or chances[i] > 0.5)}
        probability = 1.0
        for i, p in enumerate(chances):
            probability *= p if i in chosen else 1 - p
        return self._none_if_empty([v for i, v in enumerate(self.head.values) if i in chosen]), probability

    def _spans(self, logits: Tensor, rows: Sequence[Encoded], texts: Sequence[str]) -> list[tuple[Any, float]]:
        best = logits.softmax(-1).topk(min(TRIED_SPANS, logits.shape[1]), dim=-1)
        out: list[tuple[Any, float]] = []
        for ranked, scores, row, text in zip(best.indices.tolist(), best.values.tolist(), rows, texts):
            out.append(self._first_allowed(ranked, scores, row, text))
        return out

    def _first_allowed(self, ranked: list[int], scores: list[float], row: Encoded, text: str) -> tuple[Any, float]:
        for place, p in zip(ranked, scores):
            if place == 0:
                if self.head.nullable:
                    return None, p
                continue
            first, more = divmod(place - 1, self.width)
            if first + more < len(row.offsets) and _real(row, first) and _real(row, first + more):
                start, end = row.offsets[first][0], row.offsets[first + more][1]
                value, whole = text[start:end], not self.head.whole_words or (border(text, start) and border(text, end))
                if value and whole and self.validator.is_valid(value):
                    return value, p
        return (None if self.head.nullable else text[: self.head.schema.get("maxLength")]), 0.0

    def _readings(self, logits: Tensor, rows: Sequence[Encoded], texts: Sequence[str]) -> list[tuple[Any, float]]:
        """The value whose places in the text are most probable together: what several places say in several ways is one answer."""
        found = [
            [reading for reading in token_readings(self.head, row, text) if self.validator.is_valid(reading[2])]
            for row, text in zip(rows, texts)
        ]
        scores = reading_scores(self.head, logits, [[(first, last) for first, last, _ in readings] for readings in found])
        out: list[tuple[Any, float]] = []
        for chances, readings in zip(scores.softmax(-1).tolist(), found):
            sums: dict[Any, float] = {None: chances[0]} if self.head.nullable else {}
            for (_, _, value), p in zip(readings, chances[1:]):
                sums[value] = sums.get(value, 0.0) + p
            value, p = max(sums.items(), key=lambda item: item[1], default=(self.head.fallback, 0.0))
            out.append((value, min(p, 1.0)))  # rounded thirds add up to more
        return out

    def _tags(self, scores: Tensor, row: Encoded, text: str) -> tuple[list[str] | None, float]:
        spans, p = self._tagged(scores, row, text)
        values: list[str] = []
        for first, last in spans:
            value = text[row.offsets[first][0] : row.offsets[last][1]]
            if value not in values and self.validator.is_valid([*values, value]):
                values.append(value)
        return self._none_if_empty(values), p

    def _items(self, scores: Tensor, row: Encoded, text: str) -> tuple[list[Any] | None, float]:
        """One object for each copied string; what several places of one string say is averaged."""
        assert self.item
        tags, choices = scores[:, :3], scores[:, 3:]
        spans, p = self._tagged(tags, row, text)
        places: dict[str, list[Tensor]] = {}
        for first, last in spans:
            places.setdefault(text[row.offsets[first][0] : row.offsets[last][1]], []).append(choices[first : last + 1].mean(0))
        values: list[Any] = []
        for name, said in places.items():
            fields, sure = self._chosen(torch.stack(said).mean(0))
            value = assemble(self.item, {self.head.anchor: name, **fields})
            if self.validator.is_valid([*values, value]):
                values.append(value)
                p *= sure
        return self._none_if_empty(values), p

    def _tagged(self, scores: Tensor, row: Encoded, text: str) -> tuple[list[tuple[int, int]], float]:
        """(first token, last token) of each span on the best path through the tags of a row, and the probability of the path."""
        logs = scores.log_softmax(-1).tolist()
        units: list[list[int]] = []  # the tokens that begin and end a span together
        for at in (i for i in range(len(row.offsets)) if _real(row, i)):
            if self.head.whole_words and units and not border(text, row.offsets[at][0]):
                units[-1].append(at)
            else:
                units.append([at])
        rest = {OUTSIDE: OUTSIDE, BEGIN: INSIDE, INSIDE: INSIDE}  # of a unit after its first token
        path, log_p = _best_path([[logs[at][tag] + sum(logs[i][rest[tag]] for i in more) for tag in rest] for at, *more in units])
        spans: list[tuple[int, int]] = []
        for unit, tag in zip(units, path):
            if tag == BEGIN:
                spans.append((unit[0], unit[-1]))
            elif tag == INSIDE:
                spans[-1] = (spans[-1][0], unit[-1])
        return spans, math.exp(log_p)

    def _chosen(self, scores: Tensor) -> tuple[Mapping[str, Any], float]:
        values, sure = {}, 1.0
        for field, logits in zip(self.head.fields, scores.split([len(field.values) for field in self.head.fields])):
            p, best = logits.softmax(-1).max(-1)
            values[field.path] = field.values[int(best)]
            sure *= float(p)
        return values, sure

    def _none_if_empty(self, values: list[Any]) -> list[Any] | None:
        return None if self.empty_is_none and not values else values


def _real(row: Encoded, at: int) -> bool:
    """Whether a token is of the text (not special)."""
    start, end = row.offsets[at]
    return end > start


def _best_path(logs: list[list[float]]) -> tuple[list[int], float]:
    """Most probable tags in which INSIDE only follows BEGIN or INSIDE (Viterbi over three states)."""
    if not logs:
        return [], 0.0
    scores = [logs[0][OUTSIDE], logs[0][BEGIN], float("-inf")]
    back: list[tuple[int, int, int]] = []
    for row in logs[1:]:
        any_before = max(range(3), key=lambda t: scores[t])
        open_before = BEGIN if scores[BEGIN] >= scores[INSIDE] else INSIDE
        back.append((any_before, any_before, open_before))
        scores = [scores[any_before] + row[OUTSIDE], scores[any_before] + row[BEGIN], scores[open_before] + row[INSIDE]]
    tag = max(range(3), key=lambda t: scores[t])
    total, path = scores[tag], [tag]
    for pointers in reversed(back):
        tag = pointers[tag]
        path.append(tag)
    return path[::-1], total
