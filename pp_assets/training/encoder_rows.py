"""What an encoder is trained on: rows as tokens and targets, what they teach, and batches of them."""

import random
from collections.abc import Sequence
from typing import Any

from pp_assets.task.examples import Example
from pp_assets.training.supcon import in_pairs
from pp_resources.errors import UserError
from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.targets import target_of
from pp_resources.models.encoder.tokens import Encoded
from pp_resources.models.encoder.windows import encode_long

MIN_WIDTH, MAX_WIDTH = 4, 48  # tokens a span may have; the longest gold span decides in between
BUCKET_BATCHES = 8  # batches sorted by length together: less padding, still shuffled


def encode_rows(
    tokenizer: Any, plan: Sequence[Head], examples: Sequence[Example], max_tokens: int
) -> tuple[list[Encoded], list[list[Any]]]:
    """The tokens of each row, and its targets by head; None where a row has nothing for a head to learn."""
    texts = [row.input_text for row in examples]
    rows = encode_long(tokenizer, texts, max_tokens) if texts else []
    return rows, [[target_of(head, row, e.input_text, e.output) for head in plan] for row, e in zip(rows, examples)]


def label_report(plan: Sequence[Head], rows: Sequence[Encoded], targets: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Share of rows that teach each field, and the longest span; a field that no row teaches is a UserError."""
    taught = {head.path: sum(_teaches(head, t[k]) for t in targets) for k, head in enumerate(plan)}
    for path, count in taught.items():
        if not count:
            raise UserError(
                "no training row has a value that can be learnt",
                where=f"field {path!r}",
                how="check that its values are copied from the input",
            )
    spans = [last - first + 1 for t in targets for head, value in zip(plan, t) if head.kind == "span" for first, last in value or []]
    shares = {path: round(count / len(rows), 6) for path, count in taught.items()}
    cut = sum(row.truncated for row in rows)
    return {"rows": len(rows), "rows_cut": cut, "trained_share": shares, "longest_span_tokens": max(spans, default=0)}


def span_width(longest: int) -> int:
    """How many tokens a span head considers, from the longest gold span."""
    return min(max(MIN_WIDTH, longest + 2), MAX_WIDTH)


def make_batches(rows: Sequence[Encoded], size: int, draw: random.Random, classes: Sequence[int | None] | None = None) -> list[list[int]]:
    """Row indexes: shuffled by `draw`, sorted by length within buckets, batches shuffled again. With `classes`, one a row, those of one
    class come in pairs."""
    order = list(range(len(rows)))
    draw.shuffle(order)
    units, bucket = [[row] for row in order], size * BUCKET_BATCHES
    if classes is not None:
        units, bucket = in_pairs(order, classes, draw), bucket // 2
    chosen = []
    for start in range(0, len(units), bucket):
        like = sorted(units[start : start + bucket], key=lambda unit: (max(len(rows[i].ids) for i in unit), unit))
        chosen += [row for unit in like for row in unit]
    # As many in every epoch, however the rows pair up: the cosine counts on it.
    out = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    draw.shuffle(out)
    return out


def _teaches(head: Head, target: Any) -> bool:
    """Whether a row's target moves the head: it has one, and no span head reaches further than MAX_WIDTH."""
    return target is not None and (head.kind != "span" or not target or any(last - first < MAX_WIDTH for first, last in target))
