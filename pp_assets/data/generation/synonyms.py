"""Words exchanged for synonyms, with guards, from the plain files of WordNet 3.0 (Debian's wordnet-base; free, keep Princeton's notice).

Unguarded, "want" becomes "deprivation" and "a" becomes "angstrom". A word is exchanged only when it is no stopword, nearly always of one
part of speech in the texts that were tagged for WordNet (`cntlist.rev`), and mostly of its first sense there; its synonym must be a common
word with that very sense as its own first one. What still changes a text too much is found by the cosine of the two (LEAST_COSINE).
"""

import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pp_resources.errors import UserError

FOLDER = Path("/usr/share/wordnet")
MISSING = "no WordNet data; on Debian 'apt install wordnet-base', elsewhere put its data files in a folder and name it in PP_WORDNET"
LEAST_COSINE = 0.85  # of a text and the one with synonyms; below it the meaning has often changed
SHARE = 0.3  # of the words that have a synonym
ONE_PART = 0.8  # of a word's tags are of one part of speech
FIRST_SENSE = 0.5  # of its tags there are of the first sense
LEAST_TAGS = 3  # of a synonym, and as many as COMMON of the word's own: "actuate" is no word that people use for "activate"
COMMON = 0.1
_PARTS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
_NEEDED = ("cntlist.rev", *(f"{kind}.{part}" for part in ("noun", "verb", "adj", "adv") for kind in ("index", "data")))
# Frequent words that have a first sense which is not theirs in messages, or that carry the sense of the sentence.
_NEVER = frozenset(
    {"ask", "call", "help", "just", "kind", "maybe", "never", "okay", "process", "really", "soon", "use", "want", "way", "yes"}
)
Form = Callable[[str], str | None]
_WORD = re.compile(r"[A-Za-z]{3,}")


@dataclass(frozen=True)
class WordNet:
    """Tagged words: `tags` of (word, part of speech) how often each sense was tagged, `first` the place of its first sense in data.PART."""

    folder: Path
    tags: Mapping[tuple[str, str], Mapping[int, int]]
    first: Mapping[tuple[str, str], int]

    def synonyms(self, word: str) -> list[str]:
        """Single words, lower case, that may stand for this one in the same form; sorted, often none."""
        lowered = word.lower()
        if lowered in _stopwords() or lowered in _NEVER:
            return []
        forms = [(base, part, form) for base, part, form in _forms(lowered) if (base, part) in self.tags]
        # "works" is a plant, and what a machine does: what may be two words is left alone.
        if len({base for base, _, _ in forms}) != 1:
            return []
        for base, part, form in forms:
            if self._is_mostly(base, part):
                others = self._of_first_sense(base, part)
                return sorted({made for other in others if (made := form(other)) and made != lowered})
        return []

    def _is_mostly(self, word: str, part: str) -> bool:
        counts = {each: sum(self.tags.get((word, each), {}).values()) for each in ("noun", "verb", "adj", "adv")}
        senses = self.tags.get((word, part), {})
        return counts[part] > 1 and counts[part] >= ONE_PART * sum(counts.values()) and senses.get(1, 0) >= FIRST_SENSE * counts[part]

    def _of_first_sense(self, word: str, part: str) -> list[str]:
        place = self.first.get((word, part))
        if place is None:
            return []
        with (self.folder / f"data.{part}").open("rb") as file:
            file.seek(place)
            parts = file.readline().decode("latin-1").split(" ")
        words = [parts[4 + 2 * i].partition("(")[0] for i in range(int(parts[3], 16))]
        same = [w for w in words if _WORD.fullmatch(w) and w.islower() and w != word]
        least = max(LEAST_TAGS, COMMON * sum(self.tags[word, part].values()))
        common = [w for w in same if sum(self.tags.get((w, part), {}).values()) >= least]
        return [w for w in common if self.first.get((w, part)) == place and self._is_mostly(w, part)]


