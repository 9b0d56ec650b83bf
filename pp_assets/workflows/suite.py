"""A test suite as a small task, so that everything the evaluation can say of a task is said of it by the same code.

An answer is `{"answer": …}`. Where few different answers are expected, each more than once, they are classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pp_assets.evaluation.metrics import Metric, score_system
from pp_assets.evaluation.outputs import strict_json
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.scoring import Scored, score_rows
from pp_assets.task.examples import Example
from pp_assets.workflows.keys import METRICS
from pp_assets.workflows.schemas import closed
from pp_resources.errors import UserError
from pp_resources.json_schema import output_validator
from pp_resources.models.interface import Prediction

ANSWER = "answer"
MOST_CLASSES = 20
INPUTS = ("input", "input_text", "text", "question")
OUTPUTS = ("expected", "expected_output", "output_json", "output", "label")
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
TEXT = closed({ANSWER: {"type": "string"}})
Row = dict[str, Any]


def rows_of(value: Any, where: str) -> list[Row]:
    """Rows with `id`, `input` and, where there is one, `expected`, from what a file, a variable or a step holds. Raises UserError."""
    if isinstance(value, Mapping):
        if isinstance(value.get("instances"), list):
            return rows_of(value["instances"][0]["rows"], where)
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = value.get("rows") or value.get("cases") or (lists[0] if len(lists) == 1 else None)
    if not isinstance(value, list) or not value:
        raise UserError("holds no rows", where=where, how='give a list such as [{"input": …, "expected": …}]')
    return [_row(i, one, where) for i, one in enumerate(value)]


def _row(i: int, one: Any, where: str) -> Row:
    if isinstance(one, str):
        return {"id": f"{i:05d}", "input": one}
    if not isinstance(one, Mapping):
        raise UserError(f"row {i + 1} is neither text nor an object", where=where, how='such as {"input": …, "expected": …}')
    found = next((name for name in INPUTS if one.get(name) is not None), None)
    if found is None:
        raise UserError(f"row {i + 1} has no input", where=where, how=f"one of {', '.join(INPUTS)}")
    expected = next((one[name] for name in OUTPUTS if one.get(name) is not None), None)
    rest = {k: v for k, v in one.items() if k not in ("id", "raw", found, *OUTPUTS)}
    row = {"id": f"{i:05d}", **rest, "input": text_of(one[found])}
    return row if expected is None else row | {"expected": text_of(expected)}


def text_of(value: Any) -> str:
    """A value as the text that an answer is compared with."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True)
class Suite:
    """Rows that all have an expected answer. `form`: the schema of a structured answer, which is compared as text."""

    name: str
    rows: Sequence[Row]
    seed: int
    form: Mapping[str, Any] | None = None

    @cached_property
    def classes(self) -> list[str]:
        """The expected answers where they are classes, else none."""
        different = sorted({row["expected"] for row in self.rows})
        few = len(different) <= MOST_CLASSES and 2 * len(different) <= len(self.rows)
        return different if few and self.form is None else []

    @property
    def schema(self) -> Mapping[str, Any]:
        return closed({ANSWER: {"enum": self.classes}}) if self.classes else TEXT

    @property
    def asked_form(self) -> Mapping[str, Any]:
        """The form in which a model is asked."""
        return self.schema if self.form is None else self.form

    def spec(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": self.name, "seed": self.seed, "io_schema": {"output": schema}}

    @property
    def examples(self) -> list[Example]:
        return [Example(row["id"], row["input"], {ANSWER: row["expected"]}, group=str(row.get("group") or row["id"])) for row in self.rows]

    def answered(self, predictions: Sequence[Prediction]) -> list[Row]:
        """The rows with what was answered: `output`, None with the `raw` words where it is no such answer."""
        return [{**row, **self._read(one)} for row, one in zip(self.rows, predictions)]

    def _read(self, said: Prediction) -> Row:
        facts = {"latency_ms": round(said.latency_ms, 3), "tokens_out": said.tokens_out, "finish_reason": said.finish_reason}
        try:
            value = strict_json(said.text)
        except ValueError:
            return {"output": None, "raw": said.text, **facts}
        if self.form is not None and output_validator(self.form).is_valid(value):
            return {"output": text_of(value), **facts}
        if self.form is None and isinstance(value, dict) and isinstance(value.get(ANSWER), str):
            return {"output": value[ANSWER], **facts}
        return {"output": None, "raw": said.text, **facts}

    def predictions(self, answered: Sequence[Row]) -> list[PredictionRow]:
        return [
            PredictionRow(
                row["id"],
                str(row.get("group") or row["id"]),
                row["input"],
                _dump(row["expected"]),
                str(row.get("raw", "")) if row["output"] is None else _dump(row["output"]),
                latency_ms=row.get("latency_ms", 0.0),
                tokens_out=row.get("tokens_out", 0),
                finish_reason=row.get("finish_reason", "stop"),
            )
            for row in answered
        ]

    def scored(self, answered: Sequence[Row], *, as_text: bool = False) -> Scored:
        return score_rows(self.spec(TEXT if as_text else self.schema), self.predictions(answered))

    def metrics(self, answered: Sequence[Row], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The metrics by these names, each with n and interval, or None and the reason."""
        from dataclasses import asdict

        found = _Metrics(self, answered)
        return {name: asdict(found.get(METRICS.get(name, name))) for name in names}


class _Metrics:
    """Each family of metrics, computed when one of it is asked for."""

    def __init__(self, suite: Suite, answered: Sequence[Row]) -> None:
        self.suite, self.answered = suite, answered

    def get(self, name: str) -> Metric:
        if name in self.whole:
            return self.whole[name]
        if name in ("accuracy", "precision", "recall", "macro_f1", "roc_auc"):
            if not self.suite.classes:
                return Metric(None, 0, reason="the expected answers are no classes")
            return self._of_classes(name)
        if name in self.texts:
            return Metric(**self.texts[name])
        return Metric(None, 0, reason="no scorer was given for it")

    @cached_property
    def whole(self) -> dict[str, Metric]:
        return score_system(self.suite.spec(self.suite.schema), self.suite.predictions(self.answered))

    @cached_property
    def texts(self) -> dict[str, Any]:
        from pp_assets.evaluation.suite.similarity import TextSimilarity
        from pp_assets.evaluation.suite.wordings import text_metrics
        from pp_resources.models.bases import find_base

        return text_metrics(self.suite.scored(self.answered, as_text=True), TextSimilarity(find_base(ENCODER)))[0]

    def _of_classes(self, name: str) -> Metric:
        from pp_assets.evaluation.suite.classes import class_metrics

        found = class_metrics(self.suite.scored(self.answered), [Prediction("")] * len(self.answered))[0]
        if name in found:
            return Metric(**found[name])
        values = [one[name]["value"] or 0.0 for one in found["classes"] if one["support"]]
        return Metric(sum(values) / len(values), len(self.answered), method=f"mean {name} over the {len(values)} classes that are expected")


def _dump(text: str) -> str:
    return json.dumps({ANSWER: text}, ensure_ascii=False, separators=(",", ":"))
