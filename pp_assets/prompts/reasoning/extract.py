"""Reasoning steps read off a row by code: which words of the text carry which value. No model is asked.

A copied value is cited with the words around it; a label by its cue, a word that tells it in the training rows, with what the rubric says
of the field; what stands nowhere is said to stand nowhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pp_assets.data.generation.cues import Cues, grams, learn_cues
from pp_assets.prompts.wording import MOST_STEPS, STEP_CHARS, Shown
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.json_schema import Field, get_path, leaf_fields

WHOLE = "The text as a whole says it"
READ_OFF = "read off"
AROUND = 24  # characters of the text on each side of a copied value that are cited with it
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_QUOTES = re.compile(r"[\"“”«»`]")


@dataclass(frozen=True)
class Steps:
    """The steps of one row and where they come from. `supported` is the share of its fields whose value is cited, told by a cue, or
    nothing; 1 for steps that a model wrote, which are judged by whether they lead to the answer."""

    example: Example
    steps: tuple[str, ...]
    supported: float
    source: str = READ_OFF

    @property
    def shown(self) -> Shown:
        """As an example of a prompt."""
        return Shown(self.example.input_text, self.example.output, self.steps, self.example.item_id)


@dataclass
class Extractor:
    """Steps for rows of one task. Cues are learnt from `train` alone."""

    spec: TaskSpec
    train: Sequence[Example]
    _learnt: dict[tuple[str, str], Cues] = field(default_factory=dict, repr=False)

    def steps(self, row: Example) -> Steps:
        """The steps from a row's text to its output, in the order of the fields."""
        told = [self._field(leaf, row) for leaf in self._fields]
        supported = sum(sure for _, sure in told) / max(1, len(told))
        return Steps(row, _fitted([step for step, _ in told]), supported)

    @cached_property
    def _fields(self) -> list[Field]:
        return [leaf for leaf in leaf_fields(self.spec.output_schema) if leaf.kind != "const"]

    def _field(self, leaf: Field, row: Example) -> tuple[str, bool]:
        """(the step of one field, whether anything supports it)."""
        value, name = get_path(row.output, leaf.path), leaf.path
        if value is None or value == []:
            return f"The text gives no {name}, so {name} is {'null' if value is None else 'empty'}.", True
        if isinstance(value, list):
            return self._listed(leaf, row, value)
        if isinstance(value, bool):
            return self._boolean(leaf, row, value)
        return self._scalar(leaf, row, value)

    def _scalar(self, leaf: Field, row: Example, value: Any) -> tuple[str, bool]:
        name = leaf.path
        if leaf.kind == "enum":
            cue = self._cue(leaf, value, row.input_text)
            if cue:
                return f'"{cue}" tells of {value}, so {name} is {value}.', True
            return f"{self._by_rule(leaf, value)}, so {name} is {value}.", False
        found = _cited(row.input_text, str(value))
        if found:
            return f'The text says "{found}", so {name} is {_said(value)}.', True
        return f"{WHOLE}, so {name} is {_said(value)}.", False

    def _boolean(self, leaf: Field, row: Example, value: bool) -> tuple[str, bool]:
        name, cue = leaf.path, self._cue(leaf, True, row.input_text)
        if value and cue:
            return f'"{cue}" shows it, so {name} is true.', True
        known = self._cues(leaf, True).needed
        if not value and known and not cue:
            return f"Nothing in the text shows it, so {name} is false.", True
        return f"{WHOLE}, so {name} is {str(value).lower()}.", False

    def _listed(self, leaf: Field, row: Example, value: Sequence[Any]) -> tuple[str, bool]:
        cited = [_span(row.input_text, str(one)) for one in value]
        names = ", ".join(map(str, value))
        if all(cited):
            quoted = ", ".join(f'"{one}"' for one in cited)
            return f"The text names {quoted}, so {leaf.path} is {names}.", True
        return f"{WHOLE}, so {leaf.path} is {names}.", False

    def _by_rule(self, leaf: Field, value: Any) -> str:
        """What the rubric says of a value ("delivery: where is it, late, lost."), where it says something."""
        rule = self.spec.rubric.fields.get(leaf.path)
        found = re.search(rf"(?<!\w){re.escape(str(value))}:\s*([^.;\d]+)[.;]", rule.description) if rule else None
        said = " ".join(_QUOTES.sub("", found[1]).split()) if found else ""
        return f"The text as a whole is of this kind: {said}" if said and len(said) <= STEP_CHARS // 2 else WHOLE

    def _cue(self, leaf: Field, value: Any, text: str) -> str:
        """The longest cue of a value in a text, as it is written there; "" for none."""
        found = self._cues(leaf, value).words & grams(text)
        return next((span for gram in sorted(found, key=lambda g: (-len(g), g)) if (span := _words(text, gram))), "")

    def _cues(self, leaf: Field, value: Any) -> Cues:
        key = (leaf.path, str(value))
        if key not in self._learnt:
            rows = [replace(row, output={"is": get_path(row.output, leaf.path) == value}) for row in self.train]
            self._learnt[key] = learn_cues("is", rows)
        return self._learnt[key]


def extracted(spec: TaskSpec, train: Sequence[Example]) -> list[Steps]:
    """Steps of all training rows, those first in which most is supported; of equal ones the shorter, then by id."""
    extractor = Extractor(spec, train)
    made = [extractor.steps(row) for row in train]
    return sorted(made, key=lambda one: (-one.supported, len(one.example.input_text), one.example.item_id))


def _fitted(steps: Sequence[str]) -> tuple[str, ...]:
    """At most MOST_STEPS steps of at most STEP_CHARS characters: neighbours are joined from the shortest on; what is too long is cut at a
    word, which the checks then judge."""
    made = list(steps)
    while len(made) > MOST_STEPS:
        at = min(range(len(made) - 1), key=lambda i: len(made[i]) + len(made[i + 1]))
        made[at : at + 2] = [f"{made[at]} {made[at + 1]}"]
    return tuple(step if len(step) <= STEP_CHARS else step[:STEP_CHARS].rpartition(" ")[0] for step in made)


def _said(value: Any) -> str:
    """A value as a step says it: texts in quotation marks, so that it is clear where they end."""
    return f'"{value}"' if isinstance(value, str) and not _QUOTES.search(value) else str(value)


def _span(text: str, value: str) -> str:
    """Where a value stands in a text, as written there; "" where it does not, or could not be quoted."""
    found = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE)
    return found[0] if found and not _QUOTES.search(found[0]) else ""


def _cited(text: str, value: str) -> str:
    """A value with some whole words around it, as the text has it."""
    found = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE)
    if not found:
        return ""
    start = text.find(" ", max(0, found.start() - AROUND), found.start()) + 1 or found.start()
    end = max(text.rfind(" ", found.end(), found.end() + AROUND), found.end())
    if found.start() <= AROUND:
        start = 0
    around = text[start:end].strip()
    return _span(text, value) if _QUOTES.search(around) or "\n" in around else around


def _words(text: str, gram: str) -> str:
    """The first run of words in a text that a cue stands for, as written there."""
    wanted, found = gram.split(" "), list(_WORD.finditer(text))
    for i in range(len(found) - len(wanted) + 1):
        if [word[0].lower() for word in found[i : i + len(wanted)]] == wanted:
            span = text[found[i].start() : found[i + len(wanted) - 1].end()]
            return "" if _QUOTES.search(span) else span
    return ""
