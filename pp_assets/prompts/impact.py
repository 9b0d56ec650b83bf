"""What each part of a prompt buys: every part is left out in turn, and the answers without it are paired with those to the whole prompt."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pp_assets.evaluation.compare import Comparison, compare_scored, with_holm
from pp_assets.prompts.candidate import Candidate, Judged, Origin
from pp_assets.prompts.propose.template import parts, sentences, sound
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.gate import scored
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec

Kind = Literal["system", "instruction", "schema", "labels", "example", "examples"]
Verdict = Literal["buys", "costs", "not shown"]
_TAGS = {name: re.compile(rf"\s*[\[(]?\{{\{{-?\s*{name}\b.*?\}}\}}[\])]?", re.DOTALL) for name in ("schema", "labels")}
_SLOT = re.compile(r"\{[{%]")


@dataclass(frozen=True)
class Part:
    """A piece of a prompt by name and text, and the prompt without it."""

    name: str
    kind: Kind
    text: str
    without: Wording


@dataclass(frozen=True)
class Impact:
    """What a part does: `tokens` that it takes in every prompt, and the whole prompt against the one without it. A positive effect is what
    the part buys. `verdict` is by Holm's p over all parts."""

    part: Part
    tokens: int
    effect: Comparison
    verdict: Verdict


def parts_of(spec: TaskSpec, wording: Wording) -> list[Part]:
    """The parts that can be left out of a wording, each alone: the system prompt and its sentences, the sentences of the template, the
    schema, the list of labels, each example and all of them. What would break the template stays; so does what holds the input."""
    found = [*_system(wording), *_template(spec, wording), *_tags(spec, wording), *_shots(wording)]
    known, whole = set[str](), wording.digest(spec)
    different = []
    for part in found:
        digest = part.without.digest(spec)
        if digest != whole and digest not in known:
            known.add(digest)
            different.append(part)
    return different


def impact(
    spec: TaskSpec, arena: Arena, wording: Wording, rows: Sequence[Example], tokens: Callable[[str], int]
) -> tuple[Judged, list[Impact]]:
    """(the whole prompt, its parts in the order of the prompt), judged on the same rows. `tokens` counts those of a text."""
    whole = arena.judge(Candidate.of(spec, wording, Origin("whole")), rows)
    found, alpha = parts_of(spec, wording), arena.scoring.alpha
    full, size = scored(spec, whole), tokens(read(spec, wording))
    effects, sizes = [], []
    for part in found:
        judged = arena.judge(Candidate.of(spec, part.without, Origin("without", note=part.name)), rows)
        effects.append(compare_scored(full, scored(spec, judged)))
        sizes.append(size - tokens(read(spec, part.without)))
    return whole, [
        Impact(part, taken, effect, _verdict(effect, alpha)) for part, taken, effect in zip(found, sizes, with_holm(effects), strict=True)
    ]


def read(spec: TaskSpec, wording: Wording) -> str:
    """All that a model reads beside the input."""
    return "\n".join(message["content"] for message in wording.messages(spec, ""))


def _verdict(effect: Comparison, alpha: float) -> Verdict:
    if effect.effect is None or effect.p_holm is None or effect.p_holm >= alpha:
        return "not shown"
    return "buys" if effect.effect > 0 else "costs"


def _system(wording: Wording) -> Iterator[Part]:
    if not wording.system:
        return
    yield Part("system prompt", "system", wording.system, replace(wording, system=""))
    said = sentences(wording.system) if not _SLOT.search(wording.system) else []
    for i, sentence in enumerate(said if len(said) > 1 else []):
        left = "".join([*said[:i], *said[i + 1 :]]).strip()
        yield Part(f"system prompt, sentence {i + 1}", "system", sentence.strip(), replace(wording, system=left))


def _template(spec: TaskSpec, wording: Wording) -> Iterator[Part]:
    head, tail = parts(wording.template)
    before, after = sentences(head), tail.splitlines(keepends=True)
    pieces = [*before, *after]
    for i, piece in enumerate(pieces):
        if not piece.strip() or (i >= len(before) and _SLOT.search(piece)):
            continue
        left = "".join([*pieces[:i], *pieces[i + 1 :]])
        if sound(spec, left):
            yield Part(f"instruction {i + 1}", "instruction", piece.strip(), replace(wording, template=left))


def _tags(spec: TaskSpec, wording: Wording) -> Iterator[Part]:
    kinds: tuple[Literal["schema", "labels"], ...] = ("schema", "labels")
    for kind in kinds:
        left, count = _TAGS[kind].subn("", wording.template)
        if count and sound(spec, left):
            text = " ".join(match[0].strip() for match in _TAGS[kind].finditer(wording.template))
            yield Part({"schema": "schema", "labels": "list of labels"}[kind], kind, text, replace(wording, template=left))


def _shots(wording: Wording) -> Iterator[Part]:
    shots = wording.shots
    for i, shot in enumerate(shots):
        yield Part(f"example {i + 1}", "example", shot.input_text, replace(wording, shots=(*shots[:i], *shots[i + 1 :])))
    if len(shots) > 1:
        yield Part("all examples", "examples", f"{len(shots)} examples", replace(wording, shots=()))
