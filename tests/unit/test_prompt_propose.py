"""Proposals without a model: template operators keep placeholders, demonstrations are training rows within the budget."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suite_models import SCHEMA, examples, task
from writing_world import World, ground_of, judged, seed_of

from pp_assets.prompts.candidate import Candidate, Ground, Origin
from pp_assets.prompts.propose.operators import OPERATORS, TOGETHER, Operators
from pp_assets.prompts.propose.template import added, ended, instruction, literal, parts, rewritten, sentences, sound
from pp_assets.prompts.wording import Wording
from pp_assets.task.contract.derive import derive
from pp_assets.task.contract.spec import parse_contract
from pp_assets.task.spec import TaskSpec, load_task
from pp_resources.settings import PROJECT_ROOT

PIECES = [
    "Read this. ",
    "Use kind, urgent and order.\n",
    "{{ schema }}\n",
    "{# a note on {{ input_text }} #}",
    '{{ labels.kind | join(". ") }}. ',
    "{% if examples %}Look at these:\n{% endif %}",
    "{% for path in labels %}{{ path }}\n{% endfor %}",
    "{% set mark = '#' %}",
    "{%- raw %} {{ no slot }} {% endraw -%}\n",
    "A brace { or two }} and 50 %}\n",
    "\r\n",
]
INPUTS = ["{{ input_text }}", "Input: {{ input_text }}\nOutput:", "{{- input_text -}}", "{% if labels.kind %}{{ input_text }}{% endif %}"]
templates = st.builds(
    lambda before, shown, slot, after: "".join([*before, shown, slot, *after]),
    st.lists(st.sampled_from(PIECES), max_size=6),
    st.sampled_from(["", "{{ examples }}"]),
    st.sampled_from(INPUTS),
    st.lists(st.sampled_from(PIECES), max_size=2),
)


@pytest.fixture(scope="module")
def spec() -> TaskSpec:
    return task(
        description="Read an order number",
        rubric={"text": "Two readers agree.", "fields": {"kind": {"description": "what the letter {{ says }}"}}},
    )


@pytest.fixture(scope="module")
def ground(spec: TaskSpec) -> Ground:
    train = examples(60)
    return ground_of(None, train, spec, contract=derive(spec, train))


@settings(max_examples=60, deadline=None)
@given(template=templates)
def test_no_operator_breaks_a_template(ground: Ground, template: str) -> None:
    if not sound(ground.spec, template):
        return
    wording = Wording("A system.", template)
    for name, operator in OPERATORS.items():
        made = operator(ground, wording)
        assert sound(ground.spec, made.template), name
        assert "probe (1)" in made.messages(ground.spec, "probe (1)")[-1]["content"]


@settings(max_examples=100, deadline=None)
@given(template=templates, text=st.text("ab {}%#\n\r\ue000\ue001'\"", max_size=30))
def test_what_is_put_in_stands_there_as_text(ground: Ground, template: str, text: str) -> None:
    wording = Wording("", template)
    if not sound(ground.spec, template) or not text.strip() or "\ue000" in text or "\ue001" in text:
        return
    for put in (added, rewritten, ended):
        made = put(ground.spec, wording, f"MARK {literal(text)} END")
        shown = made.messages(ground.spec, "probe")[-1]["content"]
        assert f"MARK {text.replace(chr(13) + chr(10), chr(10)).replace(chr(13), chr(10))} END" in shown and "probe" in shown


@settings(max_examples=60, deadline=None)
@given(template=templates)
def test_parts_and_sentences_lose_nothing(template: str) -> None:
    head, tail = parts(template)
    assert head + tail == template and "".join(sentences(head)) == head


def test_new_instructions_come_before_the_examples_and_the_input() -> None:
    own = load_task("support-triage", PROJECT_ROOT / "tasks").spec
    wording = Wording.of(own)
    more = added(own, wording, "Mind the tone.").prompt(own).before
    assert more.index("Return one JSON") < more.index("Mind the tone.") < more.index("Input:")
    anew = rewritten(own, wording, "Sort it.")
    assert anew.template == "Sort it.\n{{ examples }}Input: {{ input_text }}\n"
    assert instruction(own, anew) == "Sort it." and "billing" in instruction(own, wording)
    assert instruction(own, Wording("", "Say {{ input_text }} again")) == "Say [the input] again"


def test_operators_say_what_the_schema_says(ground: Ground, spec: TaskSpec) -> None:
    own = Wording.of(spec)
    told = OPERATORS["constraints"](ground, own).prompt(spec).before
    assert "- order: the value is copied from the input letter for letter." in told
    assert "- order: null when the input does not say." in told and "- kind: exactly one of its listed values" in told
    assert "- kind: what the letter {{ says }}" in OPERATORS["rubric"](ground, own).prompt(spec).before
    assert OPERATORS["role"](ground, own).system == "You are an expert in this task: Read an order number. You work with care."
    assert OPERATORS["schema"](ground, own).template.count("{{ schema }}") == 1
    assert '- kind is one of ["billing", "delivery", "returns"]' in OPERATORS["labels"](ground, own).prompt(spec).before
    assert OPERATORS["reminder"](ground, own).prompt(spec).after.endswith("the keys kind, urgent, order, and nothing else.")
    assert OPERATORS["contract"](ground, own) == own, "a derived contract asks what the rubric says"
    asked = {"label": "short", "kind": "judge", "description": "Is it short?"}
    written = parse_contract({"dimensions": [{"label": "style", "sub_dimensions": [asked]}]}, "here")
    assert "- Is it short?" in OPERATORS["contract"](replace(ground, contract=written), own).prompt(spec).before
    for name in OPERATORS:
        once = OPERATORS[name](ground, own)
        assert OPERATORS[name](ground, once) == once, f"{name} twice is {name} once"


def test_shorter_drops_what_is_said_twice_and_no_name(ground: Ground) -> None:
    long = "Read the message of the customer.  Give kind, urgent, order.\nThe message of the customer.\n\n\n\nInput: {{ input_text }}"
    short = OPERATORS["shorter"](ground, Wording("", long))
    assert (
        short.template.startswith("Read the message of the customer. Give kind, urgent, order.\n") and "The message" not in short.template
    )
    assert OPERATORS["shorter"](ground, short) == short
    named = "Return kind, urgent, order.\nReturn kind, urgent and the order.\n{{ input_text }}"
    kept = OPERATORS["shorter"](replace(ground, spec=task(instruction_template=named)), Wording("", named)).template
    assert all(name in kept for name in SCHEMA["required"])


def test_operators_propose_with_their_origin_and_repeat(ground: Ground, spec: TaskSpec) -> None:
    parent = judged(World(), spec, seed_of(spec), ground.train[:5])
    made = Operators().propose(ground, [parent], 50, seed=1)
    assert len({one.id for one in made}) == len(made) >= 8
    assert {one.origin.source for one in made} <= {f"operator:{name}" for name in (*OPERATORS, *TOGETHER)}
    assert all(one.origin.parents == (parent.candidate.id,) and one.origin.note for one in made)
    assert made == Operators().propose(ground, [parent], 50, seed=1)
    assert made[:3] == Operators().propose(ground, [parent], 3, seed=1)
    assert [one.id for one in made] != [one.id for one in Operators().propose(ground, [parent], 50, seed=2)]
    assert parent.candidate == Candidate.of(spec, Wording.of(spec), Origin("seed"))
