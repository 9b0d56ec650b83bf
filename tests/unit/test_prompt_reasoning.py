"""Steps of a reasoning: read off rows by code, and checked."""

import json

import pytest

from pp_assets.prompts.reasoning import checks
from pp_assets.prompts.reasoning.arithmetic import numbers, sums
from pp_assets.prompts.reasoning.checks import StepChecker, by_reason
from pp_assets.prompts.reasoning.extract import Extractor, extracted
from pp_assets.prompts.wording import MOST_STEPS, STEP_CHARS
from pp_assets.task.examples import Example
from pp_assets.task.spec import load_task
from pp_resources.settings import PROJECT_ROOT

SCHEMA = {
    "type": "object",
    "properties": {
        "topic": {"enum": ["billing", "delivery", "other"]},
        "urgent": {"type": "boolean"},
        "order_id": {"type": ["string", "null"]},
        "total": {"type": ["number", "null"]},
        "parts": {"type": "array", "items": {"type": "string"}},
    },
}
TEXT = "Order AB-7 is late. Two parcels of 12.50 and 3.20, I need the Blue Mug today."
OUTPUT = {"topic": "delivery", "urgent": True, "order_id": "AB-7", "total": 15.7, "parts": ["Blue Mug"]}
STEPS = (
    '"late" tells of delivery, so topic is delivery.',
    'It is wanted "today", so urgent is true.',
    'The text says "Order AB-7", so order_id is "AB-7".',
    "12.50 + 3.20 = 15.70, so total is 15.7.",
    'It names "Blue Mug".',
)


def faults(*changed: tuple[int, str], text: str = TEXT, output: object = OUTPUT) -> list[checks.Fault]:
    steps = list(STEPS)
    for place, step in changed:
        steps[place] = step
    return StepChecker(SCHEMA).faults(text, output, steps)


def test_steps_that_hold_have_no_fault() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("place", "step", "reason", "what"),
    [
        (0, '"late" tells of delivery, but topic is billing.', checks.CONTRADICTION, "topic: topic is billing"),
        (0, "Delivery it is; the topic should be 'other'.", checks.CONTRADICTION, "topic: topic should be 'other"),
        (0, "So topic is not delivery.", checks.CONTRADICTION, "topic: topic is not delivery"),
        (0, "It is about something.", checks.NOT_ENTAILED, "topic"),
        (1, 'It is wanted "at once", so urgent is true.', checks.NOT_CITED, "at once"),
        (1, "Nobody waits: urgent = false. Or urgent as true.", checks.CONTRADICTION, "urgent: urgent = false"),
        (2, 'The text says "Order … AB-9", order_id is "AB-7".', checks.NOT_CITED, "Order … AB-9"),
        (2, 'So order_id is "AB". Order id: "AB-7".', checks.CONTRADICTION, 'order_id: order_id is "AB'),
        (2, "The order AB-7 has 31 parts, hence order_id.", checks.NO_SUCH_NUMBER, "31"),
        (3, "12.50 + 3.20 = 16.70, and the total is 15.7.", checks.WRONG_SUM, "12.50 + 3.20 = 16.70"),
        (3, "Both together make the total.", checks.NOT_ENTAILED, "total"),
        (4, "It names a mug.", checks.NOT_ENTAILED, "parts"),
        (4, "Blue Mug. " + "Indeed. " * 40, checks.TOO_LONG, f"{len('Blue Mug. ' + 'Indeed. ' * 40)} characters"),
    ],
)
def test_a_fault_is_found_and_said(place: int, step: str, reason: str, what: str) -> None:
    assert [(fault.reason, fault.what) for fault in faults((place, step))] == [(reason, what)]


def test_what_is_supposed_or_denied_is_no_decision() -> None:
    assert faults((0, '"late" tells of delivery. If topic is billing, it would say "Order". The topic is not billing.')) == []


def test_nothing_is_said_to_be_nothing() -> None:
    nothing = {"topic": "other", "urgent": False, "order_id": None, "total": None, "parts": []}
    steps = ["It fits no other topic: other.", "It is not urgent.", "There is no order id and no total, no parts."]
    assert StepChecker(SCHEMA).faults("Hello", nothing, steps) == []
    assert by_reason([[fault.reason for fault in StepChecker(SCHEMA).faults("Hello", nothing, steps[:2])], []]) == {checks.NOT_ENTAILED: 1}


def test_steps_have_limits() -> None:
    assert [fault.reason for fault in StepChecker(SCHEMA).faults(TEXT, OUTPUT, [])] == [checks.NO_STEPS]
    assert [fault.reason for fault in StepChecker(SCHEMA).faults(TEXT, OUTPUT, [*STEPS, *["And so on."] * 5])] == [checks.TOO_MANY]


def test_sums_are_read_and_counted() -> None:
    assert numbers("2. He paid 1,200.50 for 3") == [1200.5, 3.0]
    assert [(one.result, one.holds) for one in sums("(2 + 3) * 4 = 20, and $7 - 9 = -2, but 1 / 3 = 0.4")] == [
        (20, True),
        (2, True),
        (0.4, False),
    ]
    assert sums("1 / 0 = 3, x = 4") == []


def test_steps_are_read_off_rows_and_hold() -> None:
    task = load_task("support-triage", PROJECT_ROOT / "tasks")
    lines = (task.folder / "data.jsonl").read_text("utf-8").splitlines()
    rows = [Example(str(i), (row := json.loads(line))["input_text"], row["output_json"]) for i, line in enumerate(lines)]
    made, checker = extracted(task.spec, rows), StepChecker(task.spec.output_schema)
    assert [one.example.item_id for one in made] != [row.item_id for row in rows] and made[0].supported == 1.0 > made[-1].supported
    wrong = [fault for one in made for fault in checker.faults(one.example.input_text, one.example.output, one.steps)]
    assert wrong == []
    assert all(len(one.steps) <= MOST_STEPS and max(map(len, one.steps)) <= STEP_CHARS for one in made)
    other = made[0].example.output | {"category": "billing" if made[0].example.output["category"] != "billing" else "other"}
    found = checker.faults(made[0].example.input_text, other, made[0].steps)
    assert checks.CONTRADICTION in {fault.reason for fault in found}


def test_a_cue_is_cited_as_it_stands_and_the_value_where_it_stands() -> None:
    task = load_task("support-triage", PROJECT_ROOT / "tasks")
    quiet = {"category": "other", "priority": "low", "wants_human": False, "order_id": None, "products": []}
    late = quiet | {"category": "delivery"}
    rows = [Example(f"a{i}", f"Parcel {i} is Still Missing here", late) for i in range(10)]
    rows += [Example(f"b{i}", f"Thanks for all {i}", quiet) for i in range(14)]
    steps = Extractor(task.spec, rows).steps(
        Example("c", "My lamp: still  missing, order X-1!", late | {"order_id": "X-1", "products": ["lamp"]})
    )
    assert steps.steps[0] == '"still  missing" tells of delivery, so category is delivery.'
    assert 'order_id is "X-1"' in steps.steps[3] and steps.steps[4] == 'The text names "lamp", so products is lamp.'
