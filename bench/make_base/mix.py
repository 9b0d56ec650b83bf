"""The mixture of the second stage: real rows, tasks of open kinds, and the tasks of the first stage, so that they stay learnt."""

from collections.abc import Callable, Sequence
from random import Random

from bench.make_base import corpus as c
from bench.make_base.dialogues import Dialogues
from bench.make_base.fields import Field, key_of
from bench.make_base.open_kinds import label_field, open_field
from bench.make_base.texts import Texts

REAL, OPEN = 0.25, 0.42  # shares of the examples; the rest are tasks of the first stage


def mixture(texts: Texts, dialogues: Dialogues) -> Callable[[Random, float], c.Row]:
    """What draws an example from a generator and the share of drills among the tasks of the first stage."""

    def draw(r: Random, drill: float) -> c.Row:
        kind = r.random()
        if kind < REAL:
            return real(r, dialogues)
        if kind < REAL + OPEN:
            return opened(r, texts, texts.nouns, r.choice([0.5, 1.0, 1.0]))
        return c.example(r, drill)

    return draw


def opened(r: Random, texts: Texts, nouns: Sequence[str], share: float) -> c.Row:
    """A task of which a share of the fields is of open kinds or chooses among open labels, with natural sentences between."""
    natural = r.choice([0.0, 0.5, 1.0])

    def field(r: Random) -> Field:
        if r.random() >= share:
            return c.one_field(r)
        if r.random() < 0.2:
            return label_field(r, key_of(r, ["category", "topic", "label", "intent", "type", "department", "class"]), nouns)
        return open_field(r, texts, nouns)

    def filler(r: Random) -> str:
        return r.choice(texts.sentences) if r.random() < natural else c.filler(r)

    return c.row(r, c.task(r, field, filler))


def real(r: Random, dialogues: Dialogues) -> c.Row:
    instruction, text, answer = dialogues.draw(r, r.choice(c.LEADS))
    system = r.choice(c.SYSTEMS)
    before = (f"{system}\n\n" if system else "") + instruction + r.choice(["\n\n", "\n\n", "\n"]) + r.choice(c.INPUT_HEADS)
    return before, text, r.choice(["\n", "\n\n"]) + r.choice(c.ANSWER_HEADS), c.dump(answer)
