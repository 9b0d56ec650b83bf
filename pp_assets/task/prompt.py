"""From a TaskSpec to prompt text: a sandboxed Jinja2 template that holds the input exactly once."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import SandboxedEnvironment

from pp_resources.errors import nearest
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output, leaf_fields

if TYPE_CHECKING:
    from pp_assets.task.spec import TaskSpec

VARIABLES = ("input_text", "schema", "labels", "examples")
# Private-use characters: no text of a template or a schema holds them by chance.
_MARK = "\ue000input\ue001"


class Shot(Protocol):
    """What a few-shot example must have; `Example` of the dataset does."""

    @property
    def input_text(self) -> str: ...
    @property
    def output(self) -> dict[str, Any]: ...


def render_prompt(spec: "TaskSpec", input_text: str, examples: Sequence[Shot] = ()) -> list[dict[str, str]]:
    """Chat messages for one input: the system prompt where there is one, then one user message."""
    before, after = split_prompt(spec, examples)
    user = {"role": "user", "content": before + input_text + after}
    return [{"role": "system", "content": spec.system_prompt}, user] if spec.system_prompt else [user]


def split_prompt(spec: "TaskSpec", examples: Sequence[Shot] = (), schema: dict[str, Any] | None = None) -> tuple[str, str]:
    """Text of the user message before and after the input, equal for all inputs (a shared prefix can be computed once).

    Examples stand where the template says `{{ examples }}`; a template without it gets them in front. `schema` is that of the answer, by
    default the task's; outputs of examples follow it.
    """
    wanted = spec.io_schema.output if schema is None else schema
    block = render_examples(wanted, examples)
    told = json.dumps(wanted, ensure_ascii=False, separators=(",", ":"))
    return _split(spec.instruction_template, told, json.dumps(labels(spec), ensure_ascii=False), block)


def render_examples(schema: dict[str, Any], examples: Sequence[Shot]) -> str:
    """The few-shot block: `Input:` and `Output:` lines with JSON in the form that `schema` gives it, empty without examples."""
    return "".join(f"Input: {e.input_text}\nOutput: {dump_output(schema, e.output)}\n\n" for e in examples)


def prompt_words(spec: "TaskSpec") -> dict[str, str]:
    """A task's prompt as its author wrote it, with the digest that tells its versions apart."""
    words = {"system_prompt": spec.system_prompt, "instruction_template": spec.instruction_template}
    return {"digest": digest(words), **words}


def labels(spec: "TaskSpec") -> dict[str, list[Any]]:
    """Allowed values by dotted field: `label_enums` of the spec, for the other enums those of the output schema."""
    found = {f.path: list(f.values) for f in leaf_fields(spec.io_schema.output) if f.kind in ("enum", "array_enum")}
    return found | spec.label_enums


def template_fault(template: str, label_json: str = "{}") -> tuple[str, str] | None:
    """(what, how) of the first fault of an instruction template, None when it is sound.

    `label_json` holds the labels of the task, since a template may name one of them. Rendered with a mark for the input, so that a loop
    or a condition cannot hide the input or repeat it.
    """
    env = _environment()
    try:
        tree = env.parse(template)
    except TemplateSyntaxError as error:
        return f"template syntax, line {error.lineno}: {error.message}", "see https://jinja.palletsprojects.com/templates"
    for name in sorted(meta.find_undeclared_variables(tree)):
        if name not in VARIABLES:
            return f"template variable {name!r} does not exist", nearest(name, VARIABLES)
    try:
        counts = {_render(template, "{}", label_json, examples).count(_MARK) for examples in ("", "Input: x\nOutput: {}\n\n")}
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        return f"template does not render: {error}", f"variables: {', '.join(VARIABLES)}"
    if counts == {1}:
        return None
    if counts == {0} and "input_text" in meta.find_undeclared_variables(tree):
        return "the template changes or hides input_text", "write {{ input_text }} once, without filters"
    return f"input_text stands {max(counts) if 0 not in counts else 0} times in the template", "write {{ input_text }} exactly once"


class _Labels(dict[str, list[Any]]):
    """Labels that a template may loop over; printed whole, they are JSON."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)


@lru_cache(maxsize=256)
def _split(template: str, schema: str, label_json: str, examples: str) -> tuple[str, str]:
    text = _render(template, schema, label_json, examples)
    if examples and "examples" not in meta.find_undeclared_variables(_environment().parse(template)):
        text = examples + text
    before, _, after = text.partition(_MARK)
    return before, after


def _render(template: str, schema: str, label_json: str, examples: str) -> str:
    return _compiled(template).render(input_text=_MARK, schema=schema, labels=_Labels(json.loads(label_json)), examples=examples)


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


@lru_cache(maxsize=1)
def _environment() -> SandboxedEnvironment:
    # Prompts are plain text: escaping would change what the model reads.
    return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
