"""A task whose answers stand in the order number, a rule that solves it whatever happens around it, and the same rule with faults."""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec, parse_spec
from pp_resources.models.interface import Choice, Prediction

KINDS = {"A": "billing", "B": "delivery", "C": "returns"}
ORDER = re.compile(r"\b([A-C])-\d{3}(\d)\b", re.IGNORECASE)
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "urgent", "order"],
    "properties": {
        "kind": {"enum": ["billing", "delivery", "returns"]},
        "urgent": {"type": "boolean"},
        "order": {"type": ["string", "null"], "x-verbatim": True},
    },
}


def task(**changes: object) -> TaskSpec:
    raw = {"version": 1, "name": "toy", "seed": 3, "io_schema": {"output": SCHEMA}}
    return parse_spec({**raw, "instruction_template": "Read this.\nInput: {{ input_text }}", **changes}, "toy")


def examples(n: int = 100, seed: int = 1) -> list[Example]:
    """Messages of several sentences; every third speaks of her or him."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        order = f"{rng.choice('ABC')}-{rng.randrange(1000, 9999)}"
        opening = rng.choice(["Hello, thanks for your help.", "Good morning to all of you.", "Dear shop, please read this."])
        middle = rng.choice(["She told me so.", "He was not there."]) if i % 3 == 0 else "Nobody was there."
        text = f"{opening} My order {order} is not what I wanted. {middle} Please tell me what happens now, thank you."
        made.append(Example(f"{i:04d}", text, truth(text), group=f"g{i}"))
    return made


def truth(text: str) -> dict[str, object]:
    """What the order number says; nothing much without one."""
    found = ORDER.search(text)
    if found is None:
        return {"kind": "billing", "urgent": False, "order": None}
    return {"kind": KINDS[found[1].upper()], "urgent": int(found[2]) >= 5, "order": found[0]}


class Rule:
    """A predictor that answers the truth, but where `fault` holds for a text: there the other urgency."""

    def __init__(self, fault: Callable[[str], bool] = lambda text: False) -> None:
        self.name, self.fault = "rule", fault
        self.seen: list[str] = []

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        self.seen += inputs
        return [self.answer(text, distributions) for text in inputs]

    def answer(self, text: str, distributions: bool) -> Prediction:
        said, wrong = truth(text), self.fault(text)
        said["urgent"] = said["urgent"] is not wrong
        sure = 0.6 if wrong else 0.9
        made = Prediction(json.dumps(said), sure, dict.fromkeys(said, sure))
        if not distributions:
            return made
        others = [kind for kind in KINDS.values() if kind != said["kind"]]
        kinds = [Choice(said["kind"], 0.8), *(Choice(kind, 0.1) for kind in others)]
        return replace(made, choices={"kind": kinds, "urgent": [Choice(said["urgent"], sure), Choice(not said["urgent"], 1 - sure)]})
