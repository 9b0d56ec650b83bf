"""Functions that a step lets its model call. The model says which, with which arguments; the evaluation's own statistics compute.

Numbers and rows never pass through a model: an argument names the answers of an instance, such as `parallel_test.tester_1`.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pp_assets.workflows import statistics
from pp_assets.workflows.grammar import FunctionUse, Step
from pp_assets.workflows.loading import Loaded
from pp_assets.workflows.schemas import SHORT, type_of
from pp_assets.workflows.statistics import Measured, Unanswerable
from pp_resources.errors import UserError, nearest

ANSWERS, SCORES = "answers", "scores"  # of one instance: its rows, or the score of each row


@dataclass(frozen=True)
class Real:
    """A function that is there. `parameters`: by name, ANSWERS, SCORES or a type of `schemas.SHORT`. What is not given has a default."""

    run: Callable[..., Any]
    description: str
    parameters: Mapping[str, str]


REAL = {
    "calculate_metrics": Real(
        statistics.calculate_metrics, "Quality of each set of answers, with intervals", {"answers": ANSWERS, "metrics": "list[string]"}
    ),
    "statistical_analysis": Real(
        statistics.statistical_analysis, "Paired tests of all sets of answers against each other", {"confidence_level": "number"}
    ),
    "perform_t_test": Real(
        statistics.perform_t_test,
        "Compare the mean scores of two sets of answers",
        {"model_a_scores": SCORES, "model_b_scores": SCORES, "confidence_level": "number"},
    ),
    "calculate_effect_size": Real(
        statistics.calculate_effect_size,
        "How large the difference of two sets of answers is",
        {"model_a_scores": SCORES, "model_b_scores": SCORES, "confidence_level": "number"},
    ),
    "power_analysis": Real(
        statistics.power_analysis,
        "How many items it takes to show an effect",
        {"effect": "number", "discordance": "number", "power": "number", "alpha": "number"},
    ),
    "demographic_analysis": Real(
        statistics.demographic_analysis, "Which groups of people the inputs mention, and how they fare", {"answers": ANSWERS}
    ),
    "fairness_metrics": Real(
        statistics.fairness_metrics, "Whether answers change with names, gender or nationality alone; parity by group", {"answers": ANSWERS}
    ),
}


@dataclass(frozen=True)
class Called:
    """A function of a step. `arguments` are fixed; `open` are the parameters that the model may set; `where` its place in the file."""

    name: str
    description: str
    run: Callable[..., Any]
    open: Mapping[str, str | Mapping[str, Any]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False
    where: tuple[int | str, ...] = ()

    def schema(self, measured: Sequence[str]) -> dict[str, Any]:
        """Of a call of this function. No parameter must be set."""
        properties = {name: _schema(kind, measured) for name, kind in self.open.items()}
        if not measured:
            properties = {name: one for name, one in properties.items() if self.open[name] not in (ANSWERS, SCORES)}
        arguments = {"type": "object", "additionalProperties": False, "properties": properties}
        return {
            "type": "object",
            "additionalProperties": False,
            "required": ["function", "arguments"],
            "properties": {"function": {"const": self.name}, "arguments": arguments},
        }


def called(loaded: Loaded, index: int, step: Step) -> tuple[Called, ...]:
    """The functions of a step, files of functions opened; what is wrong goes to `loaded.problems`."""
    found: dict[str, Called] = {}
    for key in ("functions", "claude_functions", "gemini_functions"):
        for i, use in enumerate(getattr(step, key)):
            shared = loaded.shelf.find(use.name, "functions")
            if shared is None and ("/" in use.name or use.name.endswith((".yaml", ".yml"))):
                loaded.problem(loaded.line(index, key, i), *loaded.shelf.missing(use.name, "functions"))
                continue
            for one in shared.functions if shared else [use]:
                made = _one(loaded, index, (key, i), one, {f.name: f for c in loaded.shelf.components for f in c.functions})
                if made:
                    found[made.name] = made
    return tuple(found.values())


def call_schema(functions: Sequence[Called], measured: Sequence[str]) -> dict[str, Any]:
    """Of which functions to call with which arguments: at least one, each at most a few times."""
    calls = {"type": "array", "minItems": 1, "maxItems": 2 * len(functions), "items": {"anyOf": [f.schema(measured) for f in functions]}}
    return {"type": "object", "additionalProperties": False, "required": ["calls"], "properties": {"calls": calls}}


def perform(function: Called, arguments: Mapping[str, Any], data: Measured) -> dict[str, Any]:
    """The call and its result; a question that the data does not answer has an `error`."""
    entry: dict[str, Any] = {"function": function.name, "arguments": dict(arguments)}
    try:
        return entry | {"result": function.run(**arguments) if function.own else function.run(data, **arguments)}
    except (Unanswerable, UserError) as error:
        return entry | {"error": str(error)}


def imported(call: str) -> Callable[..., Any]:
    """The function `module:function`. A model chooses its arguments, so that it may not be of Python's own library, which holds those that
    run programs. Raises ImportError, AttributeError or ValueError."""
    if call.partition(":")[0].partition(".")[0] in sys.stdlib_module_names:
        raise ValueError("it is of Python's own library")
    from pp_assets.task.contract.spec import resolve_scorer

    return resolve_scorer(call)


def _one(loaded: Loaded, index: int, where: tuple[int | str, ...], use: FunctionUse, shared: Mapping[str, FunctionUse]) -> Called | None:
    """A name alone takes what a component file says of it."""
    line = (
        loaded.line(index, *where, "name")
        if (*loaded.prefix, "steps", index, *where, "name") in loaded.places
        else loaded.line(index, *where)
    )
    if use == FunctionUse(name=use.name) and use.name in shared:
        use = shared[use.name]
    real = REAL.get(use.name)
    if use.call is None and real is None:
        loaded.problem(line, f"unknown function {use.name!r}", nearest(use.name, [*REAL, *shared]) + ", or give it 'call': module:function")
        return None
    for name, kind in use.parameters.items():
        if isinstance(kind, str) and kind.removeprefix("list[").removesuffix("]") not in SHORT:
            at = loaded.line(index, *where, "parameters", name)
            loaded.problem(at, f"function {use.name!r}: unknown type {kind!r} of {name!r}", nearest(kind, SHORT))
            return None
    run: Any = real.run if real else None
    kinds: dict[str, Any] = dict(real.parameters) if real else {}
    if use.call is not None:
        try:
            run = imported(use.call)
        except (ImportError, AttributeError, ValueError) as error:
            at = loaded.line(index, *where, "call")
            what = f"function {use.name!r}: {use.call!r} cannot be imported ({error})"
            loaded.problem(at, what, "name module:function of an installed package")
            return None
        kinds = {name: use.parameters.get(name, "string") for name in inspect.signature(run).parameters}
    for name in [*use.parameters, *use.arguments]:
        if name not in kinds:
            key = "parameters" if name in use.parameters else "arguments"
            at = loaded.line(index, *where, key, name)
            loaded.problem(at, f"function {use.name!r} has no parameter {name!r}", nearest(name, kinds))
    left = {name: kind for name, kind in kinds.items() if name not in use.arguments}
    return Called(use.name, use.description or (real.description if real else ""), run, left, use.arguments, use.call is not None, where)


def _schema(kind: str | Mapping[str, Any], measured: Sequence[str]) -> dict[str, Any]:
    if kind in (ANSWERS, SCORES):
        return {"enum": list(measured)}
    return type_of(kind)
