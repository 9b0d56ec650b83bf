import copy
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from counting import bytes_held, growth, lines_run
from test_eval_predictions import answers, row, spec, system

from pp_assets.evaluation.drawing import left_empty
from pp_assets.evaluation.examples import TEXT_LIMIT, WORST
from pp_assets.evaluation.plots import render_plots
from pp_assets.evaluation.predictions import read_systems, write_systems
from pp_assets.evaluation.report import build_report, report_json, verify_report, write_report
from pp_assets.evaluation.rounding import rounded
from pp_resources.errors import UserError

HOSTILE = '<script src="http://evil.example/x.js">alert(1)</script> & $x_1$ | `a` ]('


def systems(n=120, per_group=3):
    return [
        system("knn", answers(0.7, 2, n, per_group)),
        system("encoder-lora", answers(0.93, 1, n, per_group), "candidate"),
        system("majority", answers(0.3, 3, n, per_group)),
    ]


@pytest.fixture(scope="module")
def report():
    return build_report(spec(), systems(), "encoder-lora", {"hardware": "two cores"})


def test_the_report_compares_with_every_system_and_decides_on_the_best_baseline(report):
    assert [s["name"] for s in report["systems"]] == ["encoder-lora", "knn", "majority"]
    assert list(report["comparisons"]) == ["knn", "majority"]
    assert report["best_baseline"] == report["verdict"]["baseline"] == "knn"
    assert report["verdict"]["label"] == "SHIP"
    assert report["verdict"]["p_value"] == report["comparisons"]["knn"]["p_value"]
    assert (report["items"], report["groups"]) == (120, 40)
    assert any("favours the baseline, so the comparison is conservative" in note for note in report["notes"])
    assert any("120 items form 40 groups" in note for note in report["notes"])


def test_field_tests_are_adjusted_and_worst_examples_show_what_the_baseline_avoids_first(report):
    intent = next(f for f in report["fields"] if f["path"] == "intent")
    assert intent["test"]["p_holm"] == pytest.approx(min(1.0, 5 * intent["test"]["p_value"]), abs=2e-6)
    avoided = [w["sides"]["baseline"]["right"] for w in report["worst"]]
    assert avoided == sorted(avoided, reverse=True)
    for one in report["worst"]:
        assert one["sides"]["candidate"]["wrong_fields"] == ["intent"] and [f["path"] for f in one["fields"]] == ["intent"]


def test_stored_predictions_give_the_same_bytes_again(report, tmp_path):
    write_systems(tmp_path, systems())
    again = build_report(spec(), read_systems(tmp_path)[::-1], "encoder-lora", {"hardware": "two cores"})
    assert report_json(again) == report_json(report)
    shuffled = [{**s, "rows": s["rows"][::-1]} for s in systems()]
    assert verify_report(json.loads(report_json(report)), spec(), shuffled) == []


def test_provenance_is_no_part_of_what_is_recomputed(report):
    assert report["provenance"] == {"hardware": "two cores"}
    assert verify_report({**report, "provenance": {"hardware": "another"}}, spec(), systems()) == []


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("verdict", "label"), "NOT ENOUGH DATA", "verdict.label: the report says 'NOT ENOUGH DATA', the predictions give 'SHIP'"),
        (("systems", 0, "metrics", "object_exact_match", "value"), 0.99, "systems[0].metrics.object_exact_match.value"),
        (("comparisons", "knn", "p_value"), 0.5, "comparisons.knn.p_value"),
        (("items",), 121, "items: the report says 121"),
        (("extra",), 1, "extra: unknown"),
    ],
)
def test_a_changed_number_is_found_and_named(report, place, value, says):
    changed = copy.deepcopy(report)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    found = verify_report(changed, spec(), systems())
    assert len(found) == 1 and says in found[0]


def test_a_changed_prediction_or_seed_is_found(report):
    one = systems()
    one[1]["rows"][0] = replace(one[1]["rows"][0], output="?")
    assert any(line.startswith("systems[0].metrics.json_valid_rate") for line in verify_report(report, spec(), one))
    assert verify_report(report, spec(seed=8), systems())
    assert "cannot be recomputed" in verify_report({**report, "candidate": "encoder-lor"}, spec(), systems())[0]
    short = [{**s, "rows": s["rows"][:-1] if s["name"] == "knn" else s["rows"]} for s in systems()]
    assert "answered different items" in verify_report(report, spec(), short)[0]


