"""What is counted of a prompt: each check on words that lower it, and levels at their borders."""

import pytest

from pp_assets.prompts.quality import PromptQuality, prompt_quality, quality_lines
from pp_assets.prompts.sentences import contradictions, repeated, repeated_words, sentences
from pp_assets.task.spec import TaskSpec, parse_spec
from pp_resources.models.bases import MINILM, TINY_BASE, find_base
from pp_resources.models.tokens import token_counter

OUTPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["team", "order_id"],
    "properties": {"team": {"enum": ["sales", "support"]}, "order_id": {"type": ["string", "null"]}},
}
GOOD = "Return one JSON object with team (sales or support) and order_id (copied, or null).\nInput: {{ input_text }}"


def spec(**more: object) -> TaskSpec:
    return parse_spec({"name": "demo", "instruction_template": GOOD, "io_schema": {"output": OUTPUT}, **more}, "demo")


def measured(template: str, system: str = "You route messages of a shop.") -> PromptQuality:
    return prompt_quality(spec(), system, template, token_counter(TINY_BASE))


def share(found: PromptQuality, name: str) -> float:
    return next(check.share for check in (*found.clarity, *found.told) if check.name == name)


def test_a_prompt_that_tells_all_of_it_once_has_full_marks():
    found = measured(GOOD)
    assert (found.clarity_score, found.specificity, found.token_efficiency) == (1.0, "high", "optimal")
    assert found.why("clarity_score") == found.why("specificity") == [] and found.tokens > 20 and found.waste < 0.05


@pytest.mark.parametrize(
    ("template", "check", "finding"),
    [
        (GOOD.replace("order_id", "the id"), "every field is named", "instruction_template: the field order_id is not named"),
        (GOOD.replace("sales or ", ""), "every enum value is told", "instruction_template: team may be 'sales', which is not told"),
        (
            f"Copy what is there.\n{GOOD}\nCopy what is there.",
            "no sentence is said twice",
            "instruction_template:1: said before: 'Copy what is there.'",
        ),
        (
            f"Always copy signs of money.\nNever copy signs of money.\n{GOOD}",
            "no sentence denies another",
            "instruction_template:2: 'Never copy",
        ),
        (f"Answer for {{shop}}.\n{GOOD}", "every reference has an object", "instruction_template:1: left open: {shop}"),
        (f"TODO tell more.\n{GOOD}", "every reference has an object", "instruction_template:1: left open: TODO"),
        (
            f"Fill customer_name as well.\n{GOOD}",
            "every reference has an object",
            "instruction_template:1: the output has no customer_name",
        ),
        (f"Follow the schema below.\n{GOOD}", "every reference has an object", "no schema is shown; write {{ schema }}"),
        (f"{'word ' * 31}end.\n{GOOD}", "sentences are short", "instruction_template:1: a sentence of 32 words; 30 are easy to read"),
        (GOOD.replace(" (copied, or null)", ""), "every field is explained", "instruction_template: nothing says what order_id means"),
        (GOOD.replace("JSON ", ""), "the form of the answer is told", "instruction_template: nothing says that the answer is JSON"),
    ],
)
def test_each_check_names_what_lowers_it_and_where(template, check, finding):
    found = measured(template)
    assert share(found, check) < 1.0 == share(measured(GOOD), check)
    assert any(finding in line for line in quality_lines(found)), quality_lines(found)


@pytest.mark.parametrize(
    "template",
    [
        f"Read <input> with care, the customer's words stand in it.\n{GOOD}",
        GOOD.replace(
            "team (sales or support) and order_id (copied, or null)", "team and order_id (each as told; team is sales or support)"
        ),
        f'{GOOD}\nAn answer: {{"team": "sales", "order_id": null}}',
        f"{GOOD}\nDo not copy the name of the shop. Copy the order.",
    ],
)
def test_what_is_sound_is_not_held_against_a_prompt(template):
    assert measured(template).clarity_score == 1.0, measured(template).why("clarity_score")


def test_a_schema_that_is_shown_tells_names_values_form_and_its_descriptions():
    found = measured("Read the message and fill this schema: {{ schema }}\nInput: {{ input_text }}")
    assert found.clarity_score == 1.0 and found.specificity == "medium", "nothing says what the fields mean"
    described = {**OUTPUT, "properties": {name: {**one, "description": "told"} for name, one in OUTPUT["properties"].items()}}
    words = "Read the message and fill this schema: {{ schema }}\nInput: {{ input_text }}"
    found = prompt_quality(spec(io_schema={"output": described}), "", words, token_counter(TINY_BASE))
    assert found.specificity == "high"


def test_specificity_and_efficiency_have_levels_between():
    assert measured("{{ input_text }}").specificity == "low"
    assert measured("{{ schema }} {{ input_text }}").specificity == "medium"
    again = "Copy the order as it stands in the message of the customer. "
    levels = [measured(f"{again * n}\n{GOOD}") for n in (1, 2, 6)]
    assert [found.token_efficiency for found in levels[:1] + levels[2:]] == ["optimal", "poor"]
    assert levels[0].waste < levels[1].waste < levels[2].waste and any("words that stood before" in why for why in levels[2].wasteful)
    spaced = measured(GOOD.replace(" ", "  "))
    assert spaced.waste > measured(GOOD).waste and any("white space" in why for why in spaced.wasteful)
    both = measured(f"{GOOD}\n{{{{ schema }}}}")
    assert any("enum values that the schema shows too" in why for why in both.wasteful)


def test_a_schema_alone_does_not_say_what_to_do():
    found = measured("{{ schema }} {{ input_text }}", system="")
    assert share(found, "it says in words what to do") == share(found, "sentences are short") == 0.0 and found.clarity_score == 0.75
    assert "instruction_template: no sentence says what to do" in found.why("clarity_score")


def test_a_template_that_does_not_render_has_no_clarity():
    found = measured("Answer {{ input_txt }}")
    assert (found.clarity_score, found.specificity, found.token_efficiency) == (0.0, "low", "poor")
    assert found.why("clarity_score") == ["instruction_template: template variable 'input_txt' does not exist"]


def test_the_words_are_what_is_measured_and_not_those_of_the_spec():
    assert prompt_quality(spec(), "", "{{ input_text }}", token_counter(TINY_BASE)).clarity_score < 0.6
    assert (
        measured(GOOD).tokens
        == prompt_quality(spec(system_prompt="x " * 99), "You route messages of a shop.", GOOD, token_counter(TINY_BASE)).tokens
    )


def test_sentences_are_cut_compared_and_denied():
    assert sentences('1. Copy it. Do not guess!\n- a list\nInput:\n{"a": 1}\n\n') == ["Copy it.", "Do not guess!", "a list"]
    assert repeated(["Copy it as is.", "No.", "copy it, as is", "No."]) == [2]
    assert contradictions(["Copy the tax number.", "Don’t copy the tax number.", "Do not copy the tax number."]) == [(0, 1), (0, 2)]
    assert contradictions(["Copy the tax number.", "Do not copy the name of the shop."]) == []
    assert repeated_words("one two three four five six seven. One two three four five six!") == "one two three four five six"
    assert repeated_words("one two three four five. one two three four five") == ""


@pytest.mark.parametrize("base", [MINILM, TINY_BASE])
@pytest.mark.parametrize("text", ["", "one", "one two " * 200], ids=["empty", "short", "long"])
def test_tokens_are_counted_as_the_base_reads_them_without_a_limit(base: str, text: str) -> None:
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(find_base(base), local_files_only=True)(text, add_special_tokens=False)
    assert token_counter(base)(text) == len(read["input_ids"]) and len(read["input_ids"]) != 128
