"""Stored predictions; also the toy task that the other evaluation tests use."""

import gzip
import json
import random
from types import SimpleNamespace
from typing import Any

import pytest

from pp_assets.evaluation.predictions import PredictionRow, make_rows, read_predictions, read_systems, write_predictions, write_systems
from pp_resources.errors import UserError
from pp_resources.models.interface import Prediction

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["intent", "urgent"],
    "properties": {
        "intent": {"enum": ["buy", "sell", "ask"]},
        "urgent": {"type": "boolean"},
        "order": {"type": ["string", "null"], "x-verbatim": True},
        "items": {"type": "array", "items": {"type": "string"}},
        "count": {"type": ["integer", "null"]},
    },
}


def spec(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "name": "toy", "seed": 7, "io_schema": {"input": {"type": "string"}, "output": SCHEMA}, **changes}


def row(i: int, expected: dict[str, Any], output: Any, group: str | None = None, **more: Any) -> PredictionRow:
    """One item; `output` is an object or raw text."""
    text = output if isinstance(output, str) else json.dumps(output)
    order = expected.get("order") or ""
    asked = more.pop("input_text", f"please {order} item {i}")
    return PredictionRow(f"{i:05d}", group or f"g{i}", asked, json.dumps(expected), text, **more)


def answers(accuracy: float, seed: int, n: int = 200, per_group: int = 1) -> list[PredictionRow]:
    """A system that has the intent right at this rate, on the same items for every seed."""
    truth, luck = random.Random(1), random.Random(seed)
    made = []
    for i in range(n):
        intent, order = truth.choice(["buy", "sell", "ask"]), truth.choice([None, f"A{i}"])
        expected = {"intent": intent, "urgent": truth.random() < 0.3, "order": order, "items": [], "count": None}
        wrong = {**expected, "intent": "ask" if expected["intent"] != "ask" else "buy"}
        said = expected if luck.random() < accuracy else wrong
        made.append(row(i, expected, said, f"g{i // per_group}", confidence=0.5, latency_ms=1.0 + i % 5, tokens_out=4))
    return made


def system(name: str, rows: list[PredictionRow], kind: str = "baseline") -> Any:
    return {"name": name, "kind": kind, "description": f"the {name} system", "rows": rows}


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [*answers(0.8, 1, 5), row(9, {"intent": "buy", "urgent": True}, "ünïcode \ud800 \n half", fields={"intent": 0.25})]
    write_predictions(tmp_path / "a.jsonl.gz", rows)
    assert read_predictions(tmp_path / "a.jsonl.gz") == rows


def test_equal_rows_give_equal_bytes_at_any_time_and_under_any_name(tmp_path, monkeypatch):
    write_predictions(tmp_path / "a.jsonl.gz", answers(0.8, 1, 50))
    monkeypatch.setattr("time.time", lambda: 12345.0)
    write_predictions(tmp_path / "other.jsonl.gz", answers(0.8, 1, 50))
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "other.jsonl.gz").read_bytes()


def test_examples_and_predictions_are_joined_with_numbers_that_survive_storage(tmp_path):
    example = SimpleNamespace(item_id="x", group="g", input_text="hi", output={"intent": "buy"}, source_id="s", meta={})
    answer = Prediction("{}", confidence=1 / 3, fields={"intent": 2 / 3}, latency_ms=1.23456789)
    rows = make_rows([example], [answer], json.dumps)
    write_predictions(tmp_path / "a.jsonl.gz", rows)
    assert read_predictions(tmp_path / "a.jsonl.gz") == rows
    assert (rows[0].confidence, rows[0].latency_ms) == (0.333333, 1.235)
    with pytest.raises(ValueError, match="0 predictions for 1 examples"):
        make_rows([example], [], json.dumps)


def test_systems_keep_their_order_kind_and_description(tmp_path):
    systems = [system("b", answers(0.5, 2, 3)), system("a", answers(0.9, 1, 3), "candidate")]
    write_systems(tmp_path, systems)
    assert read_systems(tmp_path) == systems
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl.gz", "b.jsonl.gz", "systems.json"]


def test_a_system_name_that_is_a_path_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"'\.\./a' is not a name"):
        write_systems(tmp_path, [system("../a", [])])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"item_id": "x"}', "not a prediction row: expected, group, input_text, output missing or unknown"),
        ("[1]", "not a prediction row: list missing or unknown"),
        ("{", "cannot be read"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, text, says):
    path = tmp_path / "a.jsonl.gz"
    write_predictions(path, answers(0.8, 1, 2))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + text.encode() + b"\n"))
    with pytest.raises(UserError, match=r"a\.jsonl\.gz:3") as error:
        read_predictions(path)
    assert says in str(error.value)


def test_a_truncated_or_missing_file_is_a_user_error(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    write_predictions(path, answers(0.8, 1, 50))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(path)
    with pytest.raises(UserError, match="no stored predictions; evaluate the variant again"):
        read_predictions(tmp_path / "none.jsonl.gz")