def test_every_number_is_finite_and_has_six_decimals_at_most(report):
    def walk(value):
        if isinstance(value, dict):
            return [x for v in value.values() for x in walk(v)]
        if isinstance(value, list):
            return [x for v in value for x in walk(v)]
        return [value]

    numbers = [v for v in walk(report) if isinstance(v, float)]
    assert len(numbers) > 200
    assert all(v == round(v, 6) for v in numbers)
    with pytest.raises(ValueError, match="not finite"):
        rounded({"a": float("nan")})


def test_an_unknown_candidate_is_named_with_the_nearest():
    with pytest.raises(UserError, match="unknown system 'encoder'; did you mean 'encoder-lora'"):
        build_report(spec(), systems(12), "encoder")


def test_without_baselines_there_is_a_report_and_not_enough_data(tmp_path):
    found = build_report(spec(), [system("a", answers(0.9, 1, 20), "candidate")], "a")
    assert (found["verdict"]["label"], found["best_baseline"], found["comparisons"]) == ("NOT ENOUGH DATA", None, {})
    assert found["fields"][0]["baseline_exact"] is None
    assert "no baseline to compare with" in write_report(found, tmp_path)["md"].read_text()


def test_a_candidate_whose_answers_are_all_invalid_is_reported_as_such(tmp_path):
    broken = [replace(r, output='{"intent": NaN}' if i % 2 else "") for i, r in enumerate(answers(0.9, 1, 40))]
    found = build_report(spec(), [system("a", broken, "candidate"), system("b", answers(0.5, 2, 40))], "a")
    assert found["verdict"]["label"] == "DO NOT SHIP"
    assert found["problems"]["a"] == [{"problem": "empty output", "count": 20}, {"problem": "not JSON: NaN is not JSON", "count": 20}]
    paths = write_report(found, tmp_path)
    assert "empty output" in paths["html"].read_text()
    assert "no output was a JSON object" in paths["html"].read_text()


def test_a_perfect_candidate_has_no_worst_examples(tmp_path):
    found = build_report(spec(), [system("a", answers(1.0, 1, 30), "candidate"), system("b", answers(0.5, 2, 30))], "a")
    assert found["worst"] == []
    assert "None: every item is right." in write_report(found, tmp_path)["html"].read_text()


def test_reports_stay_small_whatever_was_said(tmp_path):
    long = [replace(r, output=r.output + "x" * 50_000, input_text=r.input_text + "y" * 50_000) for r in answers(0.5, 1, 60)]
    other = [replace(r, input_text=r.input_text + "y" * 50_000) for r in answers(0.5, 2, 60)]
    found = build_report(spec(), [system("a", long, "candidate"), system("b", other)], "a")
    assert len(found["worst"]) == WORST
    assert max(len(w["sides"]["candidate"]["output"]) for w in found["worst"]) < TEXT_LIMIT + 40
    assert all(path.stat().st_size < 1_500_000 for path in write_report(found, tmp_path).values())


