"""What can be said of a prompt by reading it: how clear, how specific and how short it is. Counted, not judged by a model.

- **clarity_score**, 0..1: the mean of the checks below, each a share.
- **specificity**: `high` where of the fields, of the enum values and of the form of the answer at least 80 % each are told; `medium` where
  their mean is at least half; else `low`.
- **token_efficiency**: the share of the prompt's tokens that say something again (a run of `RUN` words that stood before, enum values that
  the schema in the prompt holds already) or nothing (white space): up to 5 % is `optimal`, up to 20 % `acceptable`, more is `poor`.

Examples and the input are left out: they are data. A high score does not say that a prompt works; only an evaluation does.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pp_assets.prompts.sentences import contradictions, repeated, repeated_words, sentences, words
from pp_assets.task.prompt import labels, split_prompt, template_fault
from pp_assets.task.spec import TaskSpec
from pp_assets.task.validation_rules import Efficiency, Specificity
from pp_resources.json_schema import Field, leaf_fields

LONG = 30  # words of a sentence, what stands in brackets left out
TOLD, HALF = 0.8, 0.5
WASTE: tuple[tuple[float, Efficiency], ...] = ((0.05, "optimal"), (0.2, "acceptable"))
# {name}, <your text>, [insert text], TODO. A tag such as <input> is a way to set something off.
_LEFT_OPEN = re.compile(r"\{\{?\s*[A-Za-z_][\w. ]*\}?\}|[<\[](?:your|insert|fill in)\b[^>\]]*[>\]]|\b(?:TODO|TBD|FIXME)\b")
_NAME = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")
_VERB = "is|are|means|says|tells|holds|gives|must|should|names"
# What may follow a name: brackets, a colon, a dash, a verb; or more names and a bracket that speaks of each.
_EXPLAINS = re.compile(rf"[`\"']?\s*(?:[(:=–—]|-\s|(?:{_VERB})\b|(?:(?:, | and |, and )[`\"']?\w+[`\"']?)+ \((?:each|all|both)\b)")


@dataclass(frozen=True)
class Check:
    """One thing that was counted: its share (0..1), and what lowers it, in sentences that name the place."""

    name: str
    share: float
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptQuality:
    """The measures of a prompt. `clarity` are the checks behind the score, `told` the shares behind the specificity. `tokens` counts the
    prompt without examples and input, `waste` is their wasted share with `wasteful` the reasons."""

    clarity_score: float
    specificity: Specificity
    token_efficiency: Efficiency
    clarity: tuple[Check, ...]
    told: tuple[Check, ...]
    tokens: int
    waste: float
    wasteful: tuple[str, ...]

    def why(self, measure: str) -> list[str]:
        """What lowers a measure, by its name in a task's `validation_rules`."""
        checks = {"clarity_score": self.clarity, "specificity": self.told}.get(measure)
        return list(self.wasteful) if checks is None else [found for check in checks for found in check.findings]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, shares at four decimals."""
        plain = asdict(self) | {"clarity_score": round(self.clarity_score, 4), "waste": round(self.waste, 4)}
        for part in ("clarity", "told"):
            plain[part] = [{**check, "share": round(check["share"], 4), "findings": list(check["findings"])} for check in plain[part]]
        return plain | {"wasteful": list(self.wasteful)}


def prompt_quality(spec: TaskSpec, system_prompt: str, instruction_template: str, count_tokens: Callable[[str], int]) -> PromptQuality:
    """Measure these words as the prompt of a task. `count_tokens` is the tokenizer's length of a text.

    A template that does not render with the input in it once has no clarity; nothing else is asked of it.
    """
    fault = template_fault(instruction_template, json.dumps(labels(spec)))
    if fault:
        broken = Check("the input stands in it once", 0.0, (f"instruction_template: {fault[0]}",))
        return PromptQuality(0.0, "low", "poor", (broken,), (), count_tokens(instruction_template), 1.0, broken.findings)
    read = _read(spec, system_prompt, instruction_template)
    clarity = (
        Check("the input stands in it once", 1.0),
        _instructed(read),
        _named(read),
        _values(read),
        _said_once(read),
        _consistent(read),
        _closed(read),
        _readable(read),
    )
    told = (_explained(read), _values(read), _form(read))
    shares = [check.share for check in told]
    specificity: Specificity = "high" if min(shares) >= TOLD else "medium" if sum(shares) / len(shares) >= HALF else "low"
    tokens = count_tokens(read.whole)
    waste, wasteful = _waste(read, tokens, count_tokens)
    efficiency: Efficiency = next((level for most, level in WASTE if waste <= most), "poor")
    score = sum(check.share for check in clarity) / len(clarity)
    return PromptQuality(score, specificity, efficiency, clarity, told, tokens, waste, wasteful)


@dataclass(frozen=True)
class _Read:
    """A prompt as it is read: `whole` with the schema where it is shown, `prose` without, its `lines` and `sentences` with their places."""

    whole: str
    prose: str
    lines: tuple[tuple[str, str], ...]
    sentences: tuple[tuple[str, str], ...]
    shows_schema: bool
    fields: tuple[Field, ...]


def _read(spec: TaskSpec, system_prompt: str, template: str) -> _Read:
    changed = spec.model_copy(update={"system_prompt": system_prompt, "instruction_template": template})
    before, after = split_prompt(changed)
    schema = json.dumps(spec.output_schema, ensure_ascii=False, separators=(",", ":"))
    whole = "\n".join(filter(None, (system_prompt, before, after)))
    prose = {"system_prompt": system_prompt, "instruction_template": f"{before}\n{after}".replace(schema, "\n")}
    lines = [(line, _place(name, line, template)) for name, text in prose.items() for line in text.splitlines()]
    said = [(sentence, _place(name, sentence, template)) for name, text in prose.items() for sentence in sentences(text)]
    fields = tuple(leaf_fields(spec.output_schema))
    return _Read(whole, "\n".join(prose.values()), tuple(lines), tuple(said), schema in whole, fields)


def _place(name: str, sentence: str, template: str) -> str:
    """Where a sentence stands: the line of the template that has its first words, which a variable may follow."""
    if name == "system_prompt":
        return name
    start = " ".join(sentence.split()[:3])
    line = next((i for i, line in enumerate(template.splitlines(), 1) if start in " ".join(line.split())), None)
    return f"{name}:{line}" if line else name


def _instructed(read: _Read) -> Check:
    """A schema or labels alone do not say what to do with the input."""
    if any(len(words(sentence)) >= 4 for sentence, _ in read.sentences):
        return Check("it says in words what to do", 1.0)
    return Check("it says in words what to do", 0.0, ("instruction_template: no sentence says what to do",))


def _named(read: _Read) -> Check:
    missing = [field.path for field in read.fields if not _stands(field.path.rpartition(".")[2], read.whole)]
    said = tuple(f"instruction_template: the field {path} is not named" for path in missing)
    return Check("every field is named", _share(len(read.fields) - len(missing), len(read.fields)), said)


def _values(read: _Read) -> Check:
    wanted = [(field.path, str(value)) for field in read.fields if field.kind in ("enum", "array_enum") for value in field.values]
    missing = [(path, value) for path, value in wanted if not _stands(value, read.whole)]
    said = tuple(f"instruction_template: {path} may be {value!r}, which is not told" for path, value in missing)
    return Check("every enum value is told", _share(len(wanted) - len(missing), len(wanted)), said)


def _said_once(read: _Read) -> Check:
    again = repeated([sentence for sentence, _ in read.sentences])
    said = tuple(f"{read.sentences[i][1]}: said before: {_cut(read.sentences[i][0])}" for i in again)
    return Check("no sentence is said twice", _share(len(read.sentences) - len(again), len(read.sentences)), said)


def _consistent(read: _Read) -> Check:
    pairs = contradictions([sentence for sentence, _ in read.sentences])
    said = tuple(f"{read.sentences[b][1]}: {_cut(read.sentences[b][0])} denies: {_cut(read.sentences[a][0])}" for a, b in pairs)
    return Check("no sentence denies another", 0.0 if pairs else 1.0, said)


def _closed(read: _Read) -> Check:
    """Nothing is left to be filled in, and no name stands for something that the output does not have."""
    known = {part for field in read.fields for part in field.path.split(".")} | {str(v) for field in read.fields for v in field.values}
    known |= {"input_text"}
    found: list[tuple[str, str]] = []
    for text, place in read.lines:
        found += [(place, f"left open: {hit[0]}") for hit in _LEFT_OPEN.finditer(text)]
        names = dict.fromkeys(_NAME.findall(_LEFT_OPEN.sub(" ", text)))
        found += [(place, f"the output has no {name}") for name in names if name not in known]
        if not read.shows_schema and re.search(r"\bschema (?:below|above)\b|\b(?:following|given|this) (?:json )?schema\b", text, re.I):
            found.append((place, "no schema is shown; write {{ schema }}"))
    return Check("every reference has an object", 0.0 if found else 1.0, tuple(f"{place}: {what}" for place, what in found))


def _readable(read: _Read) -> Check:
    long = [(place, len(words(_bare(text)))) for text, place in read.sentences if len(words(_bare(text))) > LONG]
    said = tuple(f"{place}: a sentence of {n} words; {LONG} are easy to read" for place, n in long)
    share = _share(len(read.sentences) - len(long), len(read.sentences)) if read.sentences else 0.0
    return Check("sentences are short", share, said or (() if read.sentences else ("instruction_template: there is no sentence",)))


def _explained(read: _Read) -> Check:
    """A field is explained by a description in a schema that is shown, or by what follows its name: brackets, a colon, a verb."""
    missing = [field.path for field in read.fields if not _is_explained(field, read)]
    said = tuple(f"instruction_template: nothing says what {path} means" for path in missing)
    return Check("every field is explained", _share(len(read.fields) - len(missing), len(read.fields)), said)


def _is_explained(field: Field, read: _Read) -> bool:
    if read.shows_schema and str(field.schema.get("description") or "").strip():
        return True
    name = re.escape(field.path.rpartition(".")[2])
    return any(_EXPLAINS.match(read.prose, found.end()) for found in re.finditer(rf"(?<!\w){name}(?!\w)", read.prose))


def _form(read: _Read) -> Check:
    stated = read.shows_schema or re.search(r"\bjson\b", read.prose, re.I)
    said = () if stated else ("instruction_template: nothing says that the answer is JSON",)
    return Check("the form of the answer is told", 1.0 if stated else 0.0, said)


def _waste(read: _Read, tokens: int, count_tokens: Callable[[str], int]) -> tuple[float, tuple[str, ...]]:
    """(wasted share of the prompt's tokens, of what)."""
    tidy = re.sub(r"[ \t]+", " ", re.sub(r"\s*\n\s*", "\n", read.whole)).strip()
    again = repeated_words(read.prose)
    parts = {"white space": tokens - count_tokens(tidy), "words that stood before": count_tokens(again)}
    if read.shows_schema:
        twice = [
            str(v) for field in read.fields if field.kind in ("enum", "array_enum") for v in field.values if _stands(str(v), read.prose)
        ]
        parts["enum values that the schema shows too"] = count_tokens(", ".join(twice))
    parts = {what: n for what, n in parts.items() if n > 0}
    waste = min(1.0, sum(parts.values()) / tokens) if tokens else 0.0
    return waste, tuple(f"{n} of {tokens} tokens are {what}" for what, n in parts.items())


def _stands(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _bare(sentence: str) -> str:
    return re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", sentence)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _cut(sentence: str) -> str:
    return repr(sentence if len(sentence) <= 60 else f"{sentence[:57]}...")


def quality_lines(found: PromptQuality, measures: Sequence[str] = ("clarity_score", "specificity", "token_efficiency")) -> list[str]:
    """The measures in one line, then what lowers each."""
    told = f"clarity {found.clarity_score:.2f}, specificity {found.specificity}, token efficiency {found.token_efficiency}"
    lines = [f"{told} ({found.tokens} tokens, {found.waste:.0%} of them wasted)"]
    return [*lines, *dict.fromkeys(why for measure in measures for why in found.why(measure))]
