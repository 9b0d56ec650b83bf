"""The page of a comparison: its numbers are those of the comparison, and it is one file that loads nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_eval_predictions import answers, row, spec
from test_eval_report import HOSTILE, Page

from pp_assets.evaluation.ab import ab_test, sequential_test
from pp_assets.evaluation.compare import compare_systems, with_holm
from pp_assets.evaluation.comparison import answers_digest, comparison_document
from pp_assets.evaluation.comparison_page import (
    check_files,
    comparison_html,
    comparison_json,
    comparison_markdown,
    write_comparison,
)
from pp_assets.evaluation.head_to_head import head_to_head
from pp_assets.evaluation.metrics import score_system
from pp_resources.errors import UserError

A, B = ("toy/better", answers(0.9, 1, 120, 3)), ("toy/worse", answers(0.6, 2, 120, 3))
FIELDS = ("intent", "urgent", "order", "items", "count")


@pytest.fixture(scope="module")
def document():
    found = head_to_head(spec(), A, B, margin=0.05)
    return comparison_document(spec(), A, B, found, "pp compare toy/better toy/worse --margin 0.05 --report x.html")


@pytest.fixture(scope="module")
def page(document):
    return comparison_html(document)


def test_the_document_holds_the_comparison_and_both_systems(document):
    alone = head_to_head(spec(), A, B, margin=0.05)
    assert {key: document[key] for key in alone} == alone
    for key, (_, rows) in (("a", A), ("b", B)):
        metrics = score_system(spec(), rows)
        assert document["metrics"][key]["field_exact_mean"]["value"] == pytest.approx(metrics["field_exact_mean"].value, abs=1e-6)
        assert document["metrics"][key]["field_exact_mean"]["high"] == pytest.approx(metrics["field_exact_mean"].high, abs=1e-6)
    tests = with_holm([compare_systems(spec(), A[1], B[1], f"field_exact.{path}") for path in FIELDS])
    for field, test in zip(document["fields"], tests):
        assert field["test"]["low"] == pytest.approx(test.low, abs=1e-6) and field["test"]["p_holm"] == pytest.approx(test.p_holm, abs=1e-6)
    assert document["outcomes"]["wins"] == document["wins"] and document["outcomes"]["losses"] == document["losses"]
    assert document["calibration"]["a"]["field"] == "(whole object)" and document["sequential"] is None


def test_the_verdict_is_in_the_words_of_the_comparison(document):
    assert document["verdict"]["label"] == "A IS BETTER" and document["verdict"]["kind"] == "ship"
    assert document["verdict"]["reasons"][0] == document["conclusion"] and "PASS" in document["verdict"]["reasons"][1]
    same = comparison_document(spec(), A, A, head_to_head(spec(), A, A), "pp compare")
    assert (same["verdict"]["label"], same["verdict"]["kind"]) == ("NOT DECIDED", "wait")
    turned = comparison_document(spec(), B, A, head_to_head(spec(), B, A, margin=0.05), "pp compare")
    assert (turned["verdict"]["label"], turned["verdict"]["kind"]) == ("B IS BETTER", "stop")


def test_the_sequential_test_and_the_power_stand_in_it():
    path = sequential_test(spec(), A, B)
    document = comparison_document(spec(), A, B, ab_test(spec(), A, B), "pp ab", path)
    assert document["verdict"]["label"] == "A IS BETTER" and document["sequential"] == path and document["power"] > 0.8
    text = comparison_html(document)
    assert text.count("<img ") == 6 and 'alt="Interval over items revealed"' in text
    assert f"Stopped after {path['needed']} of 120 items: A is better" in text and "interval at all looks" in text
    assert "## Sequential test" in comparison_markdown(document)


def test_the_points_of_the_scatter_are_the_confidences_of_both(document, monkeypatch):
    points = document["confidences"]["points"]
    assert len(points) == document["confidences"]["of"] == 120 and sum(p[2] and not p[3] for p in points) == document["wins"]
    few, without = ("a", A[1][:30]), ("b", [replace(r, confidence=None) for r in B[1][:30]])
    none = comparison_document(spec(), few, without, head_to_head(spec(), few, without), "pp compare")
    assert none["confidences"]["points"] == [] and "no item has a confidence from both systems" in comparison_html(none)
    assert none["calibration"]["b"]["ece"]["value"] is None
    monkeypatch.setattr("pp_assets.evaluation.comparison.POINTS", 20)
    pair = ("a", A[1][:30]), ("b", B[1][:30])
    drawn = [comparison_document(spec(), *pair, head_to_head(spec(), *pair), "pp compare")["confidences"] for _ in range(2)]
    assert len(drawn[0]["points"]) == 20 and drawn[0] == drawn[1] and all(point in points for point in drawn[0]["points"])


def test_answers_are_known_by_their_content_wherever_they_are_stored():
    rows = A[1]
    assert answers_digest(rows) == answers_digest(rows[::-1]) == answers_digest([replace(r, latency_ms=9.0) for r in rows])
    assert answers_digest(rows) != answers_digest([replace(rows[0], output="?"), *rows[1:]])


def test_the_page_begins_with_the_verdict_and_says_how_to_make_it_again(document, page):
    found = Page(page)
    body = found.text[found.text.index("toy / A against B") :]
    order = ["Metrics", "Tests", "Wins, losses and ties", "Fields", "Slices", "Confidences", "How to reproduce"]
    assert found.headings == order and body.index("A IS BETTER") < body.index("Metrics")
    assert "pp compare toy/better toy/worse --margin 0.05 --report x.html" in found.text
    assert document["reproduce"]["answers"]["a"] in found.text and "one-sided bounds" in found.text
    assert found.tags.count("img") == 5
    assert 'class="differs"' in page and 'class="same"' in page, "fields that differ are marked"


def test_hostile_names_and_texts_are_shown_as_text():
    truth = {"intent": "buy", "urgent": True, "order": HOSTILE}
    rows = [row(i, truth, {**truth, "order": HOSTILE + "!"}, input_text=HOSTILE, confidence=0.5) for i in range(24)]
    a, b = (HOSTILE, rows), ("b", [replace(r, output=r.expected) for r in rows])
    document = comparison_document(spec(), a, b, head_to_head(spec(), a, b), f"pp compare {HOSTILE}")
    found = Page(comparison_html(document))
    assert not {"script", "link", "iframe"} & set(found.tags) and HOSTILE in found.text
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in found.addresses)
    assert "\n<script" not in comparison_markdown(document)


def test_each_file_is_written_as_its_suffix_says(document, page, tmp_path):
    files = [tmp_path / "c.html", tmp_path / "c.md", tmp_path / "c.json"]
    check_files(files)
    write_comparison(document, files)
    assert json.loads(files[2].read_text()) == document and files[1].read_text().startswith("# toy: toy/better against toy/worse\n\n**A IS")
    assert files[0].read_text() == page and files[2].read_text() == comparison_json(document)


@pytest.mark.parametrize(
    ("file", "message"),
    [("x.pdf", "what kind of report"), ("x", "what kind of report"), ("none/x.html", "folder does not exist"), ("f.html", "is a folder")],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_computed(tmp_path, file, message):
    (tmp_path / "f.html").mkdir()
    with pytest.raises(UserError, match=message):
        check_files([Path(tmp_path / file)])
