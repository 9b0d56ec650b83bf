"""The words of a prompt: what a search varies, and exactly what a model reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pp_assets.task.causal_prompt import PROMPT_PROBE
from pp_assets.task.prompt import Shot, render_examples, split_prompt
from pp_assets.task.spec import TaskSpec
from pp_resources.fingerprint import digest
from pp_resources.models.causal_prompt import Prompt

MOST_STEPS, STEP_CHARS = 8, 240  # of a reasoning: what a small model can hold
REASONING, ANSWER = "reasoning", "answer"


@dataclass(frozen=True)
class Shown:
    """An example of the prompt. `reasoning` are its steps, where the prompt asks for some; `item_id` that of the training row."""

    input_text: str
    output: dict[str, Any]
    reasoning: tuple[str, ...] = ()
    item_id: str = ""


@dataclass(frozen=True)
class Wording:
    """System prompt, instruction template (Jinja2, as in task.yaml) and examples. `reasoned`: steps are asked for before the answer,
    which stands in an object of its own then (`reasoned_schema`)."""

    system: str
    template: str
    shots: tuple[Shown, ...] = ()
    reasoned: bool = False

    @classmethod
    def of(cls, spec: TaskSpec) -> "Wording":
        """That of a task."""
        return cls(spec.system_prompt, spec.instruction_template)

    def schema(self, spec: TaskSpec) -> dict[str, Any]:
        """What an answer follows."""
        return reasoned_schema(spec.output_schema) if self.reasoned else spec.output_schema

    def prompt(self, spec: TaskSpec) -> Prompt:
        """The text around the input, the same for all inputs."""
        worded = spec.model_copy(update={"system_prompt": self.system, "instruction_template": self.template})
        return Prompt(self.system, *split_prompt(worded, self._examples(), self.schema(spec)))

    def messages(self, spec: TaskSpec, input_text: str) -> list[dict[str, str]]:
        """Chat messages for one input: the system prompt where there is one, then one user message."""
        prompt = self.prompt(spec)
        user = {"role": "user", "content": prompt.before + input_text + prompt.after}
        return [{"role": "system", "content": prompt.system}, user] if prompt.system else [user]

    def showing(self, shots: Sequence[Shot]) -> "Wording":
        """The same words with these examples. Where steps are asked for, theirs are an empty list unless they have some."""
        return replace(self, shots=tuple(Shown(one.input_text, one.output, getattr(one, "reasoning", ())) for one in shots))

    def block(self, spec: TaskSpec) -> str:
        """The examples as they stand in the prompt."""
        return render_examples(self.schema(spec), self._examples())

    def digest(self, spec: TaskSpec) -> str:
        """SHA-256 of exactly what a model reads for a probe, and of the form of the answer: two wordings that read alike are one."""
        return digest([self.messages(spec, PROMPT_PROBE), self.schema(spec)], ordered=True)

    def _examples(self) -> Sequence[Shown]:
        return self._wrapped if self.reasoned else self.shots

    @cached_property
    def _wrapped(self) -> list[Shown]:
        return [Shown(one.input_text, {REASONING: list(one.reasoning), ANSWER: one.output}) for one in self.shots]


def reasoned_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an answer that comes after the steps that lead to it. Definitions stay at the root, where references look."""
    inner = {name: value for name, value in schema.items() if name not in ("$defs", "definitions", "$schema", "$id")}
    outer: dict[str, Any] = {name: schema[name] for name in ("$schema", "$defs", "definitions") if name in schema}
    steps = {"type": "array", "items": {"type": "string", "maxLength": STEP_CHARS}, "maxItems": MOST_STEPS}
    return {
        **outer,
        "type": "object",
        "properties": {REASONING: steps, ANSWER: inner},
        "required": [REASONING, ANSWER],
        "additionalProperties": False,
    }
