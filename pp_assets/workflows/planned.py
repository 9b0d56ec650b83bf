"""A step with all that was found out of it, and the texts in it that may hold names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pp_assets.workflows.components import Component, Text
from pp_assets.workflows.functions import Called
from pp_assets.workflows.grammar import Step
from pp_assets.workflows.loading import Loaded


@dataclass(frozen=True)
class Planned:
    """A step with all that was found out of it. `reads` are steps; `context` the one whose output it is shown; `rows` a template of where
    its rows come from; `wanted` the fields that others read of its output; `form` the schema of its answer, None for text."""

    step: Step
    index: int
    mode: str
    model: str
    prompt: tuple[Text, ...] = ()
    instances: tuple[Text | None, ...] = ()
    reads: tuple[str, ...] = ()
    context: str | None = None
    rows: Any = None
    measured: tuple[str, ...] = ()
    functions: tuple[Called, ...] = ()
    component: Component | None = None
    wanted: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] | None = None
    items: Mapping[str, tuple[str, str, int]] = field(default_factory=dict)
    used: tuple[str, ...] = ()  # variables

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def gives_rows(self) -> bool:
        measured = self.mode == "parallel" and (self.rows is not None or bool(self.step.augmentation_strategies))
        return self.mode in ("batch", "extract", "session") or measured or "cases" in self.wanted


def texts_of(loaded: Loaded, one: Planned) -> Iterator[Text]:
    """Every text of a step that may hold names."""
    step, index = one.step, one.index
    yield from one.prompt
    yield from (text for text in one.instances if text)
    places: list[tuple[Any, tuple[int | str, ...]]] = [(step.role, ("role",)), (step.test_data, ("test_data",))]
    places += [(step.batch_config.test_suite, ("batch_config", "test_suite")), (step.options.model, ("options", "model"))]
    for i, instance in enumerate(step.instances or []):
        places += [(instance.role, ("instances", i, "role")), (instance.llm, ("instances", i, "model_config"))]
    if step.extraction_config:
        places += [(getattr(step.extraction_config, key), ("extraction_config", key)) for key in ("source", "criteria")]
    if step.session_config:
        places.append((step.session_config.task, ("session_config", "task")))
    for function in one.functions:
        places += [(value, (*function.where, "arguments", name)) for name, value in function.arguments.items()]
    yield from _strings(loaded, index, places)


def texts_of_variables(loaded: Loaded, one: Planned) -> Iterator[Text]:
    return _strings(loaded, one.index, [(value, ("variables", name)) for name, value in one.step.variables.items()])


def _strings(loaded: Loaded, index: int, places: Sequence[tuple[Any, tuple[int | str, ...]]]) -> Iterator[Text]:
    """The texts in values: each itself, or in a list or mapping."""
    for value, where in places:
        for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]:
            if isinstance(part, str) and part:
                yield loaded.text(part, index, *where)  # of a function from a component: the line of the step
