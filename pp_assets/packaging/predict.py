"""Answers of a package for lines of text: what `pp predict` and the package's own loader call."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema.protocols import Validator

from pp_assets.evaluation.outputs import strict_json
from pp_assets.packaging.layout import SPEC, read_manifest, read_object, unsafe, use_problems
from pp_assets.task.spec import TaskSpec, parse_spec
from pp_resources.errors import UserError
from pp_resources.json_schema import output_validator
from pp_resources.models.interface import Prediction, Predictor
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.training.predictors import Bases

BATCH = 32


@dataclass(frozen=True)
class Package:
    """A package that was found whole and loaded."""

    folder: Path
    spec: TaskSpec
    predictor: Predictor
    inputs: Validator
    outputs: Validator

    def answer(self, texts: Sequence[str], *, distributions: bool = False) -> list[dict[str, Any]]:
        """One record a text: {input_text, output, valid, confidence, fields, latency_ms}; `error` or `warning` where there is something to
        say.

        `output` is the parsed JSON, None when the answer is none; `fields` the confidence of each field by dotted path. With
        `distributions` also `choices`: by path of each field with listed values a list of {value, probability}, the likeliest first. A
        text that is no input of this task gets an error record, in which both are empty.
        """
        wrong = [self._refused(text) for text in texts]
        asked = [text for text, why in zip(texts, wrong) if why is None]
        answers = iter(self.predictor.predict(asked, distributions=distributions))
        records = [_error(text, why) if why is not None else self._record(text, next(answers)) for text, why in zip(texts, wrong)]
        if not distributions:
            for record in records:
                del record["choices"]
        return records

    def _refused(self, text: str) -> str | None:
        limit = self.spec.limits.max_input_chars
        if not text.strip():
            return "the input is empty"
        if len(text) > limit:
            return f"the input has {len(text)} characters, more than the task's limit of {limit}"
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"the input is not UTF-8 text (character {error.start})"
        problem = next(self.inputs.iter_errors(text), None)
        return f"the input breaks the task's input schema: {problem.message[:300]}" if problem else None

    def _record(self, text: str, answer: Prediction) -> dict[str, Any]:
        record = _blank(text) | {"latency_ms": round(answer.latency_ms, 3)}
        try:
            record["output"] = strict_json(answer.text)
        except ValueError as error:
            cut = answer.finish_reason == "length"
            why = "the input is too long for the model, or its answer was cut off" if cut else f"the answer is not JSON ({error})"
            return {**record, "error": why, "answer": answer.text}
        record["confidence"] = None if answer.confidence is None else round(answer.confidence, 6)
        record["fields"] = {path: round(p, 6) for path, p in answer.fields.items()}
        record["choices"] = {
            path: [{"value": choice.value, "probability": round(choice.probability, 6)} for choice in among]
            for path, among in answer.choices.items()
        }
        problem = next(self.outputs.iter_errors(record["output"]), None)
        if problem:
            return {**record, "error": f"the answer breaks the schema: {problem.json_path}: {problem.message[:300]}"}
        record["valid"] = True
        if answer.finish_reason == "length":
            record["warning"] = "the input is longer than the model reads: its end was left out"
        return record


def open_package(path: Path, *, threads: int | None = None, bases: "Bases | None" = None) -> Package:
    """Load a package after checking that its files are as the manifest says and that none that is loaded could run code.

    `threads` as set for the installation by default, the device always; `bases` that others use too. Raises UserError naming the first file
    that is wrong.
    """
    from pp_assets.training.predictors import load_predictor

    path = path.resolve()
    manifest = read_manifest(path)
    problems = unsafe(path) or use_problems(path, manifest)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(problems[0] + more, where=str(path), how="'pp package verify' tells all; get the package again")
    spec = parse_spec(read_object(path / SPEC), str(path / SPEC))
    settings = Settings.from_env()
    predictor = load_predictor(path, spec, threads or settings.threads, settings.device, bases)
    return Package(path, spec, predictor, output_validator(spec.io_schema.input), output_validator(spec.output_schema))


def predict_package(
    path: Path, lines: Iterable[str], *, threads: int | None = None, batch_size: int = BATCH, distributions: bool = False
) -> Iterator[dict[str, Any]]:
    """Answer lines as they come, `batch_size` at a time, in order; records as `Package.answer`. A bad line never ends the stream.

    The package is loaded, and may be refused with a UserError, before the first line is read.
    """
    package = open_package(path, threads=threads)
    return _stream(package, iter(lines), batch_size, distributions)


def record_text(record: dict[str, Any]) -> str:
    """A record as one line of JSON; half surrogate pairs are escaped, since UTF-8 cannot carry them."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(record, allow_nan=False)
    return text


def _stream(package: Package, lines: Iterator[str], batch_size: int, distributions: bool) -> Iterator[dict[str, Any]]:
    while batch := list(islice(lines, batch_size)):
        yield from package.answer([line.removesuffix("\n").removesuffix("\r") for line in batch], distributions=distributions)


def _error(text: str, why: str) -> dict[str, Any]:
    return {**_blank(text[:1000]), "error": why}


def _blank(text: str) -> dict[str, Any]:
    """All that a record has but its last word, `error` or `warning`."""
    return {"input_text": text, "output": None, "valid": False, "confidence": None, "fields": {}, "choices": {}, "latency_ms": 0.0}
