"""Worked examples in memory, and those that are most like a vector: an exact search, since approximate ones lose examples in silence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pp_assets.task.duplicates import normalise
from pp_assets.task.same_item import SAME, difference, read
from pp_assets.task.similar import COMMON, KNOWN_TEXTS

SAME_COSINE = 0.999  # of a query without words: its own example
LIKE = 0.9  # below this cosine two texts are not compared word by word: as for leaks


@dataclass(frozen=True)
class Worked:
    """A worked example, as a prompt shows it (a `Shot`). `label` groups examples for diversity, "" for none."""

    id: str
    input_text: str
    output: dict[str, Any]
    label: str = ""

    @cached_property
    def words(self) -> frozenset[str]:
        """Its different words."""
        return frozenset(read(self.input_text).words)


@dataclass(frozen=True)
class Index:
    """Examples by rising id, a unit row of `matrix` (float32, examples x size) each. It never changes; a new one takes its place."""

    examples: tuple[Worked, ...]
    matrix: np.ndarray

    @classmethod
    def of(cls, examples: Sequence[Worked], vectors: np.ndarray) -> "Index":
        """From examples in any order and their vectors (examples, size), of any length but 0. Ids must differ."""
        order = sorted(range(len(examples)), key=lambda i: examples[i].id)
        rows = np.asarray(vectors, np.float32)[order] if order else np.zeros((0, 0), np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True) if order else rows
        matrix = np.ascontiguousarray(rows / np.maximum(lengths, 1e-12)) if order else rows
        return cls(tuple(examples[i] for i in order), matrix)

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def known(self) -> frozenset[str]:
        """Words that are no typing errors, by the rule of `known_words`. Examples that were in an index before know theirs already: to
        read the words of 100,000 new ones takes some 18 seconds."""
        counts = Counter(word for one in self.examples for word in one.words)
        least = max(KNOWN_TEXTS, len(self) / COMMON)
        return frozenset(word for word, count in counts.items() if count >= least)

    def nearest(self, vector: np.ndarray, count: int, text: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(places int64, cosines float32) of the examples most like a unit vector (size,), at most `count`, most similar first, of equal
        ones the one with the smaller id. Examples that are the same item as `text` do not count: an answer must not stand beside its own
        question. Without a text those with a cosine of SAME_COSINE do not."""
        cosines = self.matrix @ np.asarray(vector, np.float32) if len(self) else np.zeros(0, np.float32)
        asked = count
        while True:
            places = _top(cosines, asked)
            left = [i for i in places.tolist() if not self._is(i, float(cosines[i]), text)]
            if len(left) >= count or asked >= len(self):
                chosen = np.array(left[:count], dtype=np.int64)
                return chosen, cosines[chosen]
            asked = min(len(self), 2 * asked + count - len(left))

    def _is(self, place: int, cosine: float, text: str | None) -> bool:
        if text is None:
            return cosine >= SAME_COSINE
        other = self.examples[place].input_text
        if normalise(text) == normalise(other):
            return True
        return cosine >= LIKE and difference(text, other, self.known) == SAME


def _top(cosines: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest, largest first, equal ones by place: a partition alone would cut among equals by chance."""
    if count < len(cosines):
        least = np.partition(cosines, len(cosines) - count)[len(cosines) - count]
        places = np.flatnonzero(cosines >= least)
    else:
        places = np.arange(len(cosines))
    return places[np.lexsort((places, -cosines[places]))][:count]
