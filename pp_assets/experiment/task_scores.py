"""Scorers made from a task: an answer and the output that was expected, judged by the evaluator's own rules."""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import Any

import orjson

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.scoring import Scoring
from pp_assets.evaluation.tables import exact_table, whole_tables
from pp_assets.experiment.ops import Op, op
from pp_assets.pipeline import Pipeline
from pp_assets.sources import source_digest
from pp_resources.models.interface import Prediction
from pp_resources.settings import Settings

# Of these no item has a value of its own: F1 is counted over all items together, and whether a field is quoted is seen in all of them.
NOT_OF_AN_ITEM = ("value_f1", "not_in_input_rate")
_PREDICTION = {f.name for f in fields(Prediction)}


def task_scores(task: Any) -> Op:
    """A scorer with the metrics of a task (its name, or its spec) that an item has a value of: object_exact_match, field_exact_mean,
    json_valid_rate, schema_valid_rate, …, and field_exact.<path> of each field. Its columns are `task.<metric>`.

    It takes the columns `answer` (what `ask` gave, a text, or the parsed output) and `output_json` (the expected one). The mean of a metric
    over items is the number that a report has for the same answers; what cannot be counted for an item is None there and here.
    """
    spec = Pipeline(Settings.from_env()).task(task) if isinstance(task, str) else task
    scoring = Scoring.of(spec)
    rules = {"schema": dict(scoring.schema), "compare": dict(scoring.compare)}
    return replace(score_answer, function=partial(score_answer.function, rules=rules), name="task")


@op(version=lambda: source_digest("pp_assets.experiment.task_scores"), sampled=False)
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
