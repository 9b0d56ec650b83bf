"""Which variant an episode meets: the same every time, from a hash alone, so that no request waits for a database.

Weighted rendezvous hashing: each variant draws an exponential time with its weight as rate, from the hash of (task, episode, variant), and
the first wins. When weights change, episodes move only towards variants whose share grew against theirs. Of the distance d between old and
new shares (total variation: no rule can move less) it moves exactly d for two variants, for one that is rolled back or added while the rest
keep their proportions; else at most 2d / (1 + d), which no stateless rule can beat for all pairs of weights (Angel and Spinka 2019,
Pairwise optimal coupling of multiple random variables). Cutting 0..1 into intervals in a fixed order moves every border behind a change:
from .5, .3, .2 to .4, .3, .3 that is .200, this .127, d .100.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache

_STEPS = 2**53


def choose(weights: Mapping[str, float], task: str, episode_id: str, key: str = "") -> str:
    """The variant that answers this episode; `key` is a secret of the installation, with which shares cannot be steered from outside.

    One of weight 0 never answers. The order of `weights` does not matter, nor do they have to add up to 1. ValueError where none is
    positive or one is negative or not finite.
    """
    if not all(0 <= weight < math.inf for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"weights must be finite, none negative and one positive: {dict(weights)}")
    drawn = _drawn(key, task, episode_id)
    times = {name: -math.log(_uniform(drawn, name)) / weight for name, weight in weights.items() if weight > 0}
    return min(times, key=lambda name: (times[name], name))


def shadows(shares: Mapping[str, float], task: str, episode_id: str, key: str = "") -> list[str]:
    """The variants that get a copy of this episode and whose answers nobody sees, each with its own share of the traffic (0..1)."""
    drawn = _drawn(key, task, episode_id, "shadow")
    return [name for name, share in sorted(shares.items()) if _uniform(drawn, name) <= share]


@lru_cache(maxsize=64)
def _keyed(key: str) -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=8, key=hashlib.sha256(_bytes(key)).digest())


def _drawn(key: str, *words: str) -> "hashlib.blake2b":
    """The hash of some words, each with its length before it, which more may follow."""
    found = _keyed(key).copy()
    for word in words:
        found.update(len(_bytes(word)).to_bytes(4, "big") + _bytes(word))
    return found


def _uniform(drawn: "hashlib.blake2b", name: str) -> float:
    """A number in (0, 1], 53 bits."""
    own = drawn.copy()
    own.update(_bytes(name))
    return ((int.from_bytes(own.digest(), "big") >> 11) + 1) / _STEPS


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")
