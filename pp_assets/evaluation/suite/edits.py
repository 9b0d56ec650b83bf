"""Edits of an input, each a pure function of (text, kept characters, severity 1..3, random numbers). Kept characters stay as they are.

The kinds are those of HELM's augmentations and CheckList's invariance tests (Ribeiro et al. 2020), written anew; none of the libraries that
have them is light enough to depend on.
"""

import random
import re
import unicodedata
from collections.abc import Callable, Sequence

from pp_assets.data.noise import neighbour
from pp_assets.evaluation.suite.lists import read_list
from pp_assets.evaluation.suite.spans import gaps

Edit = Callable[[str, Sequence[bool], int, random.Random], str]
LETTERS_PER_TYPO = {1: 40, 2: 20, 3: 10}
KEPT_SHARE = {1: 0.95, 2: 0.85, 3: 0.7}
# Characters. The longest is more than one window of the default encoder; 6000 would be, too, at three times the cost of all other cases.
PADDED_TO = {1: 300, 2: 1000, 3: 3000}
WORDS_LEFT = {1: 12, 2: 5, 3: 1}
TAGS = ("<p>", "<b", "</div>", "&nbsp;", "<br/", "&amp;", "<span style=", "<!--", "]]>", "{{", "**", "```")
CONTROLS = "\x07\x08\x0b\x0c\x1b\x7f\ufffd\u200e\x02"
# Letters of other scripts that look like these; from Unicode's idea of confusables, the pairs picked by us.
LOOK_ALIKES = str.maketrans("aceopxyiAEOPCHKMTXB", "асеорхуіАЕОРСНКМТХВ")
ZERO_WIDTH = "\u200b"


