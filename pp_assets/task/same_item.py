"""Are two texts one item, one of them disturbed, or two items in similar words? Words are aligned; what finds no partner decides.

Similarity alone cannot tell: "invoice 4412" and "invoice 9931" have a cosine of .83, "love it" and "hate it" one of .70, and to ask
"how can I" for "how do I" changes as many letters as two typing errors. Here texts are one item when one has the words of the other in
any order, or in the same order with typing errors and words that mean the same, alone or after a greeting or beside other sentences.
A number, a name, a negation or any known word that stands on one side alone makes two items of them.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pp_assets.task.duplicates import normalise

SAME = ""
LONG = 8  # words: a text as long as that inside another was copied, whatever stands before it
SHORT = 3  # words: a shorter text inside another says nothing
_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_NEVER = "no not never none nothing nobody nowhere neither nor without cannot cant dont doesnt didnt isnt wasnt wont couldnt"
NEGATIONS = frozenset(f"{_NEVER} wouldnt shouldnt havent hasnt hadnt arent werent unable".split())
_LIGHT = "a an the this that these those there here it its i im ive id me my mine we us our you your he she they them their some any"
_LIGHT += " and or but so of to in on at for from with by as into about be am is are was were been do does did has have had can could"
LIGHT = frozenset(f"{_LIGHT} will would shall should may might must also then than if".split())
_ASKED = "how what when where which who whose why"
_QUESTIONS = frozenset(_ASKED.split())
_AMOUNTS = "one two three four five six seven eight nine ten first second third fourth once twice both all none half"
_COUNTS = frozenset(_AMOUNTS.split())
_OWN_SENSE = NEGATIONS | LIGHT | _QUESTIONS | _COUNTS  # no synonyms of each other, however near their embeddings are
_ASKING = "hi hello hey dear good morning afternoon evening day team support all everyone please thanks thank sorry help quick short"
_ASKING += " question wondering wonder know tell ask asking need urgent soon possible hope well message user customer wrote says"
GREETING = LIGHT | frozenset(_ASKING.split())
Alike = Callable[[str, str], bool]
"""Whether two unlike words mean the same."""
_FREE, _GAP = 0.1, 1.0


@dataclass(frozen=True)
class Words:
    """A text as it is compared. `names` are words with a capital inside a sentence; `ends` the places after which a clause ends."""

    words: tuple[str, ...]
    names: frozenset[str]
    ends: frozenset[int]


@lru_cache(maxsize=65_536)
def read(text: str) -> Words:
    """The words of a text, lower case, without apostrophes."""
    found, names, ends = [], set(), set()
    shouted = sum(c.isupper() for c in text) > 0.5 * sum(c.isalpha() for c in text)
    matches = list(_WORD.finditer(text))
    for i, match in enumerate(matches):
        word = normalise(match[0]).replace("’", "").replace("'", "")
        between = text[matches[i - 1].end() : match.start()] if i else ""
        inside = i > 0 and not any(c in between for c in ".!?:\n")
        if inside and match[0][0].isupper() and not shouted and not re.match(r"I(\b|['’])", match[0]):
            names.add(word)
        if i and between.strip(" \t'\"’“”()"):
            ends.add(i - 1)
        found.append(word)
    return Words(tuple(found), frozenset(names), frozenset(ends))


def difference(a: str, b: str, known: Container[str] = frozenset(), alike: Alike | None = None) -> str:
    """Why two texts are two items: "number", "negation", "name" or "words"; SAME (empty) when they are one.

    `known` are words of the data that are no typing errors, `alike` tells words that mean the same (default: none do).
    """
    left, right = sorted((read(a), read(b)), key=lambda text: (len(text.words), text.words))
    if left.words == right.words:
        return SAME
    if not left.words:
        return "words"
    if Counter(left.words) == Counter(right.words):
        moved = [x for x, y in zip(left.words, right.words) if x != y]
        roles = len(moved) == 2 and all(word[0].isdigit() or word in left.names | right.names for word in moved)
        return "name" if roles else SAME
    return _verdict(left, right, known, alike)


def _verdict(left: Words, right: Words, known: Container[str], alike: Alike | None) -> str:
    def cost(x: str, y: str) -> float:
        if x == y:
            return 0.0
        name = x in left.names or y in right.names
        if mistyped(x, y, known, name):
            return _FREE
        if not name and slipped(x, y):
            return 3 * _FREE
        return 2 * _FREE if alike is not None and _may_mean(x, y) and alike(x, y) else 2 * _GAP + _FREE

    alone_left, alone_right, start, stop, changed = align(left.words, right.words, cost)
    whole = start == 0 and stop == len(right.words)
    apart = alone_left or alone_right or changed > max(1, len(left.words) // 2)
    return _reason(left, right) if apart or not (whole or _contained(left, right, start, stop)) else SAME


def _reason(left: Words, right: Words) -> str:
    """The weightiest kind of word that stands on one side alone."""
    ours, theirs = Counter(left.words), Counter(right.words)
    alone = set(ours - theirs) | set(theirs - ours)
    if any(word[0].isdigit() for word in alone):
        return "number"
    if alone & NEGATIONS:
        return "negation"
    return "name" if alone & (left.names | right.names) else "words"


def _contained(left: Words, right: Words, start: int, stop: int) -> bool:
    """Whether what stands around the run of words is no part of the same clause."""
    if len(left.words) < SHORT:
        return False
    before = right.words[:start]
    prefix = not before or len(left.words) >= LONG or start - 1 in right.ends or all(word in GREETING for word in before)
    return prefix and (stop == len(right.words) or stop - 1 in right.ends)


def align(a: Sequence[str], b: Sequence[str], cost: Callable[[str, str], float]) -> tuple[list[int], list[int], int, int, int]:
    """The cheapest alignment of `a` inside `b`, whose words before and behind are free.

    Returns the places without a partner in `a` and, within the run, in `b`; where the run starts and stops in `b`; and how many
    partners are not equal. A word without partner costs 1, one of a single letter 0.1.
    """
    table: list[list[float]] = [[0.0] * (len(b) + 1)]
    for i, x in enumerate(a, 1):
        row = [table[i - 1][0] + _gap(x)]
        for j, y in enumerate(b, 1):
            row.append(min(table[i - 1][j - 1] + cost(x, y), table[i - 1][j] + _gap(x), row[j - 1] + _gap(y)))
        table.append(row)
    # Of equally cheap runs the last one: what follows the run is what must be explained.
    stop = min(range(len(b) + 1), key=lambda j: (table[-1][j], -j))
    i, j, alone_a, alone_b, changed = len(a), stop, [], [], 0
    while i:
        if j and table[i][j] == table[i - 1][j - 1] + cost(a[i - 1], b[j - 1]) and cost(a[i - 1], b[j - 1]) < 2 * _GAP:
            i, j = i - 1, j - 1
            changed += a[i] != b[j]
        elif j and table[i][j] == table[i][j - 1] + _gap(b[j - 1]):
            j -= 1
            alone_b += [j] * (len(b[j]) > 1 or b[j].isdigit())
        else:
            i -= 1
            alone_a += [i] * (len(a[i]) > 1 or a[i].isdigit())
    return alone_a, alone_b, j, stop, changed


def mistyped(a: str, b: str, known: Container[str], name: bool = False) -> bool:
    """Whether one word is the other with typing errors: one of them is no known word, and four in ten letters differ at most.

    Numbers are never mistyped. A name is, where one of the two is known, or where both are long and begin alike. A light word may be
    damaged beyond recognition.
    """
    if a[0].isdigit() or b[0].isdigit() or (_real(a, known) and _real(b, known)):
        return False
    strange = not (_real(a, known) or _real(b, known))
    if name and strange and (min(len(a), len(b)) < 4 or a[0] != b[0]):
        return False
    if (a in LIGHT or b in LIGHT) and max(len(a), len(b)) <= 3:
        return True
    most = math.ceil(0.4 * max(len(a), len(b)))
    return abs(len(a) - len(b)) <= most and edits(a, b) <= most


def slipped(a: str, b: str) -> bool:
    """Whether an error of one letter makes one word of the other, as "car" of "card"."""
    return not (a[0].isdigit() or b[0].isdigit() or a in NEGATIONS or b in NEGATIONS) and abs(len(a) - len(b)) <= 1 and edits(a, b) == 1


@lru_cache(maxsize=131_072)
def edits(a: str, b: str) -> int:
    """Optimal string alignment distance: insertions, deletions, substitutions and exchanges of neighbours."""
    before, row = list[int](), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _real(word: str, known: Container[str]) -> bool:
    return word in LIGHT or word in NEGATIONS or word in known


def _may_mean(a: str, b: str) -> bool:
    return min(len(a), len(b)) > 2 and not any(word[0].isdigit() or word in _OWN_SENSE for word in (a, b))


def _gap(word: str) -> float:
    return _FREE if len(word) == 1 and not word.isdigit() else _GAP
