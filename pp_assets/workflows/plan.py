"""What a workflow does, before anything is asked: which step reads what, in which order, with which model, in which form it answers.

The rules of names. `{name}` is, the first that there is: a variable of the step; one that the user sets (--set, --vars,
defaults.variables); the output of the step of that name, `{step.field}` a part of it. `{variation_2}` is item 2, from 1, of the list
`variations` of the nearest step before whose name holds that word, as in generate_variations. What later steps read of a step that has no
schema is the schema that it is asked with.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pp_assets.workflows.checks import check_step, prompt_of
from pp_assets.workflows.components import Text
from pp_assets.workflows.functions import called
from pp_assets.workflows.grammar import Step
from pp_assets.workflows.loading import Loaded, component_text
from pp_assets.workflows.planned import Planned, texts_of, texts_of_variables
from pp_assets.workflows.problems import BadWorkflow, Problem
from pp_assets.workflows.schemas import closed, faults, full
from pp_assets.workflows.table import StepType
from pp_assets.workflows.template import Ref, TemplateFault, names, parse
from pp_resources.errors import nearest

TEST_DATA = "test_data"  # the variable that has the rows of every step that takes rows and names none
OF_A_ROW = frozenset({"input", "role"})  # names that a step has for itself
ROW_MODES = ("batch", "robust", "session", "calculate")  # cannot do without rows
MEASURED = ("batch", "parallel")  # give answers that functions can look at
CASE = {"input": {"type": "string"}, "expected": {"type": "string"}, "category": {"type": "string"}}
CASES = {"type": "array", "minItems": 1, "items": closed(CASE)}


def make_plan(loaded: Loaded, types: Mapping[str, StepType], variables: Mapping[str, Any], workspace: Path) -> list[Planned]:
    """The steps in the order in which they run. Raises BadWorkflow with everything that is wrong."""
    made = _Planner(loaded, types, variables, workspace).plan()
    if loaded.problems:
        raise BadWorkflow(loaded.problems)
    return made


class _Planner:
    def __init__(self, loaded: Loaded, types: Mapping[str, StepType], variables: Mapping[str, Any], workspace: Path) -> None:
        self.loaded, self.types, self.variables, self.workspace = loaded, types, variables, workspace
        self.wanted: dict[str, dict[str, Any]] = {}
        self.files = {step.output_file: step.name for _, step in loaded.steps if step.output_file}
        self.done: list[Planned] = []
        self.used: set[str] = set()

    def plan(self) -> list[Planned]:
        for index, step in self.loaded.steps:
            self.done.append(self._step(index, step))
        self.done = [replace(one, wanted=self.wanted.get(one.name, {})) for one in self.done]
        self.done = [self._implied(place, one) for place, one in enumerate(self.done)]
        self.done = [self._formed(one) for one in self.done]
        self._unknown_fields()
        return self._ordered()

    def _step(self, index: int, step: Step) -> Planned:
        """What the step says itself."""
        kind = self.types.get(step.type)
        component = self.loaded.components.get(step.name)
        if kind is None:
            known = [*self.types, *(c.id for c in self.loaded.shelf.components if c.kind == "step")]
            self.loaded.problem(self.loaded.line(index, "type"), f"unknown step type {step.type!r}", nearest(step.type, known))
            kind = StepType("ask", "")
        else:
            check_step(self.loaded, index, step, kind.mode, component)
        prompt = prompt_of(self.loaded, index, step)
        instances = tuple(
            None
            if one.prompt_template is None
            else component_text(self.loaded, one.prompt_template, index, "instances", i, "prompt_template")
            for i, one in enumerate(step.instances or [])
        )
        functions = called(self.loaded, index, step)
        one = Planned(step, index, kind.mode, kind.model, prompt, instances, functions=functions, component=component)
        self.used = set[str]()
        reads, items = self._names(one)
        return self._given_rows(replace(one, reads=tuple(reads), items=items, used=tuple(sorted(self.used))))

    def _names(self, one: Planned) -> tuple[list[str], dict[str, tuple[str, str, int]]]:
        """The steps that its texts name, and the items of lists among the names."""
        reads = [name for name in one.step.after if self._known_step(one, name)]
        items: dict[str, tuple[str, str, int]] = {}
        texts = [(text, frozenset(one.step.variables)) for text in texts_of(self.loaded, one)]
        texts += [(text, frozenset[str]()) for text in texts_of_variables(self.loaded, one)]  # which do not read each other
        for text, own in texts:
            try:
                found = list(names(parse(text.text)))
            except TemplateFault as fault:
                self._problem_in(text, fault.line, fault.what, "")
                continue
            for ref in found:
                reads += self._name(one, text, ref, items, own)
        return list(dict.fromkeys(reads)), items

    def _name(self, one: Planned, text: Text, ref: Ref, items: dict[str, tuple[str, str, int]], own: frozenset[str]) -> list[str]:
        """The steps that a name reads; what is missing is a problem. `own`: the step's own variables that the text may name."""
        first, *path = ref.name.split(".")
        if first in own or first in OF_A_ROW:
            return []
        if first in self.variables:
            self.used.add(first)
            return []
        if first in self.loaded.named:
            if path:
                self.wanted.setdefault(first, {}).setdefault(path[0], {})
            return [first]
        item = self._item(one, first)
        if item:
            items[first] = item
            step, key, place = item
            before = self.wanted.setdefault(step, {}).get(key) or {"type": "array", "items": {"type": "string"}, "minItems": 0}
            self.wanted[step][key] = before | {"minItems": max(before["minItems"], place)}
            return [step]
        known = {*self.variables, *self.loaded.named, *own}
        close = nearest(first, known) if known else ""
        how = f"{close if close.startswith('did') else ''} set it with --set {first}=VALUE or in --vars".strip()
        self._problem_in(text, ref.line, f"missing variable {{{ref.name}}} of step {one.name!r}", how)
        return []

    def _item(self, one: Planned, name: str) -> tuple[str, str, int] | None:
        """(step, key, place) of `word_N`: the nearest step before whose name holds the plural of `word`."""
        found = re.fullmatch(r"([a-z]\w*?)_([1-9]\d{0,2})", name)
        if not found:
            return None
        word, place = found[1], int(found[2])
        plurals = (word + "s", word + "es", word[:-1] + "ies")
        before = self.loaded.named[: one.index]
        for step in reversed(before):
            for plural in plurals:
                if plural in step.split("_"):
                    return step, plural, place
        return None

    def _given_rows(self, one: Planned) -> Planned:
        """Rows that the step names: a value, a variable, the file of a step or one that is there."""
        step = one.step
        source = step.test_data if step.test_data is not None else step.batch_config.test_suite
        if source is None:
            return one
        if isinstance(source, str) and "{" not in source:
            if source in self.files:
                source = f"{{{self.files[source]}}}"
            elif not any((folder / source).is_file() for folder in (self.workspace, self.loaded.file.parent)):
                key = ("test_data",) if step.test_data is not None else ("batch_config", "test_suite")
                line = self.loaded.line(one.index, *key)
                self.loaded.problem(line, f"no step writes {source!r}, and there is no such file", nearest(source, self.files))
        reads = list(one.reads)
        for name in _steps_in(source, self.loaded.named):
            reads.append(name)
            if "." not in source:
                self.wanted.setdefault(name, {}).setdefault("cases", CASES)
        return replace(one, rows=source, reads=tuple(dict.fromkeys(reads)))

    def _implied(self, place: int, one: Planned) -> Planned:
        """What the step does not say: rows of the nearest step before that gives some, and what functions look at. The output of the step
        before is the context of one that names no step."""
        before = self.done[:place]
        explicit = bool(one.reads)
        rows, reads = one.rows, list(one.reads)
        takes = one.mode in (*ROW_MODES, "parallel") and rows is None
        giver = next((other for other in reversed(before) if other.gives_rows), None) if takes else None
        if giver and (one.mode != "parallel" or one.step.augmentation_strategies or not _closed_prompt(one)):
            rows = f"{{{giver.name}}}"
            reads.append(giver.name)
        elif takes and TEST_DATA in self.variables:
            rows, one = f"{{{TEST_DATA}}}", replace(one, used=(*one.used, TEST_DATA))
        if takes and rows is None and (one.mode in ROW_MODES or one.step.augmentation_strategies):
            line = self.loaded.line(one.index, "name")
            self.loaded.problem(line, f"step {one.name!r} has no rows: no step before gives some", "give it test_data")
        wants_facts = bool(one.functions) or one.mode == "instructor"
        measured = [other.name for other in before if other.mode in MEASURED and other.gives_rows] if wants_facts else []
        reads += measured
        context = None
        own = bool(one.prompt) or any(one.instances)
        if not explicit and before and (one.mode in ("ask", "instructor") or (not own and rows != f"{{{before[-1].name}}}")):
            context = before[-1].name
            reads.append(context)
        made = replace(one, rows=rows, reads=tuple(dict.fromkeys(reads)), measured=tuple(measured), context=context)
        self.done[place] = made
        return made

    def _formed(self, one: Planned) -> Planned:
        step, wanted = one.step, dict(one.wanted)
        given = step.output_schema if step.output_schema is not None else step.options.form
        if given is not None:
            return one if any(faults(given)) else replace(one, form=full(given))
        if one.mode not in ("ask", "parallel") or (one.mode == "parallel" and one.rows is not None):
            return one
        as_json = step.options.output_format in ("json", "jsonl") or (step.output_file or "").endswith((".json", ".jsonl"))
        if one.mode == "ask" and wanted and not one.functions:
            return replace(one, form={"type": "object", "required": list(wanted), "properties": wanted})
        if "jsonl" in (step.options.output_format, (step.output_file or "").rpartition(".")[2]):
            return replace(one, form=closed({"rows": {"type": "array", "items": {"type": "object"}}}))
        return replace(one, form={"type": "object"}) if as_json else one

    def _unknown_fields(self) -> None:
        """Fields that are read of a step whose own schema has no such field."""
        for one in self.done:
            properties = (one.form or {}).get("properties")
            if properties is None or one.mode not in ("ask", "instructor"):
                continue
            for name in one.wanted.keys() - properties.keys():
                line = self.loaded.line(one.index, "output_schema" if one.step.output_schema is not None else "options")
                self.loaded.problem(
                    line, f"later steps read {name!r} of step {one.name!r}, whose schema has no such field", nearest(name, properties)
                )

    def _ordered(self) -> list[Planned]:
        """Each after what it reads, else as in the file. A cycle is a problem."""
        left, ready, order = list(self.done), set[str](), list[Planned]()
        known = {one.name for one in left}
        while left:
            free = next((one for one in left if all(name in ready or name not in known for name in one.reads)), None)
            if free is None:
                names_ = _cycle(left)
                first = next(one for one in left if one.name == names_[0])
                line = self.loaded.line(first.index, "name")
                self.loaded.problem(line, f"the steps read each other in a circle: {' → '.join(names_)}", "take one of these names out")
                return order
            left.remove(free)
            ready.add(free.name)
            order.append(free)
        return order

    def _known_step(self, one: Planned, name: str) -> bool:
        if name not in self.loaded.named:
            self.loaded.problem(self.loaded.line(one.index, "after"), f"unknown step {name!r}", nearest(name, self.loaded.named))
        return name in self.loaded.named

    def _problem_in(self, text: Text, line: int, what: str, how: str) -> None:
        self.loaded.problems.append(Problem(text.file, text.line + line, what, how))


def _closed_prompt(one: Planned) -> bool:
    """Whether the instances say all by themselves: prompts of their own with no place for an input, and no test data."""
    return bool(one.prompt) or (bool(one.instances) and all(one.instances))


def _steps_in(source: Any, known: Sequence[str]) -> list[str]:
    if not isinstance(source, str):
        return []
    return [first for ref in names(parse(source)) if (first := ref.name.partition(".")[0]) in known]


def _cycle(left: Sequence[Planned]) -> list[str]:
    """The names of one circle, the first again at the end."""
    reads = {one.name: [name for name in one.reads if name in {other.name for other in left}] for one in left}
    path = [left[0].name]
    while True:
        following = reads[path[-1]][0]
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)
