"""Checks JSONL against a task, one line at a time: each becomes a Row or a Rejected with its reason, none is skipped."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from jsonschema.exceptions import best_match

from pp_assets.task.lines import Fault, parse_line, shorten
from pp_assets.task.spec import TaskSpec
from pp_assets.task.spec_file import strict_json
from pp_resources.errors import nearest
from pp_resources.json_schema import canonical_output, get_path, leaf_fields, mentions_verbatim, not_verbatim, output_validator

FIELDS = ("input_text", "output_json", "meta", "negative_examples", "source_id")
_CACHED_OUTPUTS = 50_000
_KINDS: dict[Any, str] = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
_KINDS |= dict.fromkeys((int, float), "a number")


@dataclass(frozen=True, slots=True)
class Row:
    """One valid line. `output_json` is canonical compact JSON, `meta` and `negative_examples` are JSON texts.

    `stratum` is the value that the split is stratified by (JSON text), `time` seconds since 1970 for the strategy "time"; else "" and 0.
    """

    line: int
    item_id: str
    input_text: str
    output_json: str
    source_id: str | None
    meta: str
    negative_examples: str | None
    stratum: str
    time: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """One line for the quarantine: `code` is the kind of fault (counted in the report), `raw` the start of the line."""

    file: str
    line: int
    code: str
    field: str
    reason: str
    raw: str

    def as_json(self) -> bytes:
        return orjson.dumps({name: getattr(self, name) for name in ("file", "line", "code", "field", "reason", "raw")}) + b"\n"


class LineChecker:
    """Checks lines against one spec. Not for sharing between threads: it remembers outputs that were found valid."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._schema = spec.output_schema
        self._output = output_validator(self._schema)
        # The plain default needs no validator: the type is checked anyway.
        self._input = output_validator(spec.io_schema.input) if spec.io_schema.input != {"type": "string"} else None
        self._verbatim = mentions_verbatim(self._schema)
        self._stratify_by = stratify_field(spec)
        self._valid: dict[bytes, tuple[str, dict[str, Any]]] = {}

    def check(self, file: str, line: int, raw: bytes, *, to_split: bool = True) -> Row | Rejected:
        """The row of a line, or why there is none. `to_split`: the row must carry what the split strategy needs."""
        try:
            return self._row(line, parse_line(raw), to_split)
        except Fault as fault:
            return Rejected(file, line, fault.code, fault.field, fault.reason, shorten(raw))

    def _row(self, line: int, value: Any, to_split: bool) -> Row:
        if not isinstance(value, dict):
            raise Fault("wrong_type", "", f"the line is {_kind(value)}, not an object")
        for name in value:
            if name not in FIELDS:
                raise Fault("unknown_field", name, f"unknown field {name!r}; {nearest(name, FIELDS)}")
        text = self._input_text(value)
        key, output_json, output = self._checked_output(value)
        if self._verbatim:
            for path, found in not_verbatim(self._schema, output, text):
                raise Fault("not_verbatim", f"output_json{path[1:]}", f"{path}: {found[:80]!r} does not occur in input_text")
        meta = _typed(value, "meta", dict, {})
        source = _typed(value, "source_id", str, None)
        if source == "":
            raise Fault("wrong_type", "source_id", "source_id is empty; leave it out instead")
        if to_split and source is None and self._spec.eval_split.strategy == "group":
            raise Fault("missing_field", "source_id", "source_id is missing; eval_split.strategy 'group' needs it")
        return Row(
            line=line,
            item_id=item_id(text, key),
            input_text=text,
            output_json=output_json,
            source_id=source,
            meta=_dump(meta, "meta").decode(),
            negative_examples=self._negatives(value, output),
            stratum=_dump(get_path(output, self._stratify_by), "output_json").decode() if self._stratify_by else "",
            time=self._time(meta) if to_split else 0.0,
        )

    def _input_text(self, value: Mapping[str, Any]) -> str:
        if "input_text" not in value:
            raise Fault("missing_field", "input_text", "input_text is missing")
        text: str = _typed(value, "input_text", str, "")
        if not text.strip():
            raise Fault("empty_input", "input_text", "input_text is empty")
        limit = self._spec.limits.max_input_chars
        if len(text) > limit:
            raise Fault("too_long", "input_text", f"input_text has {len(text)} characters, limits.max_input_chars is {limit}")
        if self._input is not None and (error := best_match(self._input.iter_errors(text))) is not None:
            raise Fault("input_schema", "input_text", f"input_text: {error.message[:300]}")
        return text

    def _checked_output(self, value: Mapping[str, Any]) -> tuple[bytes, str, dict[str, Any]]:
        """(canonical bytes with sorted keys, canonical text in schema order, the object), valid under the output schema."""
        if "output_json" not in value:
            raise Fault("missing_field", "output_json", "output_json is missing")
        given = value["output_json"]
        if isinstance(given, str):
            # Some exports hold the object as JSON text: the same strict reading applies to it.
            try:
                given = strict_json(given)
            except (ValueError, RecursionError) as error:
                raise Fault("invalid_json", "output_json", f"output_json is text that is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise Fault("wrong_type", "output_json", f"output_json is {_kind(given)}, not an object")
        seen = _dump(given, "output_json")
        if (known := self._valid.get(seen)) is not None:
            output_json, output = known
        else:
            self._validate(given)
            output = canonical_output(self._schema, given)
            if output != given:
                self._validate(output)
            output_json = json.dumps(output, ensure_ascii=False, separators=(",", ":"))
            if len(self._valid) < _CACHED_OUTPUTS:
                self._valid[seen] = output_json, output
        return orjson.dumps(output, option=orjson.OPT_SORT_KEYS), output_json, output

    def _validate(self, output: dict[str, Any]) -> None:
        if self._output.is_valid(output):
            return
        error = best_match(self._output.iter_errors(output))
        if error is None:
            return
        hint = ""
        if error.validator == "enum" and isinstance(error.instance, str) and isinstance(error.validator_value, list):
            hint = f"; {nearest(error.instance, [v for v in error.validator_value if isinstance(v, str)])}"
        raise Fault("schema", f"output_json{error.json_path[1:]}", f"{error.json_path}: {error.message[:300]}{hint}")

    def _negatives(self, value: Mapping[str, Any], output: dict[str, Any]) -> str | None:
        given = _typed(value, "negative_examples", list, None)
        if given is None:
            return None
        found = []
        for i, negative in enumerate(given):
            if not isinstance(negative, dict | str):
                raise Fault("wrong_type", f"negative_examples[{i}]", f"a negative example is {_kind(negative)}, not an object or text")
            wrong = canonical_output(self._schema, negative)
            if wrong == output:
                raise Fault("schema", f"negative_examples[{i}]", "a negative example equals output_json")
            found.append(wrong)
        return _dump(found, "negative_examples").decode()

    def _time(self, meta: Mapping[str, Any]) -> float:
        key = self._spec.eval_split.time_field
        if key is None:
            return 0.0
        if key not in meta:
            raise Fault("missing_field", f"meta.{key}", f"meta.{key} is missing; eval_split.strategy 'time' needs it")
        try:
            return _seconds(meta[key])
        except (ValueError, OverflowError) as error:
            raise Fault("wrong_type", f"meta.{key}", f"meta.{key}: {meta[key]!r} is neither a number nor an ISO 8601 time") from error


def item_id(input_text: str, output: bytes, occurrence: int = 0) -> str:
    """First 16 hex digits of the SHA-256 of canonical {input_text, output}.

    `output` is canonical JSON with sorted keys. `occurrence` tells equal rows of a given official split apart (0 is the plain id).
    """
    head = orjson.dumps(input_text)
    tail = f',"occurrence":{occurrence}'.encode() if occurrence else b""
    return hashlib.sha256(b'{"input_text":' + head + tail + b',"output":' + output + b"}").hexdigest()[:16]


def stratify_field(spec: TaskSpec) -> str | None:
    """The output field that splits are stratified by, None when they are not."""
    split = spec.eval_split
    if split.stratify_by is None and split.strategy == "stratified":
        return next(f.path for f in leaf_fields(spec.output_schema) if f.kind in ("enum", "boolean"))
    return split.stratify_by


def _typed(value: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    found = value.get(name, default)
    if found is default or isinstance(found, kind):
        return found
    if found is None and name != "input_text":
        return default
    raise Fault("wrong_type", name, f"{name} is {_kind(found)}, not {_KINDS[kind]}")


def _dump(value: Any, field: str) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as error:  # an integer beyond 64 bits, or half a surrogate pair in output_json given as text
        raise Fault("invalid_json", field, f"{field}: {error}") from error


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(value)
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _kind(value: Any) -> str:
    return _KINDS[type(value)]
