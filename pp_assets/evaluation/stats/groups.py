"""Items that come in groups: phrasings of one situation are not independent of each other. And random draws that repeat."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

PRIOR = 0.5  # weight of the group that is all right, and of the one that is all wrong


@dataclass(frozen=True)
class Clusters:
    """Which items belong together: `codes` (n,) in 0..count-1."""

    codes: np.ndarray
    count: int

    @classmethod
    def of(cls, groups: Sequence[str]) -> "Clusters":
        names, codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        return cls(codes.reshape(-1), len(names))

    @property
    def single(self) -> bool:
        """True when every item is a group of its own."""
        return self.count == len(self.codes)

    @cached_property
    def sizes(self) -> np.ndarray:
        return np.bincount(self.codes, minlength=self.count)

    def subset(self, mask: np.ndarray) -> "Clusters":
        """The groups of the items where `mask` (n,) holds."""
        if mask.all():
            return self
        kept, codes = np.unique(self.codes[mask], return_inverse=True)
        return Clusters(codes.reshape(-1), len(kept))

    def pooled(self, most: int) -> "Clusters":
        """At most so many groups: more are pooled, which bounds the memory of a bootstrap and changes no expectation."""
        return self if self.count <= most else Clusters(self.codes % most, most)

    def sums(self, table: np.ndarray) -> np.ndarray:
        """Sum the rows of `table` (n, k) in each group: (count, k)."""
        if self.single:
            out = np.empty_like(table, dtype=np.float64)
            out[self.codes] = table
            return out
        return np.stack([np.bincount(self.codes, weights=column, minlength=self.count) for column in table.T], axis=1)


def generator(seed: int, *labels: str) -> np.random.Generator:
    """A generator for one purpose: draws do not depend on what else was drawn before."""
    words = hashlib.sha256("\x1f".join(labels).encode()).digest()
    return np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, *np.frombuffer(words, dtype="<u4").tolist()])


def effective_n(values: np.ndarray, clusters: Clusters) -> float:
    """How many independent items carry as much information on the mean of `values` (n,) as these do.

    n over the design effect (clustered variance / simple variance, with the C/(C-1) correction for few groups), at most n.
    When all values are equal the design effect is unknown, and answers within a group are taken to be copies of each other:
    (Σm)²/Σm² of the group sizes m.
    """
    n = len(values)
    if clusters.single or n < 2:
        return float(n)
    centred = values - values.mean()
    simple = float((centred**2).sum())
    if simple <= 0 or clusters.count < 2:
        return float(n * n / (clusters.sizes.astype(float) ** 2).sum())
    grouped = float((clusters.sums(centred[:, None]) ** 2).sum()) * clusters.count / (clusters.count - 1)
    return float(min(n, n * simple * n / (n - 1) / grouped)) if grouped > 0 else float(n)


def effective_n_of_share(sums: np.ndarray, sizes: np.ndarray) -> float:
    """The same for an interval of a share, from sums of values in 0..1 and sizes of the groups, (groups,) each.

    How alike the items of a group are is taken from the groups and, at half the weight of one, from a group that is all right and one
    that is all wrong. Without these a sample that by luck has few wrong groups thinks itself both better and surer than it is: over 200
    situations (10 to 60 groups, rates .5 to .98) the worst coverage of a 95 % interval was .776, with them .945, for 8 % more width.
    """
    n, m = float(sizes.sum()), float((sizes**2).sum() / sizes.sum())
    share = (sums.sum() + PRIOR * m) / (n + 2 * PRIOR * m)
    grouped = ((sums - sizes * share) ** 2).sum() + PRIOR * m * m * (share**2 + (1 - share) ** 2)
    simple = (n + 2 * PRIOR * m) * share * (1 - share)
    return float(n * simple / grouped * (len(sizes) - 1) / len(sizes))
