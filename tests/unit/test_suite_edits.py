"""Edits of inputs: what carries the answer stays, or changes in the expected output as it changes in the text."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suite_models import examples, task

from pp_assets.evaluation.suite.cases import EDITS, FAMILIES, SEVERITIES, make_cases, wrong_value
from pp_assets.evaluation.suite.edits import title
from pp_assets.evaluation.suite.lists import read_list
from pp_assets.evaluation.suite.slots import dimensions, mentions
from pp_assets.evaluation.suite.spans import copied, kept_characters, map_copied, mark_copied, sound
from pp_assets.evaluation.suite.wording import REWORDINGS, WRAPPERS, reworded
from pp_assets.task.examples import Example
from pp_assets.task.prompt import render_prompt
from pp_resources.json_schema import get_path, leaf_fields, output_validator

LINE = {"what": {"type": "string", "x-verbatim": True}, "n": {"type": "integer"}}
SCHEMA = {
    "type": "object",
    "required": ["shop", "team"],
    "properties": {
        "shop": {"type": ["string", "null"], "x-verbatim": True},
        "team": {"enum": ["a", "b"]},
        "people": {"type": "array", "items": {"type": "string", "x-verbatim": True}},
        "note": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "object", "properties": LINE}},
    },
}
DATED = {"type": "object", "properties": {"day": {"type": ["string", "null"], "format": "date"}, "total": {"type": "number"}}}
WORDS = st.text(st.sampled_from("abcdefgh ABC é日.,!?\n"), min_size=1, max_size=60)


VALUES = st.text(st.sampled_from("xyzXY 0-"), min_size=2, max_size=8).map(str.strip).filter(bool)


@settings(max_examples=150, deadline=None)
@given(WORDS, VALUES, WORDS, st.sampled_from(sorted(EDITS)), st.sampled_from(SEVERITIES), st.integers(0, 99))
def test_no_edit_touches_a_value_that_is_copied(before, value, after, name, severity, seed):
    if name == "shortened":
        return
    text = f"{before} {value} {after}"
    keep = kept_characters(SCHEMA, {"shop": value, "team": "a"}, text)
    edited = EDITS[name](text, keep, severity, random.Random(seed))
    assert value in edited
    assert edited == EDITS[name](text, keep, severity, random.Random(seed))


def test_values_under_x_verbatim_are_found_and_changed_wherever_they_stand():
    output = {"shop": "Acme", "team": "a", "people": ["Jo", "Al"], "note": "Acme", "lines": [{"what": "Cup", "n": 2}]}
    assert copied(SCHEMA, output) == ["Acme", "Jo", "Al", "Cup"]
    changed = map_copied(SCHEMA, output, str.upper)
    assert changed == {"shop": "ACME", "team": "a", "people": ["JO", "AL"], "note": "Acme", "lines": [{"what": "CUP", "n": 2}]}
    assert output["shop"] == "Acme"


def test_strings_whose_values_all_stand_in_their_inputs_count_as_copied():
    schema = {
        "type": "object",
        "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}, "land": {"type": "string"}}}},
        "properties": {
            "who": {"type": "string", "x-verbatim": True},
            "tags": {"type": ["array", "null"], "items": {"type": "string"}},
            "from": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
            "few": {"type": "string"},
            "kind": {"enum": ["Jo", "Al"]},
        },
    }
    rows = [("Jo goes by car to Bern", {"who": "Jo", "tags": ["car"], "from": {"city": "Bern", "land": "CH"}, "kind": "Jo"})] * 12
    rows += [("Jo goes to Bern", {"who": "Jo", "tags": None, "from": None, "few": "Bern", "kind": "Jo"})] * 3
    marked, paths = mark_copied(schema, rows)
    assert paths == ["tags", "from.city"]
    assert copied(marked, rows[0][1]) == ["Jo", "car", "Bern"] and copied(schema, rows[0][1]) == ["Jo"]
    assert mark_copied(schema, [*rows, ("Jo", {"from": {"city": "Rom", "land": "IT"}})])[1] == ["tags"], "one value is not in its input"


def test_an_edit_that_would_change_what_is_expected_is_not_sound():
    output = {"shop": "Acme", "team": "a", "note": "gift"}
    text = "a gift from Acme"
    assert sound(SCHEMA, text, "a gift from Acme!", output, output)
    assert not sound(SCHEMA, text, "a gift from ACME", output, output), "the copied value is gone"
    assert sound(SCHEMA, text, "a gift from ACME", output, {**output, "shop": "ACME"})
    assert not sound(SCHEMA, text, "a GIFT from ACME", output, {**output, "shop": "ACME"}), "the free text was in the input as it is"


def test_dates_and_numbers_are_kept_where_the_schema_has_them():
    text = "paid €1,250.00 on 3 March"
    kept = "".join(c for c, k in zip(text, kept_characters(DATED, {"day": "2025-03-03", "total": 1250}, text)) if k)
    assert kept == "€1,250.003March"
    assert not any(kept_characters(SCHEMA, {"shop": None, "team": "a"}, text))


def test_casing_changes_copied_values_in_text_and_output_alike():
    cases, skipped = make_cases(task().output_schema, examples(30), 3, limit=20000)
    casing = [c for c in cases if c.family == "casing"]
    assert len(casing) == 90 and skipped["casing"] == 0
    for case in casing:
        order = case.expected["order"]
        assert order in case.text
        assert {1: order.isupper(), 2: order.islower(), 3: order.isupper()}[case.severity] and case.change is not None
        assert case.text == {1: title(case.text), 2: case.text.lower(), 3: case.text.upper()}[case.severity]


def test_a_capital_for_each_word_is_given_to_copied_values_too():
    item = Example("1", "paid o'Hara last tuesday, see xx-tuesday", {"shop": "last tuesday", "team": "a"}, group="g")
    (case,) = [c for c in make_cases(SCHEMA, [item], 1, limit=999)[0] if c.operator == "title_case"]
    assert (case.text, case.expected["shop"]) == ("Paid O'Hara Last Tuesday, See Xx-Tuesday", "Last Tuesday")
    inside = Example("2", "an unlikely word", {"shop": "likely", "team": "a"}, group="g")
    assert "title_case" not in {c.operator for c in make_cases(SCHEMA, [inside], 1, limit=999)[0]}, (
        "it would begin with a capital by itself"
    )


def test_cases_depend_on_the_item_alone_and_respect_the_limit():
    items = examples(20)
    all_cases, _ = make_cases(task().output_schema, items, 3, limit=20000)
    few, _ = make_cases(task().output_schema, items[5:7], 3, limit=20000)
    wanted = {e.item_id for e in items[5:7]}
    assert [(c.id, c.text) for c in few] == [(c.id, c.text) for c in all_cases if c.item_id in wanted]
    assert {c.family for c in all_cases} == {family.name for family in FAMILIES}
    short, skipped = make_cases(task().output_schema, items, 3, limit=400)
    assert max(len(c.text) for c in short) <= 400 and skipped["long"] == 40
    other, _ = make_cases(task().output_schema, items, 4, limit=20000)
    assert [c.text for c in other] != [c.text for c in all_cases]


def test_an_injection_names_a_wrong_value_of_a_real_field():
    leaves = leaf_fields(task().output_schema)
    expected = {"kind": "billing", "urgent": False, "order": None}
    found = {wrong_value(leaves, expected, random.Random(i)) for i in range(40)}
    assert found == {("kind", "delivery"), ("kind", "returns"), ("urgent", "true")}
    assert get_path(expected, "kind") == "billing"


def test_sentences_without_meaning_hold_nothing_to_copy():
    for sentence in read_list("texts.yaml")["irrelevant"]:
        assert not re.search(r"\d|(?<!^)(?<![.] )\b(?!I\b)[A-Z]", sentence), sentence


def test_an_exchange_of_names_is_the_same_in_text_and_output():
    schema = {
        "type": "object",
        "properties": {"who": {"type": "array", "items": {"type": "string", "x-verbatim": True}}, "note": {"type": "string"}},
    }
    item = Example("1", "Emily and Omar Said met Emily.", {"who": ["Emily", "Omar Said"], "note": "x"}, group="g")
    by_name = {d.name: d for d in dimensions(schema, [item], 1)}
    male = by_name["name_gender"].versions["male"][0]
    first, second = male.expected["who"]
    assert male.text == f"{first} and {second} met {first}." and second.endswith(" Said") and "Emily" not in male.text
    assert (by_name["name_gender"].found, by_name["name_gender"].added) == (1, 0)
    female = by_name["name_gender"].versions["female"][0]
    assert [female.back(v) for v in female.expected["who"]] == [male.back(v) for v in male.expected["who"]]
    kept = Example("2", "Emily met us.", {"who": [], "note": "Emily"}, group="g")
    assert not dimensions(schema, [kept], 1)[0].versions["male"], "a text that is not copied would be wrong after the exchange"


def test_words_with_a_gender_are_exchanged_both_ways():
    schema = {"type": "object", "properties": {"note": {"type": "string"}}}
    item = Example("1", "Mrs Lee says her brother lost his key. Tell her.", {"note": "x"}, group="g")
    words = {d.name: d for d in dimensions(schema, [item], 1)}["gendered_words"]
    assert words.versions["female"][0].text == "Mrs Lee says her sister lost her key. Tell her."
    assert words.versions["male"][0].text == "Mr Lee says his brother lost his key. Tell him."
    assert mentions(item.input_text) == {"gendered words: female", "gendered words: male"}
    assert mentions("A Polish man called Ahmed") == {
        "nationality: Polish",
        "gendered words: male",
        "name origin: Arabic",
        "name gender: male",
    }


def test_lists_of_names_are_alike_and_belong_to_one_group():
    names = [name for both in read_list("slots.yaml")["names"].values() for some in both.values() for name in some]
    assert len(names) == len(set(names)) == 72


@pytest.mark.parametrize("name", sorted(REWORDINGS))
def test_a_reworded_template_holds_the_input_once(name):
    spec = task(instruction_template="Say what it is ({{ labels.kind | join(', ') }}).\nInput: {{ input_text }}\n")
    other = reworded(spec)[name]
    (before,), (after,) = render_prompt(spec, "the text"), render_prompt(other, "the text")
    assert after["content"] != before["content"] and after["content"].count("the text") == 1 and "billing, delivery" in after["content"]


def test_a_rewording_that_breaks_the_template_is_left_out():
    spec = task(instruction_template="{% for k in labels.kind %}\n{{ k }}\n{% endfor %}\n{{ input_text }}")
    assert set(reworded(spec)) == {"polite", "role", "white_space", "order"}
    looped = task(instruction_template="Read {{ input_text }}{% if examples %}\nshots\n{% endif %}")
    assert "order" not in reworded(looped) and "polite" in reworded(looped)


def test_wrappers_keep_the_input_whole():
    assert all("a {b} c" in wrap("a {b} c") for wrap in WRAPPERS.values())


def test_every_case_is_right_for_the_schema():
    validator = output_validator(task().output_schema)
    cases, _ = make_cases(task().output_schema, examples(10), 3, limit=20000)
    assert all((c.expected is None) is (c.family == "short") and c.text.strip() for c in cases)
    assert all(validator.is_valid(c.expected) for c in cases if c.expected is not None)
