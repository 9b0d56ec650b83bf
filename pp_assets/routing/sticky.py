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
from collections.abc import Mapping, Sequence

_STEPS = 2**53


def choose(weights: Mapping[str, float], task: str, episode_id: str, key: str = "") -> str:
    """The variant that answers this episode; `key` is a secret of the installation, with which shares cannot be steered from outside.

    One of weight 0 never answers. The order of `weights` does not matter, nor do they have to add up to 1. ValueError where none is
    positive or one is negative or not finite.
    """
    if not all(0 <= weight < math.inf for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"weights must be finite, none negative and one positive: {dict(weights)}")
    times = {name: -math.log(uniform(key, task, episode_id, name)) / weight for name, weight in weights.items() if weight > 0}
    return min(times, key=lambda name: (times[name], name))


def shadows(shares: Mapping[str, float], task: str, episode_id: str, key: str = "") -> list[str]:
    """The variants that get a copy of this episode and whose answers nobody sees, each with its own share of the traffic (0..1)."""
    return [name for name, share in sorted(shares.items()) if uniform(key, task, episode_id, "shadow", name) <= share]


def uniform(key: str, *words: str) -> float:
    """A number in (0, 1] that depends on the key and the words alone (BLAKE2b, 53 bits)."""
    parts = [word.encode() for word in words]
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    secret = hashlib.sha256(key.encode()).digest()
    drawn = hashlib.blake2b(framed, digest_size=8, key=secret).digest()
    return ((int.from_bytes(drawn, "big") >> 11) + 1) / _STEPS


def share_moved(before: Sequence[float], after: Sequence[float]) -> float:
    """The expected share of episodes that meet another variant after a change of weights (same variants, same order)."""
    old, new = ([weight / sum(weights) for weight in weights] for weights in (before, after))
    stay = [1 / sum(max(a / x, b / y) for a, b in zip(old, new)) for x, y in zip(old, new) if x > 0 and y > 0]
    return 1 - sum(stay)
