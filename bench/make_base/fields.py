"""Fields of the procedural tasks: each knows how to draw a value together with the sentences that say it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from bench.make_base import words as w
from bench.make_base.kinds import Draw, code, person, place, product, pseudo

Sample = Callable[[Random], tuple[Any, list[str]]]


@dataclass(frozen=True)
class Field:
    """One key of the answer: its name, its description for the instruction, its JSON Schema, and `sample(rng) -> (value, sentences)`.

    `natural` keys say by themselves what is meant.
    """

    key: str
    text: str
    schema: dict[str, Any]
    sample: Sample
    natural: bool = False


NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def key_of(r: Random, names: list[str]) -> str:
    return random_key(r) if r.random() < 0.3 else r.choice(names)


def random_key(r: Random) -> str:
    return r.choice(
        [
            pseudo(r),
            pseudo(r),
            f"{r.choice(w.NOUNS)}_{r.choice(w.NOUNS)}",
            r.choice(w.NOUNS),
            f"{pseudo(r)}_{r.choice(['id', 'name', 'no', 'type'])}",
            f"{r.choice(w.NOUNS)}{r.choice(w.NOUNS).capitalize()}",
        ]
    )


def copy_field(r: Random, key: str, kind: tuple[list[str], str, Draw, list[str]], nullable: bool) -> Field:
    names, text, draw, cues = kind
    absent = r.choice([0.2, 0.35, 0.5]) if nullable else 0.0

    def sample(s: Random) -> tuple[Any, list[str]]:
        if s.random() < absent:
            return None, []
        value = draw(s)
        return value, [s.choice(cues).format(value)]

    return Field(key, text, {"type": ["string", "null"] if nullable else "string"}, sample, key in names)


def count_field(key: str, kind: tuple[list[str], str, list[str]], nullable: bool) -> Field:
    names, text, cues = kind

    def sample(s: Random) -> tuple[Any, list[str]]:
        if nullable and s.random() < 0.3:
            return None, []
        n = s.choice([s.randint(1, 12), s.randint(1, 12), s.randint(1, 99), s.randint(100, 999)])
        said = NUMBER_WORDS[n] if n <= 12 and s.random() < 0.35 else str(n)
        return n, [s.choice(cues).format(said)]

    return Field(key, text, {"type": ["integer", "null"] if nullable else "integer"}, sample, key in names)


def list_field(r: Random, key: str) -> Field:
    draw, text, cues = r.choice(
        [
            (
                product,
                "the products that are named",
                ["I ordered {}.", "It is about {}.", "Please send {}.", "The box held {}.", "We bought {} from you."],
            ),
            (person, "the people that take part", ["{} will come.", "Please invite {}.", "I met {}.", "With me: {}"]),
            (place, "the cities", ["We went through {}.", "Our offices are in {}.", "We visit {}."]),
            (code, "all codes", ["The codes are {}.", "It concerns {}.", "Affected: {}"]),
        ]
    )

    def sample(s: Random) -> tuple[Any, list[str]]:
        values: list[str] = []
        for _ in range(s.choice([0, 1, 1, 2, 2, 3, 4])):
            value = draw(s)
            if value not in values:
                values.append(value)
        if not values:
            return [], []
        said = (
            values[0]
            if len(values) == 1
            else ", ".join(values[:-1]) + s.choice([" and ", ", ", " and the " if draw is product else " and "]) + values[-1]
        )
        return values, [s.choice(cues).format(said)]

    return Field(key, text, {"type": "array", "items": {"type": "string"}}, sample)


def theme_field(r: Random, key: str, many: bool) -> Field:
    themes = r.sample(w.THEMES, r.randint(2, 7))
    labels = [r.choice(t[0]) if r.random() < 0.85 else pseudo(r) for t in themes]
    text = (
        "the topic"
        + ("s" if many else "")
        + ": "
        + ", ".join(
            f"{label} ({r.choice(t[2])}, {r.choice(t[2])})" if label not in t[0] or r.random() < 0.2 else label
            for label, t in zip(labels, themes, strict=True)
        )
    )

    def say(s: Random, i: int, n: int) -> list[str]:
        own, things = themes[i][1], themes[i][2]
        return [s.choice(own) if s.random() < 0.6 else s.choice(w.FRAMES).format(s.choice(things)) for _ in range(n)]

    def sample(s: Random) -> tuple[Any, list[str]]:
        if not many:
            i = s.randrange(len(labels))
            return labels[i], say(s, i, s.choice([1, 1, 2, 2, 3]))
        chosen = sorted(s.sample(range(len(labels)), s.randint(0, min(3, len(labels)))))
        return [labels[i] for i in chosen], [x for i in chosen for x in say(s, i, 1)]

    enum = {"type": "string", "enum": labels}
    return Field(key, text, {"type": "array", "items": enum} if many else enum, sample)


def scale_field(r: Random, key: str | None) -> Field:
    names, text, levels = r.choice(w.SCALES)
    style = r.randrange(3)
    labels = [level[0][min(style, len(level[0]) - 1)] for level in levels]
    order = r.sample(range(len(levels)), len(levels))

    def sample(s: Random) -> tuple[Any, list[str]]:
        i = s.randrange(len(levels))
        return labels[i], [s.choice(levels[i][1])]

    shown = [labels[i] for i in order]
    return Field(key or r.choice(names), f"{text}: {', '.join(shown)}", {"type": "string", "enum": shown}, sample)


def flag_field(r: Random, key: str | None) -> Field:
    names, text, yes, no = r.choice(w.FLAGS)

    def sample(s: Random) -> tuple[Any, list[str]]:
        if s.random() < 0.5:
            return True, [s.choice(yes)]
        return False, [s.choice(no)] if s.random() < 0.4 else []

    return Field(key or r.choice(names), text, {"type": "boolean"}, sample)
