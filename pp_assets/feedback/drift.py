"""Do new inputs look like those that a task was made from? Two tests on sentence embeddings, exact for any number of rows: whether more of
them than should be are far from all known ones, and whether the shares of the topics have moved.

Row by row: how few known inputs are as far from the others as this one from all of them is its conformal p-value (Bates, Candès, Lei,
Romano, Sesia 2023, Testing for outliers with conformal p-values). A new intent beside old ones is hard to see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from pp_assets.data.neighbours import BLOCK, WITNESSES, codes_of, spread_out
from pp_assets.data.novelty import LEAST, NEIGHBOURS, similarity
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.intervals import mid_p
from pp_assets.evaluation.stats.multiplicity import holm

NOVEL = 0.05  # share of the known rows that is called novel itself
DRAWS = 1999
DRIVERS = 20


@dataclass(frozen=True)
class Known:
    """The inputs that are known: unit embeddings (float32, rows x size) and the places of these rows in what was given; ascending, the
    similarity of each to its nearest others; and by topic its name, its middle (topics x size) and how many rows are nearest to that."""

    vectors: np.ndarray
    rows: np.ndarray
    similarity: np.ndarray
    topics: list[str]
    middles: np.ndarray
    counts: np.ndarray

    @property
    def limit(self) -> float:
        """The similarity below which a row is novel."""
        return float(self.similarity[_rank(len(self.similarity)) - 1])

    def p_values(self, found: np.ndarray) -> np.ndarray:
        """For rows of such a `similarity` to the known ones the share of these that are as far out, the row itself counted: below a for a
        share a of rows like the known."""
        return (1 + np.searchsorted(self.similarity, found, side="right")) / (1 + len(self.similarity))


def known(vectors: np.ndarray, groups: Sequence[str], topics: Sequence[str] = ()) -> Known | None:
    """From the embeddings of the known rows, what belongs together among them (a row is not compared with its own group: paraphrases of one
    source would make all else look far) and the topic of each (empty: outside of all). None when there are too few."""
    chosen = spread_out(len(vectors), WITNESSES)
    codes = codes_of([groups[i] for i in chosen])
    if len(chosen) < LEAST or codes.max() < NEIGHBOURS:
        return None
    own = vectors[chosen]
    own_similarity = np.sort(similarity(own, own, (codes, codes)))
    names = sorted({topics[i] for i in chosen} - {""}) if topics else []
    place = {name: k for k, name in enumerate(names)}
    member = np.array([place.get(topics[i], -1) for i in chosen]) if names else np.full(len(chosen), -1)
    sums = np.array([own[member == k].sum(0) for k in range(len(names))], dtype=np.float32).reshape(len(names), own.shape[1])
    middles = sums / np.maximum(np.bincount(member[member >= 0], minlength=len(names)), 1)[:, None]
    counts = np.bincount(_nearest_of_others(own, member, middles), minlength=len(names)) if names else np.array([], int)
    return Known(own, chosen, own_similarity, names, middles, counts)


def drift(like: Known, vectors: np.ndarray, alpha: float = 0.05, seed: int = 0) -> dict[str, Any]:
    """Test a window of rows (unit embeddings, rows x size), in plain values.

    `novel`: how many are novel, with the interval of their share and p of the exact null, a beta-binomial: of n new rows the number below
    the r-th of m scores, when all m + n are from one source. `mix`: the distance between the shares of the topics (total variation, 0..1),
    and p of a chi-squared statistic among all ways to deal the same rows out (Monte Carlo, 1,999 draws). `drift`: whether one of them is
    under `alpha` after Holm's adjustment, so that rows like the known raise it in at most that share of windows. `drivers`: the places of
    the rows farthest out; `topics`: those whose share moved most, in standard errors.
    """
    scores = similarity(vectors, like.vectors)
    novel, mix = _novelty(like, scores), _mix(like, vectors, seed)
    tests = [test for test in (novel, mix) if test["p"] is not None]
    for test, p in zip(tests, holm([test["p"] for test in tests])):
        test["p_holm"] = p
    order = np.argsort(scores, kind="stable")[:DRIVERS]
    rows = [{"row": int(i), "similarity": scores[i], "p": p} for i, p in zip(order, like.p_values(scores[order])) if scores[i] < like.limit]
    found = {"n": len(vectors), "known": len(like.similarity), "alpha": alpha, "drift": any(test["p_holm"] <= alpha for test in tests)}
    return dict(rounded(found | {"novel": novel, "mix": mix, "drivers": rows}))


def _rank(known_rows: int) -> int:
    return int(NOVEL * (known_rows + 1))


def _novelty(like: Known, scores: np.ndarray) -> dict[str, Any]:
    m, n = len(like.similarity), len(scores)
    r, count = _rank(m), int((scores < like.limit).sum())
    p = float(scipy.stats.betabinom.sf(count - 1, n, r, m + 1 - r))
    low, high = mid_p(count, n)
    return {"rows": count, "share": count / n, "low": low, "high": high, "expected": r / (m + 1), "p": p, "p_holm": None}


def _mix(like: Known, vectors: np.ndarray, seed: int) -> dict[str, Any]:
    if len(like.topics) < 2:
        return {"p": None, "p_holm": None, "distance": None, "topics": [], "reason": "fewer than two topics are known"}
    seen = np.bincount(_nearest(vectors, like.middles), minlength=len(like.topics))
    pooled = seen + like.counts
    n, total = int(seen.sum()), int(pooled.sum())
    expected = n * pooled / total
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(pooled, n, size=DRAWS)
    chi = ((np.vstack([seen, drawn]) - expected) ** 2 / np.maximum(expected, 1e-9)).sum(1)
    p = float((1 + (chi[1:] >= chi[0] - 1e-9).sum()) / (1 + DRAWS))
    spread = np.sqrt(np.maximum(expected * (1 - pooled / total) * (total - n) / max(1, total - 1), 1e-9))
    z = (seen - expected) / spread
    shares = seen / n, like.counts / like.counts.sum()
    moved = [
        {"topic": like.topics[k], "rows": int(seen[k]), "share": shares[0][k], "known_share": shares[1][k], "z": z[k]}
        for k in np.argsort(-np.abs(z), kind="stable")[:DRIVERS]
    ]
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return {"p": p, "p_holm": None, "distance": distance, "topics": moved, "reason": None}


def _nearest_of_others(own: np.ndarray, member: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """The nearest middle of each row, its own topic's without the row itself: a row draws its middle to it, which no new row has done (in
    windows of snips, 100 rows against 500, the topics seemed to have moved in 8 % of 200; with this in 4 % of 400)."""
    sizes = np.bincount(member[member >= 0], minlength=len(middles))
    found = np.empty(len(own), int)
    for start in range(0, len(own), BLOCK):
        rows, topic = own[start : start + BLOCK], member[start : start + BLOCK]
        scores = rows @ middles.T
        inside = np.flatnonzero(topic >= 0)
        n, k = sizes[topic[inside]], topic[inside]
        # (sum - row) · row / (n - 1), with row · row = 1; a topic of one row has no middle without it
        scores[inside, k] = np.where(n > 1, (scores[inside, k] * n - 1) / np.maximum(n - 1, 1), -1.0)
        found[start : start + BLOCK] = scores.argmax(1)
    return found


def _nearest(vectors: np.ndarray, middles: np.ndarray) -> np.ndarray:
    return np.concatenate([(vectors[i : i + BLOCK] @ middles.T).argmax(1) for i in range(0, len(vectors), BLOCK)])
