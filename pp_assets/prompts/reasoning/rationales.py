"""Reasonings that a model writes for rows with a known answer, of which only those are kept that lead there (STaR, Zelikman et al. 2022).

First a model answers with steps and without being told: where it is right, its steps are its own. Where it is wrong, a writer is told the
answer and asked for the steps, and these are kept if a model that reads them behind the text, and is not told, comes to the answer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pp_assets.evaluation.outputs import right, strict_json
from pp_assets.prompts.candidate import Candidate, Origin
from pp_assets.prompts.propose.template import added, instruction, literal
from pp_assets.prompts.reasoning.checks import StepChecker
from pp_assets.prompts.reasoning.extract import Steps
from pp_assets.prompts.search.account import BudgetSpent
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.gate import scored
from pp_assets.prompts.wording import ANSWER, MOST_STEPS, REASONING, STEP_CHARS, Wording
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.json_schema import dump_output
from pp_resources.models.chat import ChatModel

OWN, TOLD = "own", "told"
NO_ANSWER, NOT_DERIVED = "the writer gave no steps", "the answer was not derived behind the steps"
ASK_FOR_STEPS = (
    f'Answer with one JSON object with two keys: "{REASONING}", a list of short steps, and "{ANSWER}", the object that was asked for. '
    "A step is one sentence: it cites words of the input in quotation marks and says which value of which field follows from them."
)
_SYSTEM = "You explain how an answer follows from a text. You cite the text and invent nothing."
_FORM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [REASONING],
    "properties": {REASONING: {"type": "array", "items": {"type": "string", "maxLength": STEP_CHARS}, "maxItems": MOST_STEPS}},
}


@dataclass
class Rationales:
    """Those kept, by what they come from, and how many were rejected for which reason (the first that was found of each)."""

    kept: list[Steps] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    stopped: str = ""

    @property
    def sources(self) -> Mapping[str, int]:
        return Counter(one.source for one in self.kept)


def reasoned_wording(spec: TaskSpec, wording: Wording) -> Wording:
    """The same wording that asks for steps before the answer, in words too: a schema alone is read by few."""
    return replace(added(spec, wording, literal(ASK_FOR_STEPS)), reasoned=True)


def rationales(spec: TaskSpec, rows: Sequence[Example], arena: Arena, writer: ChatModel | None = None) -> Rationales:
    """Reasonings of `rows` (training rows). Who answers is `arena`'s target; `writer` is told answers, where one is there. Every call goes
    through kept answers and the account of the search; where that is spent, what was found so far is given."""
    found, checker, start = Rationales(), StepChecker(spec.output_schema), Wording.of(spec)
    try:
        own = arena.judge(Candidate.of(spec, reasoned_wording(spec, start), Origin("reasoning:own")), rows, "train")
        of = scored(spec, own)
        correct = {row.item_id for row, a, e in zip(of.rows, of.answers, of.expected, strict=True) if right(a, e)}
        left = [row for row in rows if row.item_id not in correct]
        for row, said in zip(own.rows, own.answers, strict=True):
            if row.item_id in correct:
                _keep(found, checker, Steps(row, said.reasoning, 1.0, OWN))
        if writer is not None and left:
            _told(found, checker, spec, left, arena, writer)
    except BudgetSpent as spent:
        found.stopped = str(spent)
    return found


def _told(found: Rationales, checker: StepChecker, spec: TaskSpec, rows: Sequence[Example], arena: Arena, writer: ChatModel) -> None:
    task = instruction(spec, Wording.of(spec))
    replies = writer.ask_all([_asked(spec, task, row) for row in rows], schema=_FORM)
    written = Rationales()
    for row, reply in zip(rows, replies, strict=True):
        steps = _read(reply.text)
        if steps is None:
            found.rejected[NO_ANSWER] += 1
        else:
            _keep(written, checker, Steps(row, steps, 1.0, TOLD))
    found.rejected.update(written.rejected)
    if not written.kept:
        return
    behind = [replace(one.example, input_text=shown_behind(one)) for one in written.kept]
    derived = scored(spec, arena.judge(Candidate.of(spec, Wording.of(spec), Origin("seed")), behind, "train"))
    correct = {row.item_id for row, a, e in zip(derived.rows, derived.answers, derived.expected, strict=True) if right(a, e)}
    found.kept += [one for one in written.kept if one.example.item_id in correct]
    found.rejected[NOT_DERIVED] += len(written.kept) - len(correct)
    found.rejected += Counter()  # without those that never happened


def shown_behind(one: Steps) -> str:
    """A text with the steps that lead from it, as a model reads them that is to come to the answer."""
    return "\n".join([one.example.input_text, "", "What follows from it:", *(f"- {step}" for step in one.steps)])


def _keep(found: Rationales, checker: StepChecker, one: Steps) -> None:
    faults = checker.faults(one.example.input_text, one.example.output, one.steps)
    if faults:
        found.rejected[faults[0].reason] += 1
    else:
        found.kept.append(one)


def _asked(spec: TaskSpec, task: str, row: Example) -> list[dict[str, str]]:
    shown = f"The task: {task}\n\nInput: {row.input_text}\nThe right answer: {dump_output(spec.output_schema, row.output)}"
    wanted = (
        f"Give the steps from the input to this answer, at most {MOST_STEPS} of one short sentence each. A step cites words of the input "
        "in quotation marks and says which value of which field follows from them. Every field has to follow from some step. Do not speak "
        f'of having been told the answer. Answer with one JSON object {{"{REASONING}": [steps]}}.'
    )
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": f"{shown}\n\n{wanted}"}]


def _read(text: str) -> tuple[str, ...] | None:
    try:
        value = strict_json(text.strip().removeprefix("```json").strip("`\n "))
    except ValueError:
        return None
    steps = value.get(REASONING) if isinstance(value, dict) else None
    return tuple(map(str, steps)) if isinstance(steps, list) else None
