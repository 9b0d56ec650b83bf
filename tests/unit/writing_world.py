"""A model whose right answers are known: it reads rules and examples in its prompt, and as a writer it reads failures and writes rules.

Each field of an answer is right where a fixed draw for (item, field) lies below the skill that the prompt gives: so one item is as hard for
every prompt, and a prompt that holds a field's rule is better for that field by a known share.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from suite_models import KINDS, ORDER, examples, task, truth

from pp_assets.evaluation.outputs import OutputReader, right
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin, Proposer
from pp_assets.prompts.guards import guards
from pp_assets.prompts.prompted import Asked, ChatTarget
from pp_assets.prompts.propose.demonstrations import Demonstrations
from pp_assets.prompts.propose.operators import Operators
from pp_assets.prompts.propose.reflection import Reflection
from pp_assets.prompts.propose.variation import Crossover
from pp_assets.prompts.search.account import Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.strategy import Rows, Strategy
from pp_assets.prompts.search.writer import KeptWriter
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.fingerprint import digest
from pp_resources.models.chat import ChatModel, Messages, Reply

RULES = {
    "kind": "The letter before the dash decides the kind.",
    "urgent": "Five and above as final digit means urgent.",
    "order": "Copy the order number letter for letter.",
}
LETTER = "letter for letter"  # what the operators say of copied fields does as well
TOLD = task(
    description="Read an order number",
    instruction_template="Return kind ({{ labels.kind | join(', ') }}), urgent and order.\n{{ examples }}Input: {{ input_text }}",
)


@dataclass
class World:
    """`base` is the skill in a field without help, `lift` what its rule adds, `demo` what each example of the same kind adds (at most
    two). `broken` is the share of its writings that are no JSON. `asked` counts the messages that it answered, as task and as writer."""

    seed: int = 0
    base: float = 0.55
    lift: float = 0.4
    demo: float = 0.05
    broken: float = 0.0
    asked: dict[str, int] = field(default_factory=lambda: {"task": 0, "writer": 0})
    name = "world"
    price = None

    @property
    def identity(self) -> str:
        return f"world-{self.seed}-{self.base}-{self.lift}-{self.demo}-{self.broken}"

    def ask(self, messages: Messages, **how: Any) -> Reply:
        return self.ask_all([messages], **how)[0]

    def ask_all(self, asked: Sequence[Messages], *, schema: Any = None, seed: int = 0, **how: Any) -> list[Reply]:
        writes = "instruction" in (schema or {}).get("properties", {})
        self.asked["writer" if writes else "task"] += len(asked)
        said = [self._written(messages, seed) if writes else self._answered(messages) for messages in asked]
        return [Reply(text, sum(len(m["content"]) for m in messages) // 4, len(text) // 4, False) for text, messages in zip(said, asked)]

    def skill(self, prompt: str, name: str, kind: str) -> float:
        shown = len(re.findall(rf'"kind":"{kind}"', prompt))
        told = RULES[name] in prompt or (name == "order" and LETTER in prompt)
        return self.base + self.lift * told + self.demo * min(2, shown)

    def _answered(self, messages: Messages) -> str:
        prompt = "\n".join(m["content"] for m in messages)
        text = prompt.rsplit("Input:", 1)[-1]
        said = truth(text)
        order = ORDER.search(text)
        item = order[0] if order else text
        right_kind = str(said["kind"])
        for name, other in (("kind", "other"), ("urgent", not said["urgent"]), ("order", "none")):
            if self._draw("item", item, name) >= self.skill(prompt, name, right_kind):
                said[name] = other
        return json.dumps(said)

    def _written(self, messages: Messages, seed: int) -> str:
        """Adds the rule of the field whose failures it is shown, else of any; sometimes nothing but words."""
        prompt = "\n".join(m["content"] for m in messages)
        draw = self._draw("writer", digest(list(messages)), str(seed))
        if draw < self.broken:
            return "I would rather not."
        failing = re.findall(r"^Wrong: (\w+)", prompt, re.MULTILINE)
        name = failing[0] if failing and failing[0] in RULES else list(RULES)[int(draw * 997) % 3]
        present = [rule for rule in RULES.values() if rule in prompt]
        text = "\n".join(["Read the message.", *dict.fromkeys([*present, RULES[name]])])
        return json.dumps({"explanation": f"The prompt does not say how {name} is found.", "system_prompt": "", "instruction": text})

    def _draw(self, *labels: str) -> float:
        return int(digest([self.seed, *labels])[:12], 16) / 16**12


def ground_of(world: ChatModel | None, train: Sequence[Example], spec: TaskSpec | None = None, **rest: Any) -> Ground:
    """What proposers see, of the task in `suite_models`."""
    return Ground(spec or task(), train, model=world, **rest)


def seed_of(spec: TaskSpec) -> Candidate:
    return Candidate.of(spec, Wording.of(spec), Origin("seed"))


def judged(world: World, spec: TaskSpec, candidate: Candidate, rows: Sequence[Example]) -> Judged:
    """Its answers, 1 where all of an answer is right and else 0."""
    reader = OutputReader(spec.output_schema, {leaf.path: spec.compare(leaf.path) for leaf in _leaves(spec)})
    said = Asked(world, spec, candidate.wording, candidate.id).predict([row.input_text for row in rows])
    hits = [right(reader.read(one.text), reader.read(json.dumps(row.output))) for one, row in zip(said, rows)]
    return Judged(candidate, rows, said, np.array(hits, float))


def _leaves(spec: TaskSpec) -> Any:
    from pp_resources.json_schema import leaf_fields

    return leaf_fields(spec.output_schema)


ROWS = examples(220, seed=7)
SPLIT = Rows(ROWS[:120], ROWS[120:])


def searched(
    strategy: Strategy, place: Path, world: World, calls: int = 900, proposers: Sequence[Proposer] = (), rows: Rows = SPLIT, stop: int = 0
) -> tuple[list[Judged], Arena, list[Any]]:
    """A search of the toy task in `place`: (finalists, arena, events). It is killed after `stop` judgements, where that is not 0."""
    events: list[Any] = []

    def hear(event: Any) -> None:
        events.append(event)
        if stop and sum(one["event"] == "judged" for one in events) == stop:
            raise KeyboardInterrupt

    ledger, budget = place / "ledger.jsonl", Budget(calls)
    with Arena(TOLD, ChatTarget(world), place / "cells.db", budget=budget, ledger=ledger, batch=50, on_event=hear) as arena:
        ground = ground_of(KeptWriter(world, arena.store, arena.account), rows.train, TOLD)
        makers = proposers or [Reflection(), Operators(), Demonstrations(), Crossover()]
        return strategy.search(arena, ground, seed_of(TOLD), makers, rows, seed=3, guards=guards), arena, events


def true_skill(world: World, candidate: Candidate) -> float:
    """How often a candidate is right, over all items that could be."""
    prompt = "".join(candidate.wording.messages(TOLD, "")[-1]["content"])
    kinds = [np.prod([min(1, world.skill(prompt, name, kind)) for name in RULES]) for kind in KINDS.values()]
    return float(np.mean(kinds))
