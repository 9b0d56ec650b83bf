"""The sentences of a prompt: cut, compared, denied. Plain text in, positions out."""

import re
from collections.abc import Sequence

RUN = 6  # words in a row that stood before: fewer are idiom
SAME = 0.8  # Jaccard similarity of words from which two sentences speak of one thing
_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"\w[\w'’-]*")
_NOT = frozenset(["not", "never", "no", "don't", "doesn't", "cannot", "can't", "without", "avoid", "mustn't", "shouldn't"])
_EMPTY = frozenset(["do", "does", "always", "must", "should", "please", "the", "a", "an", "be", "is", "are", "can"])


def sentences(text: str) -> list[str]:
    """Sentences and lines with a word in them, without the marks of a list. Labels such as "Input:" and lines of JSON are none."""
    plain = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", text, flags=re.MULTILINE)
    cut = (part.strip() for part in _END.split(plain))
    return [part for part in cut if _WORD.search(part) and not re.fullmatch(r"[\w ]{1,20}:|[{\[].*", part)]


def words(text: str) -> list[str]:
    """The words in lower case."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def repeated(found: Sequence[str]) -> list[int]:
    """Positions of sentences of at least three words that stood before in the same words."""
    seen: set[tuple[str, ...]] = set()
    again = []
    for i, sentence in enumerate(found):
        said = tuple(words(sentence))
        if len(said) >= 3 and said in seen:
            again.append(i)
        seen.add(said)
    return again


def contradictions(found: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) that say the same words, one of them with a "not". What is meant alike in other words is not found."""
    read = []
    for i, sentence in enumerate(found):
        said = words(sentence)
        kept = frozenset(word for word in said if word not in _NOT and word not in _EMPTY)
        if len(kept) >= 2:
            read.append((i, kept, sum(word in _NOT for word in said) % 2))
    pairs = [(a, b) for k, a in enumerate(read) for b in read[k + 1 :] if a[2] != b[2]]
    return [(a[0], b[0]) for a, b in pairs if len(a[1] & b[1]) / len(a[1] | b[1]) >= SAME]


def repeated_words(text: str) -> str:
    """The words that stand in a run of RUN that stood before, each once, in their order."""
    said = words(text)
    seen: set[tuple[str, ...]] = set()
    again = [False] * len(said)
    for i in range(len(said) - RUN + 1):
        run = tuple(said[i : i + RUN])
        if run in seen:
            again[i : i + RUN] = [True] * RUN
        seen.add(run)
    return " ".join(word for word, repeat in zip(said, again) if repeat)
