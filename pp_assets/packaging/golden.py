"""Golden prompts: a few test inputs with the exact answers that were evaluated, to be replayed wherever the package runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pp_assets.evaluation.outputs import strict_json
from pp_assets.evaluation.predictions import PredictionRow
from pp_resources.json_schema import get_path, leaf_fields

COUNT = 8


def choose(rows: Sequence[PredictionRow], schema: Mapping[str, Any], count: int = COUNT) -> list[PredictionRow]:
    """Up to `count` rows that differ as much as possible: each next one shows most values not seen before; ties go to the smaller id."""
    whole = [row for row in rows if row.finish_reason == "stop"]
    left = sorted(whole or rows, key=lambda row: row.item_id)
    lengths = sorted(len(row.input_text) for row in left)
    traits = {row.item_id: _traits(row, schema, lengths) for row in left}
    chosen: list[PredictionRow] = []
    seen: set[str] = set()
    while left and len(chosen) < count:
        best = max(left, key=lambda row: len(traits[row.item_id] - seen))  # the first of equals
        if not traits[best.item_id] - seen and seen:
            seen = set()  # all is shown: begin again among the rest
            continue
        seen |= traits[best.item_id]
        chosen.append(best)
        left.remove(best)
    return chosen


def golden_lines(rows: Iterable[PredictionRow], prompts: Mapping[str, str]) -> str:
    """JSON lines {item_id, input_text, output}, and `prompt` (the whole text a language model reads) where `prompts` has one by item id."""
    made = []
    for row in rows:
        line = {"item_id": row.item_id, "input_text": row.input_text, "output": row.output}
        if row.item_id in prompts:
            line["prompt"] = prompts[row.item_id]
        made.append(json.dumps(line) + "\n")  # ASCII: a model may have emitted half a surrogate pair
    return "".join(made)


def _traits(row: PredictionRow, schema: Mapping[str, Any], lengths: Sequence[int]) -> set[str]:
    try:
        value = strict_json(row.output)
    except ValueError:
        value = None
    found = {f"length {4 * sum(n < len(row.input_text) for n in lengths) // len(lengths)}", f"right {row.output == row.expected}"}
    if not isinstance(value, dict):
        return found | {"no object"}
    for leaf in leaf_fields(schema):
        answer = get_path(value, leaf.path)
        if leaf.kind in ("enum", "boolean"):
            found.add(f"{leaf.path} = {answer}")
        elif isinstance(answer, list):
            found.add(f"{leaf.path} has {min(len(answer), 3)}")
        else:
            found.add(f"{leaf.path} is {'null' if answer is None else 'given'}")
    return found
