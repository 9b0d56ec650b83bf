"""Other words around the same question: the instruction template reworded, and wrappers around an input."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pp_assets.task.prompt import labels, template_fault

if TYPE_CHECKING:
    from pp_assets.task.spec import TaskSpec


def _polite(template: str) -> str:
    return f"Please do the following with care, thank you.\n{template}"


def _role(template: str) -> str:
    return f"You are an assistant who reads closely and answers exactly.\n{template}"


def _white_space(template: str) -> str:
    """Every line break doubled, and one more at the end."""
    return re.sub(r"\n+", "\n\n", template.rstrip("\n")) + "\n\n"


def _order(template: str) -> str:
    """The last line, which mostly holds the input, before the others."""
    *first, last = template.rstrip("\n").split("\n")
    return "\n".join([last, *first]) + "\n"


def _other_label(template: str) -> str:
    """Another word before the input."""
    return re.sub(r"\b(Input|Text|Message)(?=:\s*\{\{\s*input_text)", lambda m: "Message" if m[1] != "Message" else "Text", template)


REWORDINGS: Mapping[str, Callable[[str], str]] = {
    "polite": _polite,
    "role": _role,
    "white_space": _white_space,
    "order": _order,
    "other_label": _other_label,
}
# For models that read nothing but the input.
WRAPPERS: Mapping[str, Callable[[str], str]] = {
    "label": "Message: {}".format,
    "line_before": "New message:\n\n{}".format,
    "quotes": '"{}"'.format,
    "end_mark": "{}\n\n(end of message)".format,
    "white_space": "  {}\n\n".format,
}


def reworded(spec: "TaskSpec") -> dict[str, "TaskSpec"]:
    """The task with its template in other words, by the name of the rewording; those that change nothing or break the template left out."""
    import json

    template, names = spec.instruction_template, json.dumps(labels(spec))
    made = {name: change(template) for name, change in REWORDINGS.items()}
    sound = {name: text for name, text in made.items() if text != template and template_fault(text, names) is None}
    return {name: spec.model_copy(update={"instruction_template": text}) for name, text in sound.items()}
