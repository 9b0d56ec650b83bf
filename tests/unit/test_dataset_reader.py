"""Reading lines: each kind of bad line is refused with its line number and a reason that a person can act on."""

import json
from pathlib import Path

import pytest

from pp_assets.task.lines import read_lines
from pp_assets.task.reader import LineChecker, Rejected, Row, item_id
from pp_assets.task.spec import TaskSpec
from pp_resources.fingerprint import digest

OUTPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["team"],
    "properties": {
        "team": {"type": "string", "enum": ["billing", "returns"]},
        "order": {"type": ["string", "null"], "x-verbatim": True},
        "who": {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string", "x-verbatim": True}}}},
    },
}
GOOD = {"input_text": "Refund A-1 for Ann", "output_json": {"team": "billing"}}


def checker(**fields: object) -> LineChecker:
    base = {"name": "t", "instruction_template": "{{ input_text }}", "io_schema": {"output": OUTPUT}, "limits": {"max_input_chars": 50}}
    return LineChecker(TaskSpec.model_validate(base | fields))


def check(raw: bytes | dict, **fields: object) -> Row | Rejected:
    return checker(**fields).check("data.jsonl", 7, raw if isinstance(raw, bytes) else json.dumps(raw).encode())


def test_a_good_line_becomes_a_row_in_canonical_form() -> None:
    row = check(GOOD | {"meta": {"b": 1}, "source_id": "s1", "negative_examples": [{"team": "returns"}, "no idea"]})
    assert isinstance(row, Row)
    assert row.output_json == '{"team":"billing","order":null}' and row.line == 7 and row.source_id == "s1" and row.meta == '{"b":1}'
    assert row.negative_examples == '[{"team":"returns","order":null},"no idea"]'
    assert row.item_id == digest({"input_text": GOOD["input_text"], "output": {"team": "billing", "order": None}})[:16]


def test_the_item_id_does_not_depend_on_how_the_line_is_written() -> None:
    one = check(b'{"input_text": "\\u0052efund A-1 for Ann", "output_json": {"order": null, "team": "billing"}}')
    two = check(GOOD)
    assert isinstance(one, Row) and isinstance(two, Row) and one.item_id == two.item_id
    assert item_id("x", b"{}", 1) != item_id("x", b"{}")


def test_an_output_may_be_given_as_json_text() -> None:
    row = check(GOOD | {"output_json": '{"team": "billing"}'})
    assert isinstance(row, Row) and row.output_json == '{"team":"billing","order":null}'


BAD = [
    (b'{"input_text": "x", ', "invalid_json", "", "invalid JSON: Expecting property name enclosed in double quotes at column 21"),
    (b'{"input_text": NaN}', "invalid_json", "", "invalid JSON: NaN is not JSON"),
    (b'{"input_text": -Infinity}', "invalid_json", "", "invalid JSON: -Infinity is not JSON"),
    (b'{"meta": {"a": 1e999}}', "invalid_json", "", "invalid JSON: number 1e999 is out of range"),
    (b'{"meta": {"a": 1, "a": 2}}', "duplicate_key", "", "invalid JSON: duplicate key 'a'"),
    (b'{"input_text": "caf\xe9"}', "encoding", "", "not UTF-8: byte 0xe9 at column 20"),
    (b"\xff\xfe{\x00", "encoding", "", "not UTF-8: byte 0xff at column 1"),
    (b"[" * 100_000, "invalid_json", "", "invalid JSON: nested too deeply"),
    (b"[1]", "wrong_type", "", "the line is a list, not an object"),
    (b'"text"', "wrong_type", "", "the line is text, not an object"),
    ({"output_json": {}}, "missing_field", "input_text", "input_text is missing"),
    ({"input_text": "x"}, "missing_field", "output_json", "output_json is missing"),
    (GOOD | {"input_text": None}, "wrong_type", "input_text", "input_text is null, not text"),
    (GOOD | {"input_text": 3}, "wrong_type", "input_text", "input_text is a number, not text"),
    (GOOD | {"input_text": " \n"}, "empty_input", "input_text", "input_text is empty"),
    (GOOD | {"input_text": "x" * 51}, "too_long", "input_text", "input_text has 51 characters, limits.max_input_chars is 50"),
    (GOOD | {"outptu": 1}, "unknown_field", "outptu", "unknown field 'outptu'; did you mean 'output_json'?"),
    (GOOD | {"meta": []}, "wrong_type", "meta", "meta is a list, not an object"),
    (GOOD | {"source_id": 5}, "wrong_type", "source_id", "source_id is a number, not text"),
    (GOOD | {"source_id": ""}, "wrong_type", "source_id", "source_id is empty; leave it out instead"),
    (GOOD | {"output_json": [1]}, "wrong_type", "output_json", "output_json is a list, not an object"),
    (GOOD | {"output_json": "{"}, "invalid_json", "output_json", "output_json is text that is not JSON: Expecting"),
    (GOOD | {"output_json": {"team": "biling"}}, "schema", "output_json.team", "is not one of ['billing', 'returns']; did you mean 'bill"),
    (GOOD | {"output_json": {"team": 1}}, "schema", "output_json.team", "$.team: 1 is not"),
    (GOOD | {"output_json": {}}, "schema", "output_json", "$: 'team' is a required property"),
    (GOOD | {"output_json": {"team": "billing", "x": 1}}, "schema", "output_json", "$: Additional properties are not allowed ('x' was"),
    (
        GOOD | {"output_json": {"team": "billing", "who": {"names": ["Ann", 2]}}},
        "schema",
        "output_json.who.names[1]",
        "$.who.names[1]: 2 is not of type 'string'",
    ),
    (
        GOOD | {"output_json": {"team": "billing", "order": "A-2"}},
        "not_verbatim",
        "output_json.order",
        "$.order: 'A-2' does not occur in input_text",
    ),
    (
        GOOD | {"output_json": {"team": "billing", "who": {"names": ["Ann", "Bob"]}}},
        "not_verbatim",
        "output_json.who.names[1]",
        "$.who.names[1]: 'Bob' does not occur in input_text",
    ),
    (GOOD | {"negative_examples": {}}, "wrong_type", "negative_examples", "negative_examples is an object, not a list"),
    (GOOD | {"negative_examples": [3]}, "wrong_type", "negative_examples[0]", "a negative example is a number, not an object or text"),
    (GOOD | {"negative_examples": [{"team": "billing"}]}, "schema", "negative_examples[0]", "a negative example equals output_json"),
    (b'{"input_text": "\\ud800", "output_json": {"team": "billing"}}', "invalid_json", "", "half a surrogate pair, '\\ud800'"),
    (b'{"\\udfff": 1}', "invalid_json", "", "half a surrogate pair"),
    (GOOD | {"output_json": '{"team": "\\ud800"}'}, "invalid_json", "output_json", "surrogates not allowed"),
    (b'{"input_text": "x", "output_json": {"team": "billing"}, "meta": {"n": 99999999999999999999}}', "invalid_json", "meta", "64-bit"),
]


