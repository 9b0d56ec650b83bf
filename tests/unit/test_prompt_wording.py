"""A wording: what a model reads of it, and what is left of an answer that came with its reasoning."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pp_assets.prompts.applying import literal
from pp_assets.prompts.prompted import ChatTarget, unwrapped
from pp_assets.prompts.wording import Shown, Wording, reasoned_schema
from pp_assets.task.prompt import render_prompt
from pp_assets.task.spec import TaskSpec, load_task
from pp_resources.models.chat import Reply
from pp_resources.models.interface import Prediction
from pp_resources.settings import PROJECT_ROOT

OUTPUT = {"category": "delivery", "priority": "high", "wants_human": False, "order_id": None, "products": []}


@pytest.fixture(scope="module")
def spec() -> TaskSpec:
    return load_task("support-triage", PROJECT_ROOT / "tasks").spec


def test_the_task_s_own_wording_is_the_task_s_prompt(spec: TaskSpec) -> None:
    assert Wording.of(spec).messages(spec, "Where is it?") == render_prompt(spec, "Where is it?")
    shown = Wording(spec.system_prompt, spec.instruction_template, (Shown("late", OUTPUT),))
    assert shown.messages(spec, "Where is it?") == render_prompt(spec, "Where is it?", [Shown("late", OUTPUT)])


def test_wordings_that_read_alike_are_one(spec: TaskSpec) -> None:
    own = Wording.of(spec)
    commented = Wording(own.system, "{# a note of its author #}" + own.template)
    assert commented.digest(spec) == own.digest(spec)
    assert Wording(own.system + " ", own.template).digest(spec) != own.digest(spec)
    assert Wording(own.system, own.template, reasoned=True).digest(spec) != own.digest(spec)


def test_a_reasoned_wording_shows_and_asks_for_steps(spec: TaskSpec) -> None:
    wording = Wording("", "{{ schema }}\n{{ examples }}{{ input_text }}", (Shown("late", OUTPUT, ("It is late.",)),), reasoned=True)
    text = wording.messages(spec, "Where is it?")[0]["content"]
    assert '{"reasoning":["It is late."],"answer":{"category":"delivery"' in text
    validator = Draft202012Validator(wording.schema(spec))
    assert validator.is_valid({"reasoning": ["a"], "answer": OUTPUT})
    assert not validator.is_valid({"answer": OUTPUT}) and not validator.is_valid({"reasoning": [], "answer": {}})


@pytest.mark.parametrize(
    ("template", "kept"),
    [
        ("Say it as {{ schema }}.\n{{ examples }}\nInput: {{ input_text }}", True),
        ("Say it as {{ schema }}: {{ input_text }}", True),
        ("Say it as {{ schema }}.\n{%- if examples %}\nSuch as: {{ examples }}{% endif %}\nInput: {{ input_text }}", False),
    ],
)
@pytest.mark.parametrize("reasoned", [False, True])
def test_examples_are_written_out_and_the_schema_stays_what_the_task_says(
    spec: TaskSpec, template: str, kept: bool, reasoned: bool
) -> None:
    shots = (Shown("a {{ b }} {% c", {"category": "other"}, ("one {# step",)),)
    wording = Wording("Be brief.", template, shots, reasoned)
    made = literal(spec, wording)
    assert not made.shots and made.messages(spec, "hello") == wording.messages(spec, "hello")
    assert ("{{ schema }}" in made.template) is kept


def test_references_find_their_definitions_in_a_reasoned_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["a"], "$defs": {"x": {"type": "integer"}}}
    validator = Draft202012Validator(reasoned_schema(schema))
    assert validator.is_valid({"reasoning": [], "answer": {"a": 1}}) and not validator.is_valid({"reasoning": [], "answer": {"a": "1"}})


def test_the_steps_are_taken_off_an_answer(spec: TaskSpec) -> None:
    wording = Wording("", "{{ input_text }}", reasoned=True)
    said = Prediction(json.dumps({"reasoning": ["one", "two"], "answer": OUTPUT}), 0.5, {"answer.category": 0.9, "reasoning": 0.1})
    bare = unwrapped(said, wording, spec.output_schema)
    assert json.loads(bare.text) == OUTPUT and bare.reasoning == ("one", "two")
    assert bare.fields == {"category": 0.9} and bare.confidence == 0.9, "of the answer alone"
    assert unwrapped(Prediction("no JSON"), wording, spec.output_schema).text == "no JSON"


class Told:
    """A model that says what it was asked."""

    name, identity, price = "told", "told-1", None

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def ask(self, messages: Any, **how: Any) -> Reply:
        return self.ask_all([messages], **how)[0]

    def ask_all(self, asked: Any, **how: Any) -> list[Reply]:
        self.asked.append((asked, how))
        return [Reply(json.dumps({"reasoning": [], "answer": OUTPUT}), 10, 20, False, seconds=0.5) for _ in asked]


def test_a_chat_model_behind_a_wording_is_a_model_to_keep_answers_of(spec: TaskSpec) -> None:
    told = Told()
    target, wording = ChatTarget(told, budget=100), Wording("", "{{ input_text }}", reasoned=True)
    model = target.behind(spec, wording, "reasoned")
    said = model.predict(["a", "b"])
    assert [json.loads(one.text) for one in said] == [OUTPUT, OUTPUT]
    assert (said[0].tokens_in, said[0].tokens_out, said[0].latency_ms) == (10, 20, 500.0)
    [(asked, how)] = told.asked
    assert asked[1] == [{"role": "user", "content": "b"}] and how["schema"] == wording.schema(spec) and how["max_tokens"] == 420
    assert model.identity != target.behind(spec, Wording("", "{{ input_text }}"), "plain").identity
