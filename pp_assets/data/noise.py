"""Small damage as people make it: neighbouring keys, dropped and doubled letters, no punctuation; and which characters it must leave."""

import random
from collections.abc import Sequence

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
LETTERS_PER_TYPO = 30
MAX_TYPOS = 4


def spans_of(text: str, values: Sequence[str]) -> list[bool]:
    """For each character of the text, whether it belongs to one of the values."""
    inside = [False] * len(text)
    for value in values:
        at = text.find(value) if value else -1
        while at >= 0:
            inside[at : at + len(value)] = [True] * len(value)
            at = text.find(value, at + 1)
    return inside


def typos(text: str, keep: Sequence[bool], rng: random.Random) -> str:
    """One typo for every 30 letters, at least one, at most four, never in the first letter of a word or in a kept character."""
    places = [i for i, c in enumerate(text) if c.isascii() and c.isalpha() and not keep[i] and i and text[i - 1].isalpha()]
    chosen = sorted(rng.sample(places, min(len(places), MAX_TYPOS, 1 + len(places) // LETTERS_PER_TYPO)), reverse=True)
    for i in chosen:
        kind = rng.choice(("neighbour", "drop", "double"))
        new = {"neighbour": neighbour(text[i], rng), "drop": "", "double": text[i] * 2}[kind]
        text = text[:i] + new + text[i + 1 :]
    return text


def no_punctuation(text: str, keep: Sequence[bool], rng: random.Random) -> str:  # noqa: ARG001
    """No sentence punctuation at word ends outside the kept characters."""
    ends = [i + 1 == len(text) or text[i + 1].isspace() for i in range(len(text))]
    return "".join(c for i, c in enumerate(text) if keep[i] or c not in ".,!?;" or not ends[i])


def neighbour(letter: str, rng: random.Random) -> str:
    """A letter beside this one on the keyboard, in the same case; the letter itself where it has none."""
    row = next((r for r in KEYBOARD if letter.lower() in r), None)
    if row is None:
        return letter
    at = row.index(letter.lower())
    new = rng.choice([row[i] for i in (at - 1, at + 1) if 0 <= i < len(row)])
    return new.upper() if letter.isupper() else new