class Page(HTMLParser):
    """Collects tags, and every address a page would load or link to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.headings, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data", "poster")]

    def handle_data(self, data):
        self.text += data
        if self.tags and self.tags[-1] == "h2" and data.strip():
            self.headings.append(data)


def test_the_page_loads_nothing_and_shows_hostile_text_as_text(tmp_path):
    truth = {"intent": "buy", "urgent": True, "order": HOSTILE}
    rows = [row(i, truth, {**truth, "order": HOSTILE + "!"}, input_text=HOSTILE, latency_ms=1.0) for i in range(12)]
    hostile = {**system("a", rows, "candidate"), "description": HOSTILE}
    found = build_report(spec(), [hostile, system("b", [replace(r, output=HOSTILE) for r in rows])], "a", {HOSTILE: HOSTILE})
    text = write_report(found, tmp_path)["html"].read_text()
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert page.addresses and all(a.startswith(("data:image/png;base64,", "#")) for a in page.addresses)
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    assert HOSTILE in page.text


def test_the_page_starts_with_the_verdict_and_holds_every_section(report, tmp_path):
    page = Page(write_report(report, tmp_path)["html"].read_text())
    body = page.text[page.text.index("toy / encoder-lora") :]
    assert body.index("SHIP") < body.index("Systems")
    order = ["Systems", "Comparisons", "Wins, losses and ties", "Fields", "Slices", "Confusion", "Calibration", "Latency", "Worst examples"]
    order += ["All metrics", "Notes", "How to reproduce"]
    assert [a.removeprefix("#") for a in page.addresses if a.startswith("#")] == [re.sub("[^a-z]+", "-", word.lower()) for word in order]
    assert [page.headings.index(word) for word in order] == sorted(page.headings.index(word) for word in order)
    assert page.tags.count("img") == len(render_plots(report))


def test_markdown_tables_survive_bars_and_line_breaks_in_the_data(tmp_path):
    truth = {"intent": "buy", "urgent": True, "order": "a|b\nc"}
    rows = [row(i, truth, truth, input_text="a|b\nc") for i in range(5)]
    found = build_report(spec(), [{**system("a", rows, "candidate"), "description": "x|y"}], "a")
    lines = write_report(found, tmp_path)["md"].read_text().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert tables
    for head, rule in pairwise(tables):
        if rule.startswith("| ---"):
            assert len(re.findall(r"(?<!\\)\|", head)) == len(re.findall(r"(?<!\\)\|", rule))


def test_pictures_are_png_and_equal_for_equal_reports(report):
    first, second = render_plots(report), render_plots(json.loads(report_json(report)))
    assert first == second
    always = {"metrics", "scatter", "effects", "fields", "slices", "reliability", "risk_coverage", "latency"}
    assert set(first) == always | {"confusion.intent", "confusion.urgent"}
    assert all(data.startswith(b"\x89PNG") for data in first.values())
    with left_empty():
        empty = render_plots(report)
    assert {name: data[16:24] for name, data in empty.items()} == {name: data[16:24] for name, data in first.items()}, "width and height"
    assert all(len(empty[name]) < len(data) for name, data in first.items())


@pytest.mark.parametrize("measure", [lines_run, bytes_held])
def test_a_report_of_twice_as_many_items_takes_twice_as_much(measure):
    def built(count):
        many = [system(f"b{i}", answers(0.5 + i / 20, i + 2, count)) for i in range(2)]
        return lambda: build_report(spec(), [*many, system("a", answers(0.9, 1, count), "candidate")], "a")

    assert growth(built, 300, measure) < 2.1


def test_a_report_of_twice_as_many_systems_takes_twice_as_much():
    def built(count):
        many = [system(f"b{i}", answers(0.7, i + 2, 150)) for i in range(count - 1)]
        return lambda: build_report(spec(), [*many, system("a", answers(0.9, 1, 150), "candidate")], "a")

    assert growth(built, 4, lines_run) < 2.1


def test_gates_may_ask_of_the_evaluation_itself_and_the_report_says_which_are_broken():
    rules = [("test_items", ">=", 1000), ("detectable_effect", "<=", 0.9), ("slices_worse", "<=", 0), ("calibration_error", "<=", 0.0)]
    rules += [("tokens_out_mean", "<=", 0), ("tokens_in_mean", "<=", 10)]
    asked = spec(gates=[{"metric": name, "op": op, "value": value} for name, op, value in rules])
    systems = [system("base", answers(0.5, 2, 120)), system("a", answers(0.9, 1, 120), "candidate")]
    report = build_report(asked, systems, "a")
    held = {gate["metric"]: gate["held"] for gate in report["verdict"]["gates"]}
    values = {gate["metric"]: gate["value"] for gate in report["verdict"]["gates"]}
    assert values["test_items"] == 120 and held["test_items"] is False
    assert values["detectable_effect"] == report["comparisons"]["base"]["detectable"] and held["detectable_effect"]
    assert values["slices_worse"] == sum(row["worse"] for row in report["slices"]["rows"])
    assert values["calibration_error"] == report["calibration"][0]["ece"]["value"]
    assert "Gate test_items >= 1000 fails: 120." in report["verdict"]["reasons"]
