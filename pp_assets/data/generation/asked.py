"""Rows that a provider is asked for: output first, paraphrase, back-translation, self-instruct, evolution.

Output first: the answer is fixed and the text asked for, so that labels are not skewed by what a model likes to write (Wang et al. 2023,
Self-Instruct; attributes after Yu et al. 2023, AttrPrompt; evolution after Xu et al. 2023, Evol-Instruct). Each request aims at a cell of
the coverage grid, the empty ones first. A bad answer drops one row with a reason; a spent budget ends the run with what there is.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from pp_assets.data.generation.grid import NOTHING, Cell, Grid
from pp_assets.data.generation.made import Draft, Generated, as_row, seed_of
from pp_assets.data.generation.methods import Source
from pp_assets.evaluation.suite.spans import copied
from pp_assets.task.examples import Example
from pp_assets.task.spec import Generation
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_schema import Schema, dump_output
from pp_resources.progress import steps

if TYPE_CHECKING:
    from pp_resources.models.remote import Provider

TEMPERATURE = {"CONSERVATIVE": 0.3, "BALANCED": 0.7, "CREATIVE": 1.0, "ADVENTUROUS": 1.2}
MANNER = {
    "CONSERVATIVE": "Stay close to the examples in content and wording.",
    "BALANCED": "Be like the examples in kind, with other content and wording.",
    "CREATIVE": "Find situations and wordings that the examples do not have.",
    "ADVENTUROUS": "Find unusual, awkward and surprising cases that still belong to the task.",
}
LANGUAGES = ("German", "French", "Spanish", "Portuguese", "Polish", "Japanese")
EVOLUTIONS = (
    "add one more condition or detail that matters",
    "make it harder to tell the right output, while only one is right",
    "replace general words by concrete ones",
    "add a sentence that does not matter",
    "write about another situation of the same domain, as rare as this one",
)
_TEXT = {"type": "object", "additionalProperties": False, "required": ["input_text"], "properties": {"input_text": {"type": "string"}}}


@dataclass(frozen=True)
class Request:
    """One row to ask for: the row that is changed or whose output is wanted, the cell aimed at, and what else the text should be."""

    kind: str
    parent: Example
    cell: Cell
    theme: str
    context: str
    seed: int


@dataclass
class Answers:
    """Rows, why others were dropped, and what was spent. `stopped` says why the run ended early."""

    rows: list[Generated] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)


class BadAnswer(Exception):
    """Why an answer gives no row."""


def ask(provider: "Provider", schema: Schema, train: Sequence[Example], spec: Generation, seed: int, instructions: str = "") -> Answers:
    """`spec.ask_rows` requests of the kinds in `spec.ask`, in turn. `instructions` say what the task is."""
    source = Source(schema, train)
    grid, found = Grid(source), Answers()
    spent, cached = Counter[str](), 0
    stopped = ""
    with steps("asking", spec.ask_rows) as advance:
        for request in plan(source, grid, spec, seed):
            rng = random.Random(request.seed)
            asking = _Asking(provider, source, request, rng, spec, instructions)
            try:
                draft = KINDS[request.kind](asking)
                found.rows.append(as_row(source.schema, request.parent, draft, request.kind, request.seed))
            except BadAnswer as error:
                found.dropped[str(error)] += 1
            except UserError as error:
                if provider.budget is None or provider.spent < provider.budget:
                    raise
                stopped = error.what
                break
            spent.update(asking.tokens)
            cached += asking.cached
            advance(request.kind)
    found.facts = {"model": f"{provider.model} at {provider.url}", "requests": len(found.rows) + found.dropped.total(), "cached": cached}
    found.facts |= {f"tokens {name}": n for name, n in sorted(spent.items())} | ({"ended early": stopped} if stopped else {})
    return found


def plan(source: Source, grid: Grid, spec: Generation, seed: int) -> Iterator[Request]:
    """The requests in order. The empty cells come first, then the emptiest; as many as `themes_coverage` name a theme, in turn."""
    if not spec.ask or not source.rows or not spec.ask_rows:
        return
    cells = [*empty_cells(grid), *grid.attempts(spec.ask_rows)]
    order = random.Random(seed_of(seed, "cells")).sample(range(len(cells)), len(cells))
    order = sorted(order, key=lambda i: grid.counts.get(cells[i], 0))
    of_label: dict[str, list[Example]] = {}
    for row in source.rows:
        of_label.setdefault(grid.label(row.output), []).append(row)
    named = 0
    for i in range(spec.ask_rows):
        own, cell = seed_of(seed, "ask", i), cells[order[i % len(order)]]
        due = int((i + 1) * spec.themes_coverage) > named if spec.themes else False
        theme = spec.themes[named % len(spec.themes)] if due else ""
        named += due
        parent = random.Random(own).choice(of_label.get(cell.label) or source.rows)
        context = spec.context_types[i % len(spec.context_types)]
        yield Request(spec.ask[i % len(spec.ask)], parent, cell, theme, context, own)


def empty_cells(grid: Grid) -> list[Cell]:
    """Cells that no row has, with labels that some have; each as hard for one field, in turn."""
    axes = grid.axes()
    against = [leaf.path for leaf in (*grid.slots.labels, *grid.slots.fields)] or [NOTHING]
    every = [Cell(*values) for values in product(*(axes[name] for name in ("label", "difficulty", "length", "style")))]
    return [cell._replace(against=against[i % len(against)]) for i, cell in enumerate(every) if cell not in grid.counts]


class _Asking:
    """One request as messages, and what its answers cost."""

    def __init__(self, provider: "Provider", source: Source, request: Request, rng: random.Random, spec: Generation, words: str) -> None:
        self.provider, self.source, self.request, self.rng, self.spec, self.words = provider, source, request, rng, spec, words
        self.tokens: Counter[str] = Counter()
        self.cached, self.asked = 0, list[str]()
        others = [row for row in source.rows if row.item_id != request.parent.item_id]
        self.shots = rng.sample(others, min(spec.num_shots, len(others)))

    def say(self, wanted: str, form: Mapping[str, Any], *, shots: bool = True) -> dict[str, Any]:
        """The answer as an object that has what `form` requires. Raises BadAnswer."""
        system = "You write examples for a data set." + (f" The task: {self.words}" if self.words else "")
        shown = "".join(f"Input: {row.input_text}\nOutput: {dump_output(self.source.schema, row.output)}\n\n" for row in self.shots)
        user = (f"Examples:\n\n{shown}" if shots and shown else "") + wanted + "\nAnswer with one JSON object."
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        self.asked.append(digest(messages))
        temperature = TEMPERATURE[self.spec.exploration_mode]
        said = self.provider.ask(messages, schema=form, temperature=temperature, seed=self.request.seed % 2**31)
        self.tokens.update({"in": said.tokens_in, "out": said.tokens_out})
        self.cached += said.cached
        if said.finish_reason == "length":
            raise BadAnswer("the answer was cut off")
        try:
            answer = json.loads(said.text.strip().removeprefix("```json").strip("`\n "))
        except ValueError:
            raise BadAnswer("the answer is no JSON") from None
        lacks = [key for key in form["required"] if not isinstance(answer, dict) or key not in answer]
        if lacks or not isinstance(answer["input_text"], str) or not answer["input_text"].strip():
            raise BadAnswer(f"the answer lacks {lacks[0] if lacks else 'a text'}")
        return answer

    def attributes(self) -> str:
        """What the text should be, in sentences."""
        cell, request = self.request.cell, self.request
        told = [f"Difficulty: {cell.difficulty}.", f"Length: {cell.length}.", f"Style: {cell.style}."]
        told += [f"It should be easy to get {cell.against!r} wrong."] if cell.against != NOTHING else []
        told += [f"Theme: {request.theme}."] if request.theme else []
        told += [f"Form of the text: {request.context}."] if request.context != "none" else []
        return " ".join([*told, MANNER[self.spec.exploration_mode]])

    def keeping(self) -> str:
        """Which values the text must hold."""
        values = sorted(set(copied(self.source.schema, self.request.parent.output)))
        return f" It must hold, letter for letter: {json.dumps(values, ensure_ascii=False)}." if values else ""

    def draft(self, text: str, output: Any) -> Draft:
        """With all that is needed to ask again."""
        if not isinstance(output, dict):
            raise BadAnswer("the answer's output is no object")
        r = self.request
        params: dict[str, Any] = {
            "generator": self.provider.model,
            "prompts": self.asked,
            "temperature": TEMPERATURE[self.spec.exploration_mode],
        }
        params |= {"cell": list(r.cell), "against": r.cell.against} | ({"theme": r.theme} if r.theme else {})
        params |= {"context": r.context} if r.context != "none" else {}
        return Draft(text, output, tuple(row.item_id for row in self.shots), params)


def _output_first(asking: _Asking) -> Draft:
    row = asking.request.parent
    wanted = f"Write the input of a new example whose right output is {dump_output(asking.source.schema, row.output)}.{asking.keeping()}"
    said = asking.say(f"{wanted} {asking.attributes()}", _TEXT)
    return asking.draft(said["input_text"], row.output)


def _paraphrase(asking: _Asking) -> Draft:
    row = asking.request.parent
    wanted = f"Say this in other words, so that its output stays {dump_output(asking.source.schema, row.output)}.{asking.keeping()}"
    said = asking.say(f"{wanted} Style: {asking.request.cell.style}.\nInput: {row.input_text}", _TEXT, shots=False)
    return asking.draft(said["input_text"], row.output)


def _back_translation(asking: _Asking) -> Draft:
    row, language = asking.request.parent, asking.rng.choice(LANGUAGES)
    there = asking.say(f"Translate the text into {language}.{asking.keeping()}\nText: {row.input_text}", _TEXT, shots=False)
    back = asking.say(f"Translate the text into its plainest English.{asking.keeping()}\nText: {there['input_text']}", _TEXT, shots=False)
    draft = asking.draft(back["input_text"], row.output)
    return Draft(draft.text, draft.output, (), {**draft.params, "language": language, "between": there["input_text"]})


def _self_instruct(asking: _Asking) -> Draft:
    label = f" Its label: {asking.request.cell.label}." if asking.source.labels else ""
    said = asking.say(f"Write a new example, input and output.{label} {asking.attributes()}", _pair(asking))
    return asking.draft(said["input_text"], said["output_json"])


def _evolution(asking: _Asking) -> Draft:
    row, step = asking.request.parent, asking.rng.choice(EVOLUTIONS)
    shown = f"Input: {row.input_text}\nOutput: {dump_output(asking.source.schema, row.output)}"
    said = asking.say(
        f"Change this example: {step}. Then give its right output. {asking.attributes()}\n{shown}", _pair(asking), shots=False
    )
    draft = asking.draft(said["input_text"], said["output_json"])
    return Draft(draft.text, draft.output, (), {**draft.params, "step": step})


def _pair(asking: _Asking) -> dict[str, Any]:
    """The form of an answer with both. Definitions of the task's schema go to its root, where its references look for them."""
    inner = dict(asking.source.schema)
    shared: dict[str, Any] = {key: inner.pop(key) for key in ("$defs", "definitions") if key in inner}
    inner.pop("$schema", None)
    properties = {"input_text": {"type": "string"}, "output_json": inner}
    return shared | {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


KINDS: Mapping[str, Callable[[_Asking], Draft]] = {
    "output_first": _output_first,
    "paraphrase": _paraphrase,
    "back_translation": _back_translation,
    "self_instruct": _self_instruct,
    "evolution": _evolution,
}
