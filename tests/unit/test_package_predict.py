"""Answers of a finished package for lines as people and machines send them."""

import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from test_package import package

from pp_assets.packaging.layout import read_manifest, use_problems
from pp_assets.packaging.predict import open_package, predict_package, record_text
from pp_resources.errors import UserError


@pytest.fixture(scope="module")
def opened():
    return open_package(package("encoder-lora").path, threads=2)


def test_records_come_in_order_and_a_bad_line_never_ends_the_stream():
    lines = ["please refund me for order A7\n", "\n", "x" * 201, "forbidden words", "half \ud800", "where is it\r\n"]
    records = list(predict_package(package("encoder-lora").path, lines, threads=2, batch_size=4))
    assert [r["input_text"] for r in records] == [
        "please refund me for order A7",
        "",
        "x" * 201,
        "forbidden words",
        "half \ud800",
        "where is it",
    ]
    good = [records[0], records[5]]
    assert all(r["valid"] and r["output"].keys() == {"topic", "order", "angry"} and 0 < r["confidence"] <= 1 for r in good)
    assert all(set(r) == {"input_text", "output", "valid", "confidence", "fields", "latency_ms"} and r["latency_ms"] > 0 for r in good)
    assert all(list(r["fields"]) == ["topic", "order", "angry"] and min(r["fields"].values()) >= 0 for r in good)
    assert [r["error"] for r in records[1:5]] == [
        "the input is empty",
        "the input has 201 characters, more than the task's limit of 200",
        "the input breaks the task's input schema: 'forbidden words' should not be valid under {'pattern': '^forbidden'}",
        "the input is not UTF-8 text (character 5)",
    ]
    assert all(not r["valid"] and r["output"] is None and r["fields"] == {} for r in records[1:5])
    assert [json.loads(record_text(r)) for r in records] == records and all("\n" not in record_text(r) for r in records)


@pytest.mark.parametrize("variant", ["encoder-lora", "lora-r8"])
def test_every_listed_value_has_its_probability_where_asked_for(variant):
    folder, lines = package(variant).path, ["please refund me for order A7", "", "where is it"]
    plain = list(predict_package(folder, lines, threads=2))
    records = list(predict_package(folder, lines, threads=2, distributions=True))
    for record, other in zip(records, plain):
        choices = record.pop("choices")
        assert {**record, "latency_ms": 0} == {**other, "latency_ms": 0}
        if "error" in record:
            assert choices == {}
            continue
        assert list(choices) == ["topic", "angry"], "the string has no listed values"
        assert {c["value"] for c in choices["topic"]} == {"refund", "delivery", "login"}
        assert [c["value"] for c in choices["angry"]] in ([True, False], [False, True])
        for path, among in choices.items():
            said = [c["probability"] for c in among]
            assert said == sorted(said, reverse=True) and sum(said) == pytest.approx(1, abs=1e-5)
            if variant == "encoder-lora":
                assert (among[0]["value"], said[0]) == (record["output"][path], pytest.approx(record["fields"][path], abs=1e-5))
    assert "error" in records[1] and "error" not in records[0] and "error" not in records[2]


def test_lines_are_answered_as_they_come_and_not_all_read_first():
    read = []

    def endless() -> Iterator[str]:
        while True:
            read.append(1)
            yield "where is it"

    records = list(islice(predict_package(package("encoder-lora").path, endless(), threads=2, batch_size=3), 4))
    assert len(records) == 4 and len(read) == 6


def test_the_answers_are_those_that_were_evaluated(opened):
    golden = [json.loads(line) for line in (opened.folder / "golden.jsonl").read_text().splitlines()]
    records = opened.answer([line["input_text"] for line in golden])
    assert [r["output"] for r in records] == [json.loads(line["output"]) for line in golden]


def test_no_lines_are_no_records(opened):
    assert opened.answer([]) == [] and list(predict_package(opened.folder, [], threads=2)) == []


def test_an_answer_that_is_cut_off_or_breaks_the_schema_says_so(opened):
    from pp_resources.models.interface import Prediction

    def said(text: str, reason: str = "stop") -> dict:
        return opened._record("in", Prediction(text, 0.5, finish_reason=reason))

    assert said('{"topic":"ref', "length")["error"] == "the input is too long for the model, or its answer was cut off"
    assert said("sorry")["error"].startswith("the answer is not JSON") and said("sorry")["answer"] == "sorry"
    wrong = said('{"topic":"pizza","order":null,"angry":true}')
    assert (
        wrong["error"].startswith("the answer breaks the schema: $.topic: 'pizza'")
        and wrong["output"]["topic"] == "pizza"
        and not wrong["valid"]
    )
    cut = said('{"topic":"login","order":null,"angry":true}', "length")
    assert cut["valid"] and cut["warning"] == "the input is longer than the model reads: its end was left out"


def test_what_was_added_counts_only_where_files_are_loaded_from(tmp_path):
    copy = Path(shutil.copytree(package("encoder-lora").path, tmp_path / "copy"))
    (copy / "deploy" / "__pycache__").mkdir()
    (copy / "deploy" / "__pycache__" / "transformers_loader.cpython-311.pyc").write_bytes(b"x")
    assert use_problems(copy, read_manifest(copy)) == []
    (copy / "tokenizer" / "added_tokens.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer/added_tokens\.json: not in the manifest"):
        open_package(copy)


def test_a_damaged_package_is_refused_before_a_line_is_read(tmp_path):
    copy = Path(shutil.copytree(package("encoder-lora").path, tmp_path / "copy"))
    file = copy / "adapter" / "heads.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x00")
    with pytest.raises(UserError, match=r"adapter/heads\.safetensors: changed; 'pp package verify' tells all"):
        predict_package(copy, iter(["x"]))
    with pytest.raises(UserError, match=r"no such folder"):
        predict_package(tmp_path / "nowhere", [])
