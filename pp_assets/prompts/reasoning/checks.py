"""Whether the steps of a reasoning hold: they cite what is there, calculate rightly, and lead to the answer and to no other.

A check is code and speaks only of what can be read off: what steps quote or count must stand in the text, the schema or the answer; a
field may not be decided in two ways; the value of each field is said in some step. What passes need not be wise.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pp_assets.prompts.reasoning.arithmetic import numbers, sums
from pp_assets.prompts.wording import MOST_STEPS, STEP_CHARS
from pp_resources.json_schema import Field, Schema, get_path, leaf_fields

NO_STEPS = "there are no steps"
TOO_MANY = f"more than {MOST_STEPS} steps"
TOO_LONG = f"a step is longer than {STEP_CHARS} characters"
NOT_CITED = "a quotation stands neither in the text nor in the schema"
NO_SUCH_NUMBER = "a number stands neither in the text nor in the schema"
WRONG_SUM = "a sum does not hold"
CONTRADICTION = "a step decides a field otherwise than the answer"
NOT_ENTAILED = "the value of a field follows from no step"
CHECKED = ("enum", "boolean", "string", "number", "integer", "array_enum", "array_string")
NOTHING = r"(?:null|none|empty|no|not|nothing|without|missing|absent|lacks)"

_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)")
# A point ends a sentence where a space follows, and not within a quotation.
_SENTENCE = re.compile(r"(?:\"[^\"\n]*\"|“[^”\n]*”|[^.;!?\n]|[.;!?](?=\S))+")
_SUPPOSED = re.compile(r"\b(if|whether|unless|would|could|might|may|rather than|instead of)\b", re.IGNORECASE)
_DECIDES = r"[\"'`]?\s*(?:(?:is|are|=|:|→|->|as|becomes?)|(?:must|should|has to|will) be)\s*"
_OPEN, _SHUT = r"[\"'“`\[]?", r"(?![\w])"


class Fault(NamedTuple):
    """What is wrong: one of the reasons above, the step (from 0; None for all of them) and what it is about."""

    reason: str
    step: int | None
    what: str


@dataclass(frozen=True)
class StepChecker:
    """The checks for one output schema."""

    schema: Schema

    def faults(self, text: str, output: Any, steps: Sequence[str]) -> list[Fault]:
        """Everything that is wrong with the steps from `text` to `output`; nothing where they hold."""
        if not any(step.strip() for step in steps):
            return [Fault(NO_STEPS, None, "")]
        found = [Fault(TOO_MANY, None, str(len(steps)))] if len(steps) > MOST_STEPS else []
        found += [Fault(TOO_LONG, i, f"{len(step)} characters") for i, step in enumerate(steps) if len(step) > STEP_CHARS]
        found += self._uncited(text, output, steps)
        found += self._uncounted(text, output, steps)
        for field in self._fields:
            value = get_path(output, field.leaf.path)
            found += [
                Fault(CONTRADICTION, i, f"{field.leaf.path}: {said}") for i, step in enumerate(steps) for said in field.against(step, value)
            ]
            if not field.entailed(steps, value):
                found.append(Fault(NOT_ENTAILED, None, field.leaf.path))
        return found

    def _uncited(self, text: str, output: Any, steps: Sequence[str]) -> list[Fault]:
        there = _plain(text)
        known = self._names | {_plain(str(value)) for value in _values(output)}
        found = []
        for i, step in enumerate(steps):
            for quoted in (next(filter(None, groups)) for groups in _QUOTED.findall(step)):
                pieces = [_plain(piece).strip(" .,;:!?") for piece in re.split(r"…|\.\.\.", quoted)]
                if not all(piece in there or piece in known for piece in pieces):
                    found.append(Fault(NOT_CITED, i, quoted))
        return found

    def _uncounted(self, text: str, output: Any, steps: Sequence[str]) -> list[Fault]:
        known = {*numbers(text), *(n for value in _values(output) for n in numbers(str(value))), *self._numbers}
        found = []
        for i, step in enumerate(steps):
            for each in sums(step):
                if not each.holds:
                    found.append(Fault(WRONG_SUM, i, each.written))
                elif known.issuperset(each.operands):
                    known.add(each.result)
            said = numbers(_QUOTED.sub(" ", step))  # what is quoted is judged as a quotation
            found += [Fault(NO_SUCH_NUMBER, i, f"{n:g}") for n in said if n not in known and not _summed(n, step)]
        return found

    @cached_property
    def _fields(self) -> "list[_Field]":
        return [_Field(leaf) for leaf in leaf_fields(self.schema) if leaf.kind in CHECKED]

    @cached_property
    def _names(self) -> frozenset[str]:
        leaves = leaf_fields(self.schema)
        parts = {part for leaf in leaves for part in (leaf.path, *leaf.path.split("."))}
        values = {str(value) for leaf in leaves for value in leaf.values}
        return frozenset(map(_plain, {*parts, *values, "true", "false", "null", "yes", "no", "none"}))

    @cached_property
    def _numbers(self) -> frozenset[float]:
        leaves = leaf_fields(self.schema)
        told = [
            *(value for leaf in leaves for value in leaf.values),
            *(leaf.schema.get(k) for leaf in leaves for k in ("minimum", "maximum")),
        ]
        return frozenset(n for value in told if value is not None for n in numbers(str(value)))


@dataclass(frozen=True)
class _Field:
    """One field as steps may speak of it."""

    leaf: Field

    @cached_property
    def name(self) -> str:
        """A pattern of its name: with underscores or spaces, whole or its last part."""
        last = self.leaf.path.rpartition(".")[2]
        return rf"(?<![\w.])(?:{re.escape(self.leaf.path)}|{_spaced(last)})(?![\w.]\w)"

    @cached_property
    def decided(self) -> re.Pattern[str]:
        """A sentence that gives the field a value: group "not" where it denies it, group "value"."""
        values = sorted(map(str, self.leaf.values), key=len, reverse=True)
        match self.leaf.kind:
            case "enum" | "array_enum":
                told = "|".join([*map(_spaced, values), "null"])
            case "boolean":
                told = "true|false|yes|no"
            case "number" | "integer":
                told = r"null|-?\d[\d,]*(?:\.\d+)?"
            case _:
                told = r"null|(?<=\")[^\"]+|(?<=“)[^”]+|(?<=`)[^`]+"
        return re.compile(rf"{self.name}{_DECIDES}(?P<not>not\s+)?{_OPEN}(?P<value>{told}){_SHUT}", re.IGNORECASE)

    def against(self, step: str, value: Any) -> list[str]:
        """What the step decides for this field that is not its value."""
        found = []
        for sentence in _SENTENCE.findall(step):
            for match in self.decided.finditer(sentence):
                if _SUPPOSED.search(sentence[: match.start()]):
                    continue
                if self._is(match["value"], value) == bool(match["not"]):
                    found.append(match[0].strip())
        return found

    def entailed(self, steps: Sequence[str], value: Any) -> bool:
        """Whether some step says this value: by its words where it has some, else beside the field's name."""
        if value is None or value == []:
            return any(self._beside(step, NOTHING) for step in steps)
        if isinstance(value, bool):
            return any(self._beside(step, r"(?:true|yes)" if value else rf"(?:false|{NOTHING})") for step in steps)
        if isinstance(value, list):
            return all(self.entailed(steps, one) for one in value)
        if isinstance(value, int | float) and self.leaf.kind != "enum":
            return any(abs(value) in numbers(step) for step in steps)
        return any(re.search(rf"(?<!\w){_spaced(str(value))}(?!\w)", step, re.IGNORECASE) for step in steps)

    def _beside(self, step: str, words: str) -> bool:
        sentences = (s for s in _SENTENCE.findall(step) if re.search(self.name, s, re.IGNORECASE))
        return any(re.search(rf"\b{words}\b", sentence, re.IGNORECASE) for sentence in sentences)

    def _is(self, said: str, value: Any) -> bool:
        told = _plain(said).replace("_", " ")
        if told == "null":
            return value is None
        if isinstance(value, bool):
            return (told in ("true", "yes")) == value
        if isinstance(value, list):
            return any(self._is(said, one) for one in value)
        if isinstance(value, int | float):
            return numbers(told) == [abs(value)]
        return told == _plain(str(value)).replace("_", " ")


def by_reason(faults: Iterable[Sequence[str]]) -> dict[str, int]:
    """How many reasonings have which reasons against them, the most frequent first."""
    counted = Counter(reason for each in faults for reason in set(each))
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _summed(number: float, step: str) -> bool:
    """The result of a sum in this step, which is judged as a sum."""
    return any(number in (each.result, *each.operands) for each in sums(step) if not each.holds)


def _spaced(word: str) -> str:
    return r"[\s_-]+".join(re.escape(part) for part in re.split(r"[\s_-]+", word) if part) or re.escape(word)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _values(output: Any) -> list[Any]:
    if isinstance(output, Mapping):
        return [one for value in output.values() for one in _values(value)]
    if isinstance(output, list):
        return [one for value in output for one in _values(value)]
    return [] if output is None or isinstance(output, bool) else [output]
