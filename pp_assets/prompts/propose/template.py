"""Changes to an instruction template that leave its placeholders where they are.

A template is its head, the lines of instruction, and its tail, from the line on that shows examples or the input. New instructions go to
the end of the head or take its place; the tail is never touched. Where that would break the template, they go in front of all of it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace

from pp_assets.prompts.wording import Wording
from pp_assets.task.prompt import labels, template_fault
from pp_assets.task.spec import TaskSpec

_SLOT = re.compile(r"\{[{%][^}%]*\b(?:input_text|examples)\b")
_TAG = re.compile(r"\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
_END = re.compile(r"(?<=[.!?])[ \t]+|\n+")
_OPENER = re.compile(r"\{(?=[{%#])")


def literal(text: str) -> str:
    """Template source that renders as `text`: nothing in it is Jinja."""
    plain = re.sub(r"\r\n?", "\n", text).replace("\ue000", "").replace("\ue001", "")
    return _OPENER.sub("{{ '{' }}", plain)


def parts(template: str) -> tuple[str, str]:
    """(head, tail); together they are the template."""
    slot = _SLOT.search(template)
    start = template.rfind("\n", 0, slot.start()) + 1 if slot else 0
    return template[:start], template[start:]


def sound(spec: TaskSpec, template: str) -> bool:
    """Whether it renders, with the input in it exactly once."""
    return template_fault(template, json.dumps(labels(spec))) is None


def instruction(spec: TaskSpec, wording: Wording) -> str:
    """The instructions of a wording as a model reads them: its head; the whole prompt where that cannot stand alone."""
    head, _ = parts(wording.template)
    alone = f"{head}{{{{ input_text }}}}"
    whole = replace(wording, template=alone if head.strip() and sound(spec, alone) else wording.template, shots=())
    prompt = whole.prompt(spec)
    return prompt.before.strip() if whole.template == alone else f"{prompt.before}[the input]{prompt.after}".strip()


def added(spec: TaskSpec, wording: Wording, source: str) -> Wording:
    """With one more paragraph, given as template source, at the end of the instructions."""
    head, tail = parts(wording.template)
    return _first_shown(spec, wording, source, [f"{_line(head)}{_line(source)}{tail}", f"{_line(source)}{wording.template}"])


def ended(spec: TaskSpec, wording: Wording, source: str) -> Wording:
    """With template source as its last line, after the input."""
    return _first_shown(spec, wording, source, [f"{_line(wording.template)}{source}"])


def rewritten(spec: TaskSpec, wording: Wording, source: str) -> Wording:
    """With template source in the place of the instructions."""
    _, tail = parts(wording.template)
    return _first_shown(spec, wording, source, [f"{_line(source)}{tail}", f"{_line(source)}{wording.template}"])


def sentences(head: str) -> list[str]:
    """The sentences and lines of a head; joined they are the head. A head with blocks is one sentence: nothing may be cut out of them."""
    if "{%" in head:
        return [head]
    tags = [match.span() for match in _TAG.finditer(head)]
    cuts = [m.end() for m in _END.finditer(head) if not any(start < m.end() < end for start, end in tags)]
    return [head[a:b] for a, b in zip([0, *cuts], [*cuts, len(head)]) if a < b]


def with_sentences(spec: TaskSpec, wording: Wording, said: Iterable[str]) -> Wording:
    """With other sentences as its instructions; as it was where that breaks the template."""
    template = "".join(said) + parts(wording.template)[1]
    return replace(wording, template=template) if sound(spec, template) else wording


def _line(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _first_shown(spec: TaskSpec, wording: Wording, source: str, templates: list[str]) -> Wording:
    """With the first template that is sound and shows what was put in (a comment or a branch may hide it); else as it was."""
    for template in templates:
        if sound(spec, template):
            made = replace(wording, template=template)
            prompt = replace(made, shots=()).prompt(spec)
            alone = replace(wording, template=f"{_line(source)}{{{{ input_text }}}}", shots=())
            if sound(spec, alone.template) and alone.prompt(spec).before.strip() in prompt.before + "\n" + prompt.after:
                return made
    return wording
