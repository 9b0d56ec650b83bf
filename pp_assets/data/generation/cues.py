"""Words that tell a boolean, learnt from training rows: with a sentence taken away or put in, the value changes."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pp_assets.evaluation.stats.intervals import wilson
from pp_assets.task.examples import Example
from pp_resources.json_schema import get_path

LONGEST = 3  # words of a cue
SURE = 0.7  # lower bound of the share of rows with a cue that are true
LEAST = 5  # rows with a cue
RARE = 0.1  # upper bound of that share among rows without any cue
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


@dataclass(frozen=True)
class Cues:
    """The cues of one boolean field, and whether rows without any of them are surely false (then taking them away makes a row false)."""

    path: str
    words: frozenset[str]
    needed: bool

    def within(self, text: str) -> bool:
        """Whether a text has a cue."""
        return not self.words.isdisjoint(grams(text))


def grams(text: str) -> set[str]:
    """All runs of up to three words, in lower case."""
    words = [w.lower() for w in _WORD.findall(text)]
    return {" ".join(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1)}


def learn_cues(path: str, rows: Sequence[Example]) -> Cues:
    """What tells that the boolean at `path` is true; no words where the rows do not show any."""
    told: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    true = [get_path(row.output, path) is True for row in rows]
    found = [grams(row.input_text) for row in rows]
    for said, value in zip(found, true):
        seen.update(said)
        told.update(said if value else ())
    base = sum(true) / max(1, len(true))
    often = {g: n for g, n in seen.items() if told[g] >= max(SURE, base) * n and n >= LEAST} if base <= 0.5 else {}
    sure = {g for g, n in often.items() if wilson(told[g], n)[0] >= max(SURE, base)}
    silent = [value for said, value in zip(found, true) if sure.isdisjoint(said)]
    needed = bool(sure and silent) and wilson(sum(silent), len(silent))[1] <= RARE
    return Cues(path, frozenset(sure), needed)
