"""An answer and the output that was expected, judged by the evaluator's own rules: the metrics that a single item has a value of."""

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import orjson

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.tables import exact_table, whole_tables
from pp_assets.experiment.ops import op
from pp_assets.sources import source_digest
from pp_resources.models.interface import Prediction

# Of these no item has a value of its own: F1 is counted over all items together, and whether a field is quoted is seen in all of them.
NOT_OF_AN_ITEM = ("value_f1", "not_in_input_rate")
_PREDICTION = {f.name for f in fields(Prediction)}


@op(version=lambda: source_digest("pp_assets.experiment.item_scores"), sampled=False)
def score_answer(answer: Any, output_json: Any, *, rules: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics of one item by `rules`: the output `schema`, and how to `compare` each field.

    Raises UserError for an expected output that the schema does not allow.
    """
    reader = _reader(orjson.dumps(rules))
    said, ended = _text(answer)
    row = PredictionRow("", "", "", _dump(output_json), said, finish_reason=ended or "stop")
    told, truth = [reader.read(said)], [reader.expected(row.expected, "output_json")]
    tables = whole_tables([row], told, truth, reader.fields)
    tables |= {f"field_exact.{leaf.path}": exact_table(leaf, told, truth) for leaf in reader.fields}
    unknown = () if ended else ("length_stop_rate",)
    wanted = {name: table for name, table in tables.items() if name not in (*NOT_OF_AN_ITEM, *unknown)}
    return {name: float(table.value(table.counts[0])) if table.counts[0, 1] else None for name, table in wanted.items()}


def _text(answer: Any) -> tuple[str, str | None]:
    """The text of an answer and how it ended, where that is known. A parsed output is written as JSON; none at all is no JSON."""
    if isinstance(answer, Mapping) and answer.keys() == _PREDICTION:
        return str(answer["text"]), str(answer["finish_reason"])
    if answer is None:
        return "", None
    return _dump(answer), None


def _dump(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@lru_cache(maxsize=8)
def _reader(rules: bytes) -> OutputReader:
    return OutputReader(**orjson.loads(rules))