def truncated(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001 (one signature for all)
    """The end cut off, but nothing that is kept."""
    last = max((i for i, kept in enumerate(keep) if kept), default=-1) + 1
    return text[: max(last, round(len(text) * KEPT_SHARE[severity]), 1)]


def broken_markup(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:
    """Pieces of tags, entities and other markup between words, none closed."""
    return _put_in(text, keep, [rng.choice(TAGS) for _ in range(3 * severity)], rng)


def control_characters(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:
    """Characters that print nothing, between words."""
    return _put_in(text, keep, [rng.choice(CONTROLS) for _ in range(4 * severity)], rng)


def html_page(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001
    """The text inside a page that it was copied from, with 1, 2 or 3 layers."""
    for _ in range(severity):
        text = f'<div class="mail"><style>p{{margin:0}}</style><p>{text}</p><a href="#">Unsubscribe</a></div>'
    return f"<html><body>{text}</body></html>"


def padded(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001
    """Irrelevant sentences before and behind the text, up to 300, 1000 or 3000 characters."""
    sentences, size = read_list("texts.yaml")["irrelevant"], 0
    before: list[str] = []
    after: list[str] = []
    while len(text) + size < PADDED_TO[severity]:
        sentence = rng.choice(sentences)
        rng.choice((before, after)).append(sentence)
        size += len(sentence) + 1
    return " ".join(before) + ("\n\n" if before else "") + text + ("\n\n" if after else "") + " ".join(after)


def shortened(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001
    """The first 12, 5 or 1 words; what was asked for may be gone."""
    return " ".join(text.split()[: WORDS_LEFT[severity]]) or text


def framed(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:
    """A greeting in another language; from severity 2 a closing too; at 3 words of politeness exchanged as well. Not a translation."""
    lists = read_list("texts.yaml")
    if severity == 3:
        text = _phrases(text, keep, rng.choice(sorted(lists["phrases"])))
    greeting, closing = lists["frames"][rng.choice(sorted(lists["frames"]))]
    return f"{greeting}\n{text}" + (f"\n{closing}" if severity > 1 else "")


def mistyped(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:
    """Neighbouring keys, exchanged and dropped letters: one for every 40, 20 or 10 letters, at least one."""
    places = [
        i for i, c in enumerate(text) if c.isascii() and c.isalpha() and not keep[i] and i and text[i - 1].isalpha() and not keep[i - 1]
    ]
    wanted = min(len(places), max(1, len(places) // LETTERS_PER_TYPO[severity]))
    letters = list(text)
    for i in sorted(rng.sample(places, wanted)):
        kind = rng.choice(("neighbour", "swap", "drop"))
        if kind == "swap" and letters[i - 1]:
            letters[i - 1], letters[i] = letters[i], letters[i - 1]
        else:
            letters[i] = neighbour(text[i], rng) if kind == "neighbour" else ""
    return "".join(letters)


def title_case(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001
    """Every word with a capital."""
    return "".join(c if kept else new for c, kept, new in zip(text, keep, title(text)))


def title(text: str) -> str:
    """The same for a whole text, as long as before."""
    return "".join(_one(c, c.lower() if i and text[i - 1].isalnum() else c.upper()) for i, c in enumerate(text))


def lower_case(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001
    """No capitals."""
    return "".join(c if kept else c.lower() for c, kept in zip(text, keep))


def upper_case(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001
    """Capitals only."""
    return "".join(c if kept else c.upper() for c, kept in zip(text, keep))


def decomposed(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:
    """Unicode NFD, and zero-width spaces in 5, 15 or 30 % of the words."""
    words = [m.start() + 1 for m in re.finditer(r"[^\W\d_]{3,}", text) if not any(keep[m.start() : m.end()])]
    chosen = set(rng.sample(words, min(len(words), max(1, round(len(words) * {1: 0.05, 2: 0.15, 3: 0.3}[severity])))))
    parts = [(ZERO_WIDTH if i in chosen else "") + (c if keep[i] else unicodedata.normalize("NFD", c)) for i, c in enumerate(text)]
    return "".join(parts)


def look_alikes(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:
    """2, 10 or 30 % of the letters that have one are replaced by a letter of another script that looks the same."""
    share = {1: 0.02, 2: 0.1, 3: 0.3}[severity]
    places = [i for i, c in enumerate(text) if not keep[i] and ord(c) in LOOK_ALIKES]
    chosen = set(rng.sample(places, min(len(places), max(1, round(len(places) * share)))))
    return "".join(c.translate(LOOK_ALIKES) if i in chosen else c for i, c in enumerate(text))


def full_width(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:
    """10, 40 or 100 % of the words in full-width letters."""
    share = {1: 0.1, 2: 0.4, 3: 1.0}[severity]
    words = [m.span() for m in re.finditer(r"[!-~]+", text)]
    chosen = {i for start, end in rng.sample(words, min(len(words), max(1, round(len(words) * share)))) for i in range(start, end)}
    return "".join(chr(ord(c) + 0xFEE0) if i in chosen and not keep[i] else c for i, c in enumerate(text))


def irrelevant(text: str, keep: Sequence[bool], severity: int, rng: random.Random) -> str:  # noqa: ARG001
    """1, 3 or 6 sentences that say nothing about the task, before or behind the text."""
    said = " ".join(rng.sample(read_list("texts.yaml")["irrelevant"], {1: 1, 2: 3, 3: 6}[severity]))
    return f"{text}\n\n{said}" if rng.random() < 0.5 else f"{said}\n\n{text}"


def _one(old: str, new: str) -> str:
    return new if len(new) == 1 else old


def _put_in(text: str, keep: Sequence[bool], pieces: Sequence[str], rng: random.Random) -> str:
    places = gaps(text, keep)
    if not places:
        return text
    put: dict[int, str] = {}
    for piece in pieces:
        place = rng.choice(places)
        put[place] = put.get(place, "") + piece
    return "".join(put.get(i, "") + c for i, c in enumerate(text)) + put.get(len(text), "")


def _phrases(text: str, keep: Sequence[bool], language: str) -> str:
    table = read_list("texts.yaml")["phrases"][language]
    pattern = r"\b(" + "|".join(sorted(map(re.escape, table), key=len, reverse=True)) + r")\b"
    free = lambda m: not any(keep[m.start() : m.end()])  # noqa: E731
    return re.sub(pattern, lambda m: table[m[0].lower()] if free(m) else m[0], text, flags=re.IGNORECASE)
