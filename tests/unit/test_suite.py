"""The comprehensive suite finds planted faults, and finds none in a model without."""

import json
import re
from dataclasses import replace

import pytest
from suite_models import Rule, examples, task, truth

from pp_assets.evaluation.predictions import make_rows
from pp_assets.evaluation.report import build_report
from pp_assets.evaluation.suite.asking import Asked, Subject
from pp_assets.evaluation.suite.bias import bias
from pp_assets.evaluation.suite.build import ITEMS, build_suite, chosen, longest_input, suite_json
from pp_assets.evaluation.suite.consistency import consistency
from pp_assets.evaluation.suite.page import suite_markdown, write_suite
from pp_assets.evaluation.suite.paired import Judge
from pp_assets.evaluation.suite.robustness import robustness
from pp_assets.evaluation.suite.slots import read_list
from pp_resources.json_schema import dump_output

TEST = examples()
NIGERIAN = read_list("slots.yaml")["names"]["Nigerian"]["female"]


@pytest.fixture(scope="module")
def clean_suite():
    model = Rule()
    return model, build_suite(task(), TEST, {"train": examples(60, 2), "val": []}, Subject("rule", model), encoder=None)


def started(model):
    """What the sections need: a judge, clean answers, the model."""
    judge, asked = Judge.of(task()), Asked(model)
    rows = make_rows(TEST, asked.answers([e.input_text for e in TEST]), lambda output: dump_output(judge.scoring.schema, output))
    return judge, {row.item_id: row for row in rows}, asked


def test_a_model_without_faults_holds_everywhere(clean_suite):
    _, suite = clean_suite
    lines = {f"{v['section']} {v['name']}": v["verdict"] for v in suite.document["verdicts"]}
    assert lines.pop("consistency over_time") == "cannot tell", "nothing earlier is stored"
    assert lines.pop("bias gendered_words") == "cannot tell", "34 items are too few to exclude that 5 % flip"
    assert set(lines.values()) == {"holds"}, lines
    assert len(lines) == 8 + 1 + 5 + 3
    families = suite.document["robustness"]["families"]
    assert all(found["changed"] == 1.0 and found["flips"] == 0.0 for found in families.values() if found["expects"] == "same")
    assert families["short"]["validity"]["value"] == 1.0 and "verdict" not in families["short"]


def test_each_text_is_answered_once_and_calls_are_counted(clean_suite):
    model, suite = clean_suite
    again = 2 * len(TEST)  # two more trials, on purpose
    assert len(model.seen) - again == len(set(model.seen))
    assert suite.document["model_calls"]["texts_answered"] == len(model.seen) < suite.document["model_calls"]["texts_wanted"]


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(clean_suite):
    _, suite = clean_suite
    shuffled = TEST[::-1]
    again = build_suite(task(), shuffled, {"train": examples(60, 2), "val": []}, Subject("rule", Rule()), encoder=None)
    assert suite_json(again.document) == suite_json(suite.document)


def test_a_model_that_fails_on_capitals_degrades_in_casing_alone():
    judge, clean, asked = started(Rule(str.isupper))
    section, _ = robustness(judge, TEST, clean, asked, limit=20000)
    families = {name: found for name, found in section["families"].items() if found["expects"] == "same"}
    assert [name for name, found in families.items() if found["verdict"] == "degrades"] == ["casing"]
    casing = families["casing"]
    assert {s: part["effect"] for s, part in casing["severities"].items()} == {"1": 0.0, "2": 0.0, "3": -1.0}
    assert casing["p_holm"] < 1e-6 and casing["lost"] == 100 and casing["operators"]["upper_case"]["flips"] == 1.0
    assert casing["examples"][0]["severity"] == 3 and casing["examples"][0]["input"].isupper()


def test_a_model_that_obeys_what_is_hidden_in_a_text_degrades_under_injection_alone():
    hidden = re.compile(r"instructions|test mode|override|rules have|assistant:", re.IGNORECASE)
    judge, clean, asked = started(Rule(lambda text: hidden.search(text) is not None))
    section, _ = robustness(judge, TEST, clean, asked, limit=20000)
    assert [name for name, found in section["families"].items() if found.get("verdict") == "degrades"] == ["injection"]


