"""Prompts: the input stands once, everything around it is the same for all inputs."""

from dataclasses import dataclass, field

import pytest
from pydantic import ValidationError

from pp_assets.task.prompt import render_prompt, split_prompt, template_fault
from pp_assets.task.spec import TaskSpec

TEAM = {"type": "string", "enum": ["é", "b"]}
OUTPUT = {"type": "object", "required": ["team"], "properties": {"team": TEAM, "id": {"type": ["string", "null"]}}}


@dataclass
class Shot:
    input_text: str
    output: dict = field(default_factory=dict)


def spec(template: str, **fields: object) -> TaskSpec:
    return TaskSpec.model_validate({"name": "t", "instruction_template": template, "io_schema": {"output": OUTPUT}, **fields})


def test_a_prompt_is_system_and_user_text() -> None:
    messages = render_prompt(spec("Text: {{ input_text }}", system_prompt="Be brief."), "hi {{ schema }}")
    assert messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Text: hi {{ schema }}"}]
    assert [m["role"] for m in render_prompt(spec("{{ input_text }}"), "hi")] == ["user"]


def test_the_split_prompt_puts_together_what_the_prompt_holds() -> None:
    task = spec("{{ schema }} {{ labels }}\n{{ examples }}In: {{ input_text }}\nOut:")
    shots = [Shot("one", {"team": "é"})]
    before, after = split_prompt(task, shots)
    assert render_prompt(task, "two", shots)[0]["content"] == before + "two" + after
    assert after == "\nOut:"
    assert '"enum":["é","b"]' in before and '{"team": ["é", "b"]}' in before
    assert 'Input: one\nOutput: {"team":"é","id":null}\n\nIn: ' in before


def test_examples_come_first_where_the_template_does_not_place_them() -> None:
    before, _ = split_prompt(spec("In: {{ input_text }}"), [Shot("one", {"team": "b"})])
    assert before == 'Input: one\nOutput: {"team":"b","id":null}\n\nIn: '
    assert split_prompt(spec("In: {{ input_text }}")) == ("In: ", "")


def test_labels_can_be_looped_over() -> None:
    loop = "{% for name, values in labels.items() %}{{ name }}: {{ values | join(', ') }}\n{% endfor %}"
    before, _ = split_prompt(spec(loop + "{{ input_text }}"))
    assert before == "team: é, b\n"


def test_labels_of_one_field_can_be_named() -> None:
    assert split_prompt(spec("{{ labels.team | join('/') }}: {{ input_text }}"))[0] == "é/b: "
    with pytest.raises(ValidationError, match="'taem'"):
        spec("{{ labels.taem | join('/') }}: {{ input_text }}")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ inputtext }}", "template variable 'inputtext' does not exist"),
        ("{{ input_text }}{{ labels.nothing.at_all }}", "does not render"),
        ("{% for x in [1, 2] %}{{ input_text }}{% endfor %}", "stands 2 times"),
        ("{{ input_text.__class__.__mro__ }}{{ input_text }}", "does not render: access to attribute"),
        ("{{ input_text }}{% for i in range(1000000) %}x{% endfor %}", "does not render: Range too big"),
        ("{{ input_text | reverse }}", "changes or hides input_text"),
        ("{% include 'x' %}{{ input_text }}", "does not render"),
    ],
)
def test_a_template_that_misuses_the_input_is_refused(template: str, text: str) -> None:
    fault = template_fault(template)
    assert fault is not None and text in fault[0]


def test_a_sound_template_has_no_fault() -> None:
    assert template_fault("{% if examples %}{{ examples }}{% endif %}{{ input_text }}") is None
