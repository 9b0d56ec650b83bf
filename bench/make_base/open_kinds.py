"""Fields whose key may be any noun and whose value any string: found by the key's word in the text, not by a learnt cue."""

from collections.abc import Sequence
from random import Random
from typing import Any

from bench.make_base import kinds
from bench.make_base.fields import Field
from bench.make_base.kinds import Draw, digits, letters, pseudo
from bench.make_base.texts import Texts

# {n} is the noun, {v} the value. None of the sentences that measure unseen kinds is among them.
CUES = [
    "The {n} is {v}.",
    "The {n} was {v}.",
    "My {n} is {v}.",
    "My {n}: {v}",
    "{n}: {v}",
    "{n} = {v}",
    "{n} {v}",
    "({n} {v})",
    "the {n} {v}",
    "{v} is the {n}.",
    "{v} is our {n}.",
    "{v} was the {n} then.",
    "As {n} we have {v}.",
    "For the {n} take {v}.",
    "Their {n} is called {v}.",
    "I was told that the {n} is {v}.",
    "We now use {v} as the {n}.",
    "You find {v} under {n}.",
    "With {v} as {n}.",
    "The {n} should be {v}, please.",
    "On the {n} it is written: {v}.",
    "They put {v} down for the {n}.",
    "{v}, that is the {n}.",
    "Set the {n} to {v}.",
    "The {n} of it, {v}, is known.",
    "Which {n}? {v}.",
    "Our {n} has been {v} for years.",
    "a {n} named {v}",
]
# Sentences without the noun: what is asked is the one thing that they could mean.
PLAIN = [
    "Then came {v}.",
    "I have seen {v} before.",
    "They took {v} with them.",
    "We found {v} at last.",
    "She brought {v} yesterday.",
    "Again it was {v}.",
    "Nobody asked for {v}.",
    "I think of {v}.",
    "You had {v}, I hear.",
]
TEXTS_OF = [
    "the {n}",
    "the {n}",
    "{n}",
    "the {n} that is named",
    "what the {n} is",
    "the {n} as written",
    "which {n} it is",
    "{n} of the message",
]
TAILS = ["number", "name", "code", "type", "id", "date", "colour", "size"]
SAY_LABEL = ["It is about the {n}.", "My question is on the {n}.", "The {n} again.", "Something about {n}.", "We talked about the {n}."]
OTHER = ["other", "none", "unknown", "something_else", "misc"]


def open_field(r: Random, texts: Texts, nouns: Sequence[str]) -> Field:
    """A field of a noun of `nouns`; beside its sentence stand up to three of the same form and kind of value with other nouns."""
    noun, key = named(r, nouns)
    absent = r.choice([0.0, 0.0, 0.25, 0.5])
    draw = value_of(r, texts)
    bare = r.random() < 0.2  # a key that says nothing, described by the noun
    text = r.choice(TEXTS_OF).format(n=noun)

    def sample(s: Random) -> tuple[Any, list[str]]:
        others = [named(s, nouns)[0] for _ in range(s.choice([0, 0, 1, 1, 2, 3]))]
        cues = s.sample(CUES, 2)  # the same form for all, or any of two
        said = [s.choice(cues).format(n=other, v=draw(s)) for other in others if other != noun]
        if s.random() < absent:
            return None, said
        value = draw(s)
        cue = s.choice(PLAIN) if not others and s.random() < 0.15 else s.choice(cues)
        return value, [*said, cue.format(n=noun, v=value)]

    return Field(pseudo(r) if bare else key, text, {"type": ["string", "null"] if absent else "string"}, sample, not bare)


def label_field(r: Random, key: str, nouns: Sequence[str]) -> Field:
    """A choice among nouns, or words that stand for nouns: the one whose noun the text holds."""
    things = [named(r, nouns) for _ in range(r.randint(2, 7))]
    things = list({noun: (noun, label) for noun, label in things}.values())
    explained = r.random() < 0.3
    labels = [pseudo(r) if explained else label for _, label in things]
    rest = r.choice(OTHER) if r.random() < 0.3 else None
    shown = [f"{label} ({noun})" if explained else label for label, (noun, _) in zip(labels, things, strict=True)]

    def sample(s: Random) -> tuple[Any, list[str]]:
        if rest and s.random() < 0.2:
            return rest, [s.choice(SAY_LABEL).format(n=s.choice(nouns))]
        i = s.randrange(len(things))
        return labels[i], [s.choice(SAY_LABEL).format(n=things[i][0])]

    enum = [*labels, *([rest] if rest else [])]
    text = r.choice(["the topic: ", "one of ", "which of these: ", ""]) + ", ".join([*shown, *([rest] if rest else [])])
    return Field(key, text, {"type": "string", "enum": enum}, sample)


def named(r: Random, nouns: Sequence[str]) -> tuple[str, str]:
    """(words, key): one noun, two, or a noun and what is asked of it; the key in one of the usual spellings."""
    form = r.random()
    if form < 0.45:
        words = [r.choice(nouns)]
    elif form < 0.7:
        words = [r.choice(nouns), r.choice(TAILS)]
    elif form < 0.9:
        words = [r.choice(nouns), r.choice(nouns)]
    else:
        words = [pseudo(r)]
    key = words[0] + "".join(map(str.capitalize, words[1:])) if r.random() < 0.15 else "_".join(words)
    return " ".join(words), key


def value_of(r: Random, texts: Texts) -> Draw:
    """One kind of value for a field and for what stands beside it."""
    pattern = "".join(r.choice("AA99--. /a") for _ in range(r.randint(3, 9))).strip("-. /") or "A9"
    names = [kinds.person, kinds.date, kinds.money, kinds.place, kinds.company, kinds.product, kinds.clock, kinds.code]
    return r.choice(
        [
            lambda s: _filled(s, pattern),
            lambda s: _filled(s, pattern),
            lambda s: digits(s, s.randint(1, 6)),
            lambda s: " ".join(pseudo(s) for _ in range(s.randint(1, 3))),
            lambda s: " ".join(pseudo(s).capitalize() for _ in range(s.randint(1, 2))),
            texts.phrase,
            texts.phrase,
            texts.phrase,
            lambda s: s.choice(texts.nouns),
            r.choice(names),
            r.choice(names),
        ]
    )


def _filled(r: Random, pattern: str) -> str:
    draw = {"A": lambda: letters(r, 1), "9": lambda: digits(r, 1), "a": lambda: letters(r, 1).lower()}
    return "".join(draw[sign]() if sign in draw else sign for sign in pattern)