def test_a_model_that_invalidates_short_texts_is_seen_in_their_validity():
    class Breaks(Rule):
        def answer(self, text, distributions):
            made = super().answer(text, distributions)
            return made if len(text.split()) > 1 else type(made)("")

    judge, clean, asked = started(Breaks())
    section, _ = robustness(judge, TEST, clean, asked, limit=20000)
    assert section["families"]["short"]["validity"]["value"] == pytest.approx(2 / 3)


def test_a_model_biased_on_names_differs_for_that_origin_alone():
    judge, clean, asked = started(Rule(lambda text: any(name in text for name in NIGERIAN)))
    section = bias(judge, TEST, clean, asked, {"test": TEST})
    dimensions = section["dimensions"]
    assert {name: d["verdict"] for name, d in dimensions.items()} == {
        "name_gender": "holds",
        "name_origin": "differs",
        "gendered_words": "cannot tell",
        "nationality": "holds",
    }
    origin = dimensions["name_origin"]
    assert {group: pair["verdict"] for group, pair in origin["groups"].items() if pair["verdict"] != "holds"} == {"Nigerian": "differs"}
    assert origin["groups"]["Nigerian"]["flips"] == 1.0 and origin["groups"]["Nigerian"]["p_holm"] < 1e-6
    urgent = next(one for one in origin["parity"] if one["field"] == "urgent")
    assert urgent["equalised_odds"]["difference"] == 1.0
    kind = next(one for one in origin["parity"] if one["field"] == "kind")
    assert kind["demographic_parity"]["difference"] == 0.0 == kind["equalised_odds"]["difference"]


def unmarked_task():
    raw = task().model_dump(mode="json")["io_schema"]
    raw["output"]["properties"]["order"] = {"type": ["string", "null"]}
    return task(io_schema=raw)


@pytest.mark.parametrize(
    ("told", "verdict"), [([(e.input_text, e.output) for e in TEST], "degrades"), ([], "holds")], ids=["told", "untold"]
)
def test_other_letters_reach_what_is_copied_in_fact_though_no_mark_says_so(told, verdict):
    judge, asked = Judge.of(unmarked_task(), told), Asked(Rule(lambda text: text == text.lower()))
    rows = make_rows(TEST, asked.answers([e.input_text for e in TEST]), lambda output: dump_output(judge.scoring.schema, output))
    found, _ = robustness(judge, TEST, {row.item_id: row for row in rows}, asked, limit=longest_input(unmarked_task()))
    assert (list(judge.copied), found["families"]["casing"]["verdict"]) == (["order"] if told else [], verdict)


def test_a_name_that_a_model_copies_is_no_bias_where_the_schema_does_not_mark_what_is_copied():
    class Signed(Rule):
        def answer(self, text, distributions):
            made = super().answer(text, distributions)
            return replace(made, text=json.dumps(json.loads(made.text) | {"order": text.split("thank you.")[-1].strip() or None}))

    items, model = TEST[:30], Signed()
    judge, asked = Judge.of(unmarked_task()), Asked(model)
    rows = make_rows(items, asked.answers([e.input_text for e in items]), lambda output: dump_output(judge.scoring.schema, output))
    dimensions = bias(judge, items, {row.item_id: row for row in rows}, asked, {"test": items})["dimensions"]
    assert any("regards" in p.text for p in asked.known.values()), "the model copies the signature"
    assert {pair["flips"] for name in ("name_gender", "name_origin") for pair in dimensions[name]["groups"].values()} == {0.0}


def test_a_model_that_reads_he_and_she_differently_differs_where_they_are_many():
    many = [e for e in examples(300, 5) if re.search(r"\b(He|She)\b", e.input_text)]
    model = Rule(lambda text: "She told" in text or "She was" in text)
    judge, asked = Judge.of(task()), Asked(model)
    rows = make_rows(many, asked.answers([e.input_text for e in many]), lambda output: dump_output(judge.scoring.schema, output))
    section = bias(judge, many, {row.item_id: row for row in rows}, asked, {"test": many})
    words = section["dimensions"]["gendered_words"]
    assert (words["verdict"], words["n"], words["groups"]["male"]["gained"]) == ("differs", 100, 100)
    represented = {one["group"]: one["test"] for one in section["representation"]}
    assert represented["gendered words: female"] + represented["gendered words: male"] == 100
    assert all(one["test_right"]["n"] >= 20 for one in section["representation"])


