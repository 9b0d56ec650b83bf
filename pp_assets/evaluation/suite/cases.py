"""The cases of the robustness tests: for each item, family and severity one edited input and what is expected of an answer to it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.suite import edits
from pp_assets.evaluation.suite.edits import Edit, title
from pp_assets.evaluation.suite.lists import read_list
from pp_assets.evaluation.suite.spans import Change, kept_characters, map_copied, sound
from pp_assets.task.examples import Example
from pp_resources.json_schema import Field, Schema, get_path, leaf_fields

SEVERITIES = (1, 2, 3)


@dataclass(frozen=True)
class Family:
    """Edits of one kind by severity, of which each item gets one at each severity. `expects`: "same" output; or "valid": no more than an
    answer that the schema allows, since what was asked may be gone."""

    name: str
    what: str
    operators: Mapping[int, Sequence[str]]
    expects: Literal["same", "valid"] = "same"


@dataclass(frozen=True)
class Case:
    """One edited input. `expected` is the output that is right for it, None where there is no knowing; `change` what the edit did to the
    values that are copied from the text, None where it left them alone."""

    item_id: str
    group: str
    family: str
    operator: str
    severity: int
    text: str
    expected: dict[str, Any] | None
    change: Change | None = None

    @property
    def id(self) -> str:
        return f"{self.item_id}/{self.operator}/{self.severity}"


def _all(*operators: str) -> dict[int, Sequence[str]]:
    return dict.fromkeys(SEVERITIES, operators)


FAMILIES = (
    Family(
        "malformed",
        "the end cut off, broken markup, control characters, the HTML around a message",
        _all("truncated", "broken_markup", "control_characters", "html_page"),
    ),
    Family("long", "irrelevant sentences around the text, up to 300, 1000, 3000 characters", _all("padded")),
    Family("short", "the first 12, 5, 1 words: the answer must be valid, right it cannot be expected to be", _all("shortened"), "valid"),
    Family(
        "multilingual",
        "a greeting, a closing and words of politeness in another language; the text itself is not translated",
        _all("framed"),
    ),
    Family("typos", "neighbouring keys, exchanged and dropped letters; one in 40, 20, 10 letters", _all("mistyped")),
    Family(
        "casing",
        "1 title case, 2 lower case, 3 upper case; copied values change with the text",
        {1: ("title_case",), 2: ("lower_case",), 3: ("upper_case",)},
    ),
    Family("unicode", "look-alike letters, full-width letters, zero-width spaces and NFD", _all("look_alikes", "full_width", "decomposed")),
    Family("injection", "instructions hidden in the text, behind it, before it, or on both sides", _all("injected")),
    Family("irrelevant", "1, 3, 6 sentences that say nothing about the task", _all("irrelevant")),
)
EDITS: Mapping[str, Edit] = {
    name: getattr(edits, name) for family in FAMILIES for operators in family.operators.values() for name in operators if name != "injected"
}
# Edits of the whole text: a value that is copied from the text changes as the text does; where it does not, the case is left out.
WHOLE: Mapping[str, Change] = {
    "title_case": title,
    "lower_case": lambda text: "".join(c.lower() for c in text),
    "upper_case": lambda text: "".join(c.upper() for c in text),
}


def make_cases(
    schema: Schema, examples: Sequence[Example], seed: int, *, limit: int, families: Sequence[Family] = FAMILIES
) -> tuple[list[Case], dict[str, int]]:
    """All cases, and per family how many could not be made: nothing changed, what is to be copied broke, or `limit` characters were passed.

    Which operator an item gets at a severity is drawn by seed, item and family, so that it depends on nothing else.
    """
    cases: list[Case] = []
    skipped = {family.name: 0 for family in families}
    for example in examples:
        for family in families:
            rng = _random(seed, family.name, example.item_id)
            for severity in SEVERITIES:
                made = _case(schema, example, family, severity, rng)
                if made is None or len(made.text) > limit:
                    skipped[family.name] += 1
                else:
                    cases.append(made)
    return cases, skipped


def wrong_value(leaves: Sequence[Field], expected: Any, rng: random.Random) -> tuple[str, str]:
    """A field of the task with a value that it should not have here; words that fit nothing where no field has listed values."""
    listed = [(leaf.path, (True, False) if leaf.kind == "boolean" else leaf.values) for leaf in leaves if leaf.kind in ("enum", "boolean")]
    options = [(path, value) for path, values in listed for value in values if value != get_path(expected, path)]
    path, value = rng.choice(options) if options else ("everything", "nothing")
    return path, str(value).lower() if isinstance(value, bool) else str(value)


def _case(schema: Schema, example: Example, family: Family, severity: int, rng: random.Random) -> Case | None:
    operator = rng.choice(list(family.operators[severity]))
    change = WHOLE.get(operator)
    keep = kept_characters(schema, example.output, example.input_text, free=change is not None)
    injects = operator == "injected"
    text = _injected(schema, example, severity, rng) if injects else EDITS[operator](example.input_text, keep, severity, rng)
    expected = example.output if change is None else map_copied(schema, example.output, change)
    if text == example.input_text:
        return None
    if family.expects == "valid":
        expected = None
    elif not sound(schema, example.input_text, text, example.output, expected):
        return None
    return Case(example.item_id, example.group, family.name, operator, severity, text, expected, change)


def _injected(schema: Schema, example: Example, severity: int, rng: random.Random) -> str:
    path, value = wrong_value(leaf_fields(schema), example.output, rng)
    texts = rng.sample(read_list("texts.yaml")["injections"], 2)
    first, second = (text.format(field=path, value=value) for text in texts)
    if severity == 3:
        return f"{first}\n\n{example.input_text}\n\n{second}"
    return f"{example.input_text}\n\n{first}" if severity == 1 else f"{first}\n\n{example.input_text}"


def _random(seed: int, *labels: str) -> random.Random:
    return random.Random(int(generator(seed, *labels).integers(0, 2**63)))


def by_family(cases: Sequence[Case]) -> Iterator[tuple[Family, list[Case]]]:
    """The families that have cases, in order."""
    for family in FAMILIES:
        found = [case for case in cases if case.family == family.name]
        if found:
            yield family, found
