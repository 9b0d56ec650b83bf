"""Logits to JSON: the best answer of each field that its schema allows, with its probability."""

import math
from collections.abc import Sequence
from typing import Any

from jsonschema.protocols import Validator
from torch import Tensor

from pp_resources.json_schema import Schema, output_validator
from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.targets import BEGIN, INSIDE, OUTSIDE
from pp_resources.models.encoder.tokens import Encoded

TRIED_SPANS = 50


class HeadDecoder:
    """Turns the logits of one head into (value, probability) per row; a value is always one that the head's schema allows."""

    def __init__(self, head: Head, width: int, schema: Schema) -> None:
        self.head, self.width = head, width
        # A part of the whole schema, so that references into it still hold.
        self.validator: Validator = output_validator(schema).evolve(schema=head.schema)
        self.empty_is_none = head.nullable and (head.empty_is_null or not self.validator.is_valid([]))

    def decode(self, logits: Tensor, rows: Sequence[Encoded], texts: Sequence[str]) -> list[tuple[Any, float]]:
        match self.head.kind:
            case "choice":
                best = logits.softmax(-1).max(-1)
                return [(self.head.values[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist())]
            case "flags":
                return [self._flags(row) for row in logits.sigmoid().tolist()]
            case "tags":
                return [self._tags(logits[i].log_softmax(-1), row, text) for i, (row, text) in enumerate(zip(rows, texts))]
            case _:
                return self._spans(logits, rows, texts)

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
                value = text[row.offsets[first][0] : row.offsets[first + more][1]]
                if value and self.validator.is_valid(value):
                    return value, p
        return (None if self.head.nullable else text[: self.head.schema.get("maxLength")]), 0.0

    def _tags(self, logs: Tensor, row: Encoded, text: str) -> tuple[list[str] | None, float]:
        real = [i for i in range(len(row.offsets)) if _real(row, i)]
        path, log_p = _best_path([logs[i].tolist() for i in real])
        values: list[str] = []
        at = 0
        while at < len(path):
            if path[at] == BEGIN:
                last = at
                while last + 1 < len(path) and path[last + 1] == INSIDE:
                    last += 1
                value = text[row.offsets[real[at]][0] : row.offsets[real[last]][1]]
                if value not in values and self.validator.is_valid([*values, value]):
                    values.append(value)
                at = last
            at += 1
        return self._none_if_empty(values), math.exp(log_p)

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
