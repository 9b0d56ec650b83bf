"""Simulated customers: what each of them writes, and the right answer to it, which only the simulation knows.

Their cases are rows that were held back from the task (`held_back.py`), told again: other numbers in what is copied, other letter case,
typing errors. Half-way the world changes: some topics become more frequent, situations come that nobody had before, and many write in
another way. All of it follows from the seed and the number of the visit, never from time, order or what was answered.
"""

import random
import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import orjson

from examples.support_chat.held_back import held_rows
from pp_assets.data.generation.made import seed_of
from pp_assets.data.generation.methods import Source, casing, noise, numbers
from pp_assets.evaluation.outputs import OutputReader, right
from pp_assets.evaluation.suite.spans import kept_characters
from pp_assets.task.examples import Example
from pp_assets.task.reader import LineChecker, Row
from pp_assets.task.spec import Task
from pp_resources.json_schema import Schema, dump_output, get_path, leaf_fields

# What people begin to say instead, once the new phrasing is there. Never within a copied value.
NEW_WORDS = {
    "order": "purchase",
    "parcel": "box",
    "package": "box",
    "refund": "reimbursement",
    "delivery": "drop-off",
    "delivered": "dropped off",
    "account": "profile",
    "password": "passcode",
    "broken": "busted",
    "money": "cash",
    "help": "assist",
    "customer": "shopper",
    "website": "app",
}
NEW_FRAMES = ("Sent from the app:\n{}", "{}\n\nsent from my watch", "[voice note] {}", "hey bot, {}", "{}\n--\nmember since last year")
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Style:
    """How often a case is told with other numbers, in other letter case, with typing errors."""

    numbers: float = 0.8
    casing: float = 0.15
    noise: float = 0.35


@dataclass(frozen=True)
class Drift:
    """What changes from the share `at` of all visits on: rows of `topics` labels (drawn by seed) come `factor` times as often, messages are
    said in the new way with the chance `phrasing`, and the share `unseen` of all situations comes only then."""

    at: float = 0.5
    topics: int = 2
    factor: float = 3.0
    phrasing: float = 0.6
    unseen: float = 0.3


@dataclass(frozen=True)
class Visit:
    """One customer with one matter. `truth` is the right answer, which no part of the system may see; `situation` says what the matter is
    (another visit may bring the same one in other words), `first` whether nobody came with it before. `seed` decides all that they do."""

    number: int
    episode: str
    subject: str
    text: str
    truth: Mapping[str, Any]
    situation: str
    first: bool
    drifted: bool
    seed: int
    topic: str | None = None
    reader: OutputReader = field(repr=False, compare=False, kw_only=True)

    def right(self, answer: Any) -> bool:
        """Whether an answer (an object, or None for none) is right in every field, by the task's own rules of comparison."""
        schema = self.reader.schema
        return answer is not None and right(
            self.reader.read(dump_output(schema, answer)), self.reader.read(dump_output(schema, self.truth))
        )


def population(
    task: Task,
    seed: int,
    n: int,
    *,
    rows: Sequence[Example] | None = None,
    style: Style | None = None,
    drift: Drift | None = None,
) -> Iterator[Visit]:
    """`n` visits in their order. `rows` are those held back from the task (default: its `users.jsonl`).

    The same arguments give the same visits; episodes have fixed names, so that a gateway gives each the same variant again. Raises
    UserError where no rows are held back.
    """
    world = _World(task, held_rows(task) if rows is None else rows, seed, style or Style(), drift or Drift())
    met: set[str] = set()
    for number in range(n):
        visit = world.visit(number, n)
        yield replace(visit, first=visit.situation not in met)
        met.add(visit.situation)


def topic_path(schema: Schema) -> str | None:
    """The field that says what a message is about: the first with an enum, else the first boolean."""
    leaves = leaf_fields(schema)
    return next((leaf.path for kind in ("enum", "boolean") for leaf in leaves if leaf.kind == kind), None)


def reworded(text: str, keep: Sequence[bool], rng: random.Random) -> str:
    """The new way to say it: words exchanged outside of kept characters, most often within a new frame."""

    def other(found: re.Match[str]) -> str:
        new = NEW_WORDS.get(found[0].lower())
        if new is None or any(keep[found.start() : found.end()]):
            return found[0]
        return new.capitalize() if found[0][0].isupper() else new

    said = _WORD.sub(other, text)
    return rng.choice(NEW_FRAMES).format(said) if rng.random() < 0.7 else said


class _World:
    """What all visits are drawn from."""

    def __init__(self, task: Task, rows: Sequence[Example], seed: int, style: Style, drift: Drift) -> None:
        self.task, self.seed, self.style, self.drift = task, seed, style, drift
        schema = task.output_schema
        self.source, self.checker, self.topic = Source(schema, rows), LineChecker(task.spec), topic_path(schema)
        self.reader = OutputReader(schema, {leaf.path: task.spec.compare(leaf.path) for leaf in leaf_fields(schema)})
        rows = self.source.rows
        situations = sorted({row.group for row in rows}, key=lambda name: seed_of(seed, "situation", name))
        late = set(situations[: round(drift.unseen * len(situations))] if len(situations) > 1 else [])
        early = [row for row in rows if row.group not in late]
        topics = sorted({self._topic(row) for row in rows}, key=lambda name: seed_of(seed, "topic", name))
        grown = set(topics[: drift.topics]) if len(topics) > drift.topics else set()
        self._before = early, list(accumulate(1.0 for _ in early))
        self._after = rows, list(accumulate(drift.factor if self._topic(row) in grown else 1.0 for row in rows))

    def visit(self, number: int, n: int) -> Visit:
        own = seed_of(self.seed, self.task.name, "visit", number)
        rng, drifted = random.Random(own), number >= self.drift.at * n
        rows, weights = self._after if drifted else self._before
        row = rows[bisect(weights, rng.random() * weights[-1])]
        told = self._told(row, drifted, rng)
        return Visit(
            number,
            f"{self.task.name}-{self.seed}-{number:06d}",
            f"customer-{rng.randrange(max(1, n // 3))}",
            told.input_text,
            told.output,
            row.group,
            True,
            drifted,
            own,
            self._topic(row) if self.topic else None,
            reader=self.reader,
        )

    def _topic(self, row: Example) -> str:
        return str(get_path(row.output, self.topic)) if self.topic else ""

    def _told(self, row: Example, drifted: bool, rng: random.Random) -> Example:
        """The row in somebody's words. Each change is kept only where its outcome is still a sound row of the task."""
        steps = [(numbers, self.style.numbers), (casing, self.style.casing), (noise, self.style.noise)]
        for method, chance in steps:
            wanted, draw = rng.random() < chance, random.Random(rng.getrandbits(48))
            if wanted and (draft := method(self.source, row, draw)) is not None:
                row = self._sound(row, draft.text, draft.output)
        wanted, draw = drifted and rng.random() < self.drift.phrasing, random.Random(rng.getrandbits(48))
        if wanted:
            keep = kept_characters(self.source.schema, row.output, row.input_text)
            row = self._sound(row, reworded(row.input_text, keep, draw), row.output)
        return row

    def _sound(self, row: Example, text: str, output: Mapping[str, Any]) -> Example:
        line = orjson.dumps({"input_text": text, "output_json": output})
        checked = self.checker.check("visit", 1, line, to_split=False)
        return replace(row, input_text=text, output=dict(output)) if isinstance(checked, Row) else row