@pytest.mark.parametrize(("raw", "code", "field", "reason"), BAD, ids=[f"{b[1]}-{i}" for i, b in enumerate(BAD)])
def test_a_bad_line_is_refused_with_its_reason(raw: bytes | dict, code: str, field: str, reason: str) -> None:
    found = check(raw)
    assert isinstance(found, Rejected)
    assert (found.file, found.line, found.code, found.field) == ("data.jsonl", 7, code, field)
    assert reason in found.reason
    assert json.loads(found.as_json())["reason"] == found.reason


def test_the_raw_line_is_kept_and_cut_when_it_is_long() -> None:
    found = check(b'{"input_text": "caf\xe9"')
    assert isinstance(found, Rejected) and found.raw == '{"input_text": "caf\\xe9"'
    long = check(GOOD | {"input_text": "y" * 9000})
    assert isinstance(long, Rejected) and len(long.raw) < 2100 and long.raw.endswith("bytes in all)")


def test_an_input_schema_is_checked_too() -> None:
    schema = {"input": {"type": "string", "pattern": "^Q:"}, "output": OUTPUT}
    found = check(GOOD, io_schema=schema)
    assert isinstance(found, Rejected) and found.code == "input_schema" and "does not match '^Q:'" in found.reason


def test_a_strategy_asks_for_what_it_needs() -> None:
    group = check(GOOD, eval_split={"strategy": "group"})
    assert isinstance(group, Rejected) and group.reason == "source_id is missing; eval_split.strategy 'group' needs it"
    by_time = {"strategy": "time", "time_field": "day"}
    bad = [({}, "meta.day is missing"), ({"day": "soon"}, "'soon' is neither a number nor an ISO 8601 time"), ({"day": True}, "True is")]
    for meta, reason in bad:
        found = check(GOOD | {"meta": meta}, eval_split=by_time)
        assert isinstance(found, Rejected) and reason in found.reason
    row = check(GOOD | {"meta": {"day": "1970-01-02T01:00:00+01:00"}}, eval_split=by_time)
    assert isinstance(row, Row) and row.time == 86400.0


def test_an_output_that_is_valid_once_is_not_trusted_for_another_input() -> None:
    lines = checker()
    output = {"team": "billing", "order": "A-1"}
    assert isinstance(lines.check("f", 1, json.dumps(GOOD | {"output_json": output}).encode()), Row)
    assert isinstance(lines.check("f", 2, json.dumps({"input_text": "no order", "output_json": output}).encode()), Rejected)


def test_lines_are_numbered_and_may_end_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xef\xbb\xbf{}\r\n\n" + b"x" * 100 + b"\nlast \xe2\x80\xa8 line")
    monkeypatch.setattr("pp_assets.task.lines.MAX_LINE_BYTES", 40)
    lines = list(read_lines(file))
    assert [(number, len(raw)) for number, raw in lines] == [(1, 2), (2, 0), (3, 41), (4, 13)]
    found = checker().check("a.jsonl", 3, lines[2][1])
    assert isinstance(found, Rejected) and found.code == "too_long" and "the line is longer than" in found.reason
