"""What may not be tried: looked at before a single call is spent on a candidate."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache

from pp_assets.evaluation.rules import broken_by_prompt
from pp_assets.prompts.candidate import Candidate, Ground
from pp_assets.prompts.propose.template import sound
from pp_assets.prompts.quality import prompt_quality
from pp_assets.prompts.wording import Wording
from pp_assets.task.duplicates import normalise
from pp_assets.task.prompt import labels
from pp_assets.task.spec import TaskSpec
from pp_resources.fingerprint import canonical_json
from pp_resources.json_schema import canonical_output, leaf_fields

COPIED = 5  # words in a row that stand in a training row: learnt by heart, not understood
ROOM = 2000  # tokens that a prompt may have more than the task's own, where the ground's options say no "max_prompt_tokens"
_WORD = re.compile(r"\w+")
_JINJA = re.compile(r"\{[{%#]")


def guards(ground: Ground, candidate: Candidate, known: Collection[str] = ()) -> list[str]:
    """Why a candidate may not be tried, one sentence each; empty: it may. `known` are the ids of those that were tried before."""
    spec, wording = ground.spec, candidate.wording
    if not sound(spec, wording.template):
        return ["its template does not hold the input exactly once, or does not render"]
    found = [f"it reads like candidate {candidate.id}, which is known"] if candidate.id in known else []
    if _JINJA.search(wording.system.replace(spec.system_prompt, "") if spec.system_prompt else wording.system):
        found.append("its system prompt holds template syntax, which would be shown as it stands")
    left = room(ground, wording)
    if left < 0:
        found.append(f"it is {-left} tokens longer than a prompt may be")
    lost = unnamed(spec, wording)
    if lost:
        found.append(f"it no longer names {', '.join(lost[:5])}{' and others' if len(lost) > 5 else ''}, as the task's own prompt does")
    found += unruly(ground, wording)
    copied = copied_words(ground, wording)
    if copied:
        found.append(f"its instructions hold words of a training row: {copied!r}")
    found += [f"its example {one!r} is no training row" for one in foreign_shots(ground, wording)]
    return found


def room(ground: Ground, wording: Wording) -> int:
    """Tokens that a wording may still take; below 0 it has too many."""
    most = ground.options.get("max_prompt_tokens")
    if most is None:
        most = ground.count_tokens(_read(ground.spec, Wording.of(ground.spec))) + ROOM
    return int(most) - ground.count_tokens(_read(ground.spec, wording))


def unnamed(spec: TaskSpec, wording: Wording) -> list[str]:
    """Fields and labels that the task's own prompt names and this one, its examples aside, does not: a model cannot guess them."""
    own = _read(spec, Wording.of(spec))
    text = _read(spec, replace(wording, shots=()))
    return [name for name in _names(spec) if _stands(name, own) and not _stands(name, text)]


def unruly(ground: Ground, wording: Wording) -> list[str]:
    """The rules of the task on the quality of a prompt that this one breaks."""
    rules = ground.spec.validation_rules
    if rules is None or not rules.prompt_quality:
        return []
    quality = prompt_quality(ground.spec, wording.system, wording.template, ground.count_tokens)
    return broken_by_prompt(rules, quality.as_dict())


def copied_words(ground: Ground, wording: Wording) -> str:
    """The first five words in a row that the instructions have from a training row, "" for none. Words that are the task's own do not
    count: those of its prompt, schema, labels, rubric and contract."""
    spec = ground.spec
    own = [_read(spec, Wording.of(spec)), canonical_json(spec.output_schema), spec.description, spec.rubric.text]
    own += [rule.description for rule in spec.rubric.fields.values()]
    own += [f"{path} {' '.join(map(str, values))}" for path, values in labels(spec).items()]
    if ground.contract:
        own += [text for path, node in ground.contract.nodes() for text in (path, node.description)]
    allowed = {gram for text in own for gram in _grams(text)}
    trained = _grams_of(tuple(row.input_text for row in ground.train))
    instructions = _read(spec, replace(wording, shots=()))
    return next((" ".join(gram) for gram in _grams(instructions) if gram in trained and gram not in allowed), "")


def foreign_shots(ground: Ground, wording: Wording) -> list[str]:
    """Inputs of examples that are no training rows, or not with this output: nothing of a held-out row may be shown."""
    schema, shown = ground.spec.output_schema, {one.input_text for one in wording.shots}

    def key(text: str, output: object) -> str:
        return canonical_json([text, canonical_output(schema, output)])

    trained = {key(row.input_text, row.output) for row in ground.train if row.input_text in shown}
    return [one.input_text[:60] for one in wording.shots if key(one.input_text, one.output) not in trained]


def _read(spec: TaskSpec, wording: Wording) -> str:
    """All that a model reads beside the input."""
    prompt = wording.prompt(spec)
    return f"{prompt.system}\n{prompt.before}\n{prompt.after}"


def _names(spec: TaskSpec) -> list[str]:
    fields = [part for leaf in leaf_fields(spec.output_schema) for part in leaf.path.split(".")]
    values = [value for listed in labels(spec).values() for value in listed if isinstance(value, str)]
    return list(dict.fromkeys(name for name in [*fields, *values] if name))


def _stands(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _grams(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(normalise(text))
    return (tuple(words[i : i + COPIED]) for i in range(len(words) - COPIED + 1))


@lru_cache(maxsize=2)
def _grams_of(texts: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset(gram for text in texts for gram in _grams(text))