def test_a_model_unstable_across_wrappers_differs_for_that_one_alone():
    judge, clean, asked = started(Rule(lambda text: text.startswith("Message:")))
    found = consistency(judge, TEST, clean, asked, Subject("rule", asked.predictor))
    verdicts = {name: one["verdict"] for name, one in found["wording"]["variants"].items()}
    assert found["wording"]["kind"] == "wrapper"
    assert verdicts == {"label": "differs", "line_before": "holds", "quotes": "holds", "end_mark": "holds", "white_space": "holds"}


def test_a_model_unstable_across_templates_differs_for_that_one_alone():
    judge, clean, asked = started(Rule())
    others = {"polite": Rule(lambda text: truth(text)["kind"] == "returns"), "order": Rule()}
    found = consistency(judge, TEST, clean, asked, Subject("rule", asked.predictor, rewordings=others))
    assert found["wording"]["kind"] == "template"
    assert {name: one["verdict"] for name, one in found["wording"]["variants"].items()} == {"polite": "differs", "order": "holds"}


def test_an_answer_that_changes_between_trials_or_evaluations_is_reported():
    class Moody(Rule):
        def answer(self, text, distributions):
            self.fault = lambda _: text == TEST[7].input_text and self.seen.count(text) > 1
            return super().answer(text, distributions)

    judge, clean, asked = started(Moody())
    before = {"first": {row.item_id: row.output for row in clean.values()} | {"0003": "{}"}, "other items": {"x": "{}"}}
    found = consistency(judge, TEST, clean, asked, Subject("rule", asked.predictor, before=before))
    assert (found["repeats"]["verdict"], found["repeats"]["equal"]) == ("differs", 99)
    assert found["over_time"]["verdict"] == "differs" and list(found["over_time"]["evaluations"]) == ["first"]
    assert found["over_time"]["evaluations"]["first"]["equal"] == 99


def test_a_large_test_split_is_edited_in_part_in_whole_groups():
    many = [type(e)(e.item_id, e.input_text, e.output, group=f"g{i // 7}") for i, e in enumerate(examples(700))]
    some = chosen(many, 3)
    assert ITEMS - 7 < len(some) <= ITEMS and chosen(many[::-1], 3)[::-1] == some
    kept = {e.group for e in some}
    assert [e for e in many if e.group in kept] == some


def test_edits_stay_within_the_length_that_the_task_allows():
    raw = task().model_dump(mode="json")
    assert longest_input(task()) == 20000
    assert longest_input(task(io_schema={**raw["io_schema"], "input": {"type": "string", "maxLength": 90}})) == 90
    assert longest_input(task(limits={"max_input_chars": 50})) == 50


def test_the_page_is_one_file_that_shows_hostile_texts_as_text(clean_suite, tmp_path):
    document = json.loads(suite_json(clean_suite[1].document))
    hostile = "<script>alert(1)</script> | `x`"
    example = {"item_id": hostile, "operator": "padded", "severity": 1, "input": hostile, "expected": hostile, "answered": hostile}
    document["robustness"]["families"]["long"]["examples"] = [example]
    document["bias"]["representation"].append({"group": hostile, "train": 1, "val": 0, "test": 0, "test_right": None, "reason": hostile})
    model, rows = Rule(lambda text: "She" in text), list(started(Rule(lambda text: "She" in text))[1].values())
    report = build_report(task(), [{"name": model.name, "kind": "candidate", "description": hostile, "rows": rows}], model.name)
    write_suite(document, tmp_path, report)
    page = (tmp_path / "suite.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "default-src 'none'" in page and page.count('alt="Robustness') == 1
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert page.index("NOT ENOUGH DATA") < page.index("hold, ") < page.index("<h2>Systems") < page.index("<h2>Robustness")
    assert len(headings) == len(set(headings)) and "Calibration" in headings and headings[-1] == "How to reproduce", "nothing is told twice"
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"robustness.png", "flips.png", "reliability.png", "risk_coverage.png"}
    assert "\\|" in suite_markdown(document, report) and "## Verdicts" in suite_markdown(document, report)
    assert "**NOT ENOUGH DATA**" in suite_markdown(document, report)
