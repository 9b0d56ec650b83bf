"""Natural English for the tasks: nouns that a key may be, sentences that say nothing that was asked, spans that are values.

Read from a folder of ``*.jsonl.gz`` files with lines ``{"text", "meta": {"source", ...}}``. Nothing of it is part of the project.
"""

# ruff: noqa: SIM905 (words in lines, not one a line)

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench.make_base import kinds
from pp_resources.errors import UserError

FILES = {
    "text_books.jsonl.gz": 40,
    "text_modern.jsonl.gz": 4,
    "text_modern2.jsonl.gz": 1,
    "text_dialogues.jsonl.gz": 8,
}  # one line in so many
# Source, its licence and what it is. What is not named is not read: film reviews, sources whose terms are not plain, and, of the
# dialogues, those from which the measured families come.
SOURCES = {
    "classic-books-markdown": ("public domain in the US", "282 books, authors long dead"),
    "digital.gov": ("CC0, US public domain", "articles"),
    "18F blog": ("CC0, US public domain", "blog and guides"),
    "nltk inaugural": ("public domain", "inaugural addresses"),
    "nltk state_union": ("public domain", "State of the Union addresses"),
    "taskmaster-4": ("CC BY 4.0", "Taskmaster-4 by Google, coffee orders"),
    "synthetic-persona-chat": ("CC BY 4.0", "Synthetic-Persona-Chat by Google, machine-written dialogues"),
}
# Words of the kinds that measure what was never seen (`kinds.HELD_OUT`): no key, value or sentence of training holds one.
UNSEEN = re.compile(
    r"\b(badg\w*|licen[cs]e\w*|plates?|species|animals?|recipes?|dish(es)?|herons?|otters?|fox(es)?|owls?|beetles?|aubergines?|carps?"
    r"|dumplings?|noodles?)\b",
    re.IGNORECASE,
)
NOUN = re.compile(r"\b(?:the|a|an|my|our|your|his|her|their) ([a-z]{3,12})(?= (?:is|was|has|had|of|in|on|to|for|and|that|which)\b|[.,;])")
NO_NOUN = set(
    """same other own first last second third one two three few many more most very good new old great little whole rest
    best""".split()
)
HELD_NOUNS = 8  # one noun in so many is kept for measuring


@dataclass(frozen=True)
class Texts:
    """`nouns` for training, `held_nouns` for measuring (none in both), `sentences` of 4 to 20 words."""

    nouns: tuple[str, ...]
    held_nouns: tuple[str, ...]
    sentences: tuple[str, ...]

    def phrase(self, r: Random) -> str:
        """One to four words in a row of a sentence, as they stand there."""
        words = r.choice(self.sentences).split()
        size = r.choice([1, 1, 2, 2, 3, 4])
        start = r.randrange(max(1, len(words) - size))
        return " ".join(words[start : start + size]).strip(".,;:!?\"'()*_") or r.choice(self.nouns)


def load_texts(corpus: Path) -> Texts:
    """Raises UserError when a file is missing."""
    counts: Counter[str] = Counter()
    sentences = []
    for file, every in FILES.items():
        for i, row in enumerate(read_rows(corpus / file)):
            if i % every == 0 and row["meta"]["source"] in SOURCES:
                counts.update(NOUN.findall(row["text"]))
                sentences += [s for s in re.split(r"(?<=[.!?])\s+|\n+", row["text"]) if _plain(s)]
    taken = NO_NOUN | {word for kind in (*kinds.COPIES, *kinds.COUNTS) for name in kind[0] for word in name.split("_")}
    nouns = sorted(noun for noun, n in counts.items() if n >= 5 and noun not in taken and not UNSEEN.search(noun))
    held = set(Random("held nouns").sample(nouns, len(nouns) // HELD_NOUNS))
    return Texts(tuple(n for n in nouns if n not in held), tuple(sorted(held)), tuple(dict.fromkeys(sentences)))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"no file {path.name}", where=str(path.parent), how="give --corpus the folder with the files that the card names")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _plain(sentence: str) -> bool:
    """Whether a sentence is short and of plain characters: no markup, no address, no name of a speaker, no word that is kept unseen."""
    return (
        4 <= len(sentence.split()) <= 20
        and sentence.isascii()
        and sentence[0].isalpha()
        and not re.search(r"[*#_|<>\[\]{}\\/]|\w: ", sentence)
        and not UNSEEN.search(sentence)
    )
