"""Damage as keyboards, scanners and people make it. Letters of copied values stay, but for letter case, which changes the output too."""

import random
import re
from collections.abc import Callable, Sequence

from pp_assets.data.noise import no_punctuation, typos
from pp_assets.evaluation.suite.edits import title
from pp_assets.evaluation.suite.spans import Change

Damage = Callable[[str, Sequence[bool], random.Random], str]
# What scanners and their readers take for each other.
_SCANNED = {
    "l": "1",
    "I": "l",
    "O": "0",
    "o": "0",
    "S": "5",
    "B": "8",
    "rn": "m",
    "m": "rn",
    "cl": "d",
    "e": "c",
    "i": "l",
    "g": "q",
    "vv": "w",
}
_SCAN = re.compile("|".join(sorted(_SCANNED, key=len, reverse=True)))
LETTERS_PER_ERROR = 25


def scanned(text: str, keep: Sequence[bool], rng: random.Random) -> str:
    """One letter, or pair, in 25 is read as another that looks like it, at least one."""
    places = [m for m in _SCAN.finditer(text) if not any(keep[m.start() : m.end()])]
    wanted = min(len(places), max(1, len(text) // LETTERS_PER_ERROR))
    for match in sorted(rng.sample(places, wanted), key=lambda m: -m.start()):
        text = text[: match.start()] + _SCANNED[match[0]] + text[match.end() :]
    return text


def spaced(text: str, keep: Sequence[bool], rng: random.Random) -> str:
    """A space lost or doubled, one for every six words, at least one."""
    places = [i for i, c in enumerate(text) if c == " " and not keep[i] and not (i and keep[i - 1]) and keep[i + 1 : i + 2] != [True]]
    for i in sorted(rng.sample(places, min(len(places), max(1, len(places) // 6))), reverse=True):
        text = text[:i] + rng.choice(("", "  ")) + text[i + 1 :]
    return text


def mixed_case(seed: int) -> Change:
    """Each letter by itself large or small, the same in every string that is given; drawn by its place in the alphabet and `seed`."""
    draw = random.Random(seed)
    large = {c for c in "abcdefghijklmnopqrstuvwxyz" if draw.random() < 0.5}
    return lambda text: "".join(c.upper() if c.lower() in large else c.lower() for c in text)


DAMAGE: dict[str, Damage] = {"typos": typos, "scanned": scanned, "spaced": spaced, "no_punctuation": no_punctuation}
# A mixed case that is drawn anew for each letter could not be repeated in the output; by letter it can.
CASES: dict[str, Callable[[int], Change]] = {
    "lower": lambda _seed: _each(str.lower),
    "upper": lambda _seed: _each(str.upper),
    "title": lambda _seed: title,
    "mixed": mixed_case,
}


def _each(change: Change) -> Change:
    """Letter by letter, so that a text keeps its length."""
    return lambda text: "".join(new if len(new := change(c)) == 1 else c for c in text)