@lru_cache(maxsize=2)
def load(folder: Path | None = None) -> WordNet:
    """The data of `folder`, default PP_WORDNET or Debian's; about a second. Raises UserError where it is not."""
    folder = folder or place()
    if unavailable(folder):
        raise UserError("synonyms need WordNet", where=str(folder), how=MISSING)
    tags: dict[tuple[str, str], dict[int, int]] = {}
    for line in (folder / "cntlist.rev").read_text("latin-1").splitlines():
        key, sense, count = line.split()
        lemma, _, rest = key.partition("%")
        at = tags.setdefault((lemma, _PARTS[rest[0]]), {})
        at[int(sense)] = at.get(int(sense), 0) + int(count)
    first: dict[tuple[str, str], int] = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"index.{part}").read_text("latin-1").splitlines():
            # The licence stands on top, its lines begin with a space.
            word = line.partition(" ")[0]
            if word and (word, part) in tags:
                fields = line.split()
                first[word, part] = int(fields[6 + int(fields[3])])
    return WordNet(folder, tags, first)


def place() -> Path:
    """Where the data is looked for."""
    return Path(os.environ.get("PP_WORDNET") or FOLDER)


def unavailable(folder: Path | None = None) -> str:
    """Why synonyms cannot be used here; empty when they can."""
    folder = folder or place()
    return "" if all((folder / name).is_file() for name in _NEEDED) else MISSING


def wordnet_digest() -> str:
    """What replacements depend on beside the code: the sizes of the files, empty where they are missing."""
    return "" if unavailable() else " ".join(str((place() / name).stat().st_size) for name in _NEEDED)


def with_synonyms(net: WordNet, text: str, keep: Sequence[bool], rng: random.Random, share: float = SHARE) -> tuple[str, list[list[str]]]:
    """The text with `share` of the words that have synonyms exchanged, at least one, and the pairs (old, new). `keep` (bool per character)
    marks what stays. The text itself and no pairs where no word can be exchanged."""
    found = [(m, new) for m in _WORD.finditer(text) if not any(keep[m.start() : m.end()]) and (new := net.synonyms(m[0]))]
    chosen = rng.sample(found, min(len(found), max(1, round(share * len(found)))))
    pairs = []
    for match, options in sorted(chosen, key=lambda one: -one[0].start()):
        put = _cased(match[0], rng.choice(options))
        text = text[: match.start()] + put + text[match.end() :]
        pairs.append([match[0], put])
    return text, pairs[::-1]


def _cased(old: str, new: str) -> str:
    if old.isupper():
        return new.upper()
    return new.capitalize() if old[0].isupper() else new


def _forms(word: str) -> Iterator[tuple[str, str, Form]]:
    """(base form, part of speech, function that puts another word into the same form), regular forms only."""
    for part in ("noun", "verb", "adj", "adv"):
        yield word, part, str
    if word.endswith("s") and not word.endswith("ss"):
        for part in ("noun", "verb"):
            yield word[:-1], part, _with_s
    if word.endswith("ed"):
        for base in (word[:-2], word[:-1]):
            yield base, "verb", _with_ed
    if word.endswith("ing"):
        for base in (word[:-3], word[:-3] + "e"):
            yield base, "verb", _with_ing


def _with_s(word: str) -> str | None:
    if word.endswith(("s", "x", "z", "ch", "sh", "y", "o", "f", "fe")):
        return None
    return word + "s"


def _with_ed(word: str) -> str | None:
    if _doubles(word) or word in _irregular_verbs():
        return None
    return word + ("d" if word.endswith("e") else "ed")


def _with_ing(word: str) -> str | None:
    if _doubles(word) or word.endswith(("ee", "ie", "ye", "oe")):
        return None
    return (word[:-1] if word.endswith("e") else word) + "ing"


def _doubles(word: str) -> bool:
    """A last letter that would be doubled, or a y that would change: not worth the rules."""
    return bool(re.search(r"[^aeiou][aeiou][^aeiouwx]$|y$", word))


@lru_cache(maxsize=1)
def _irregular_verbs() -> frozenset[str]:
    file = place() / "verb.exc"
    return frozenset(line.split()[-1] for line in file.read_text("latin-1").splitlines()) if file.is_file() else frozenset()


@lru_cache(maxsize=1)
def _stopwords() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)
