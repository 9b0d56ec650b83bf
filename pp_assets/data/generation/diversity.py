"""How much generated rows add: distances between texts, words they repeat, how much of the meaning they say again."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pp_assets.data.leakage import nearest_similarity
from pp_assets.data.neighbours import nearest

_WORD = re.compile(r"\w+")


def diversity(texts: Sequence[str], vectors: np.ndarray | None) -> dict[str, float | None]:
    """`nearest`: mean cosine distance of a text to its nearest other; `distinct_2`: different pairs of words among all pairs; `duplicates`:
    share of the second half that is within 0.9 (Jaccard of character 5-grams) of a text of the first. None where nothing can be said."""
    pairs = Counter(p for text in texts for words in [_WORD.findall(text.lower())] for p in pairwise(words))
    return {
        "nearest": None if vectors is None or len(vectors) < 2 else round(float((1 - nearest(vectors, 1)[1]).mean()), 4),
        "distinct_2": round(len(pairs) / pairs.total(), 4) if pairs else None,
        "duplicates": round(_twins(texts), 4) if texts else None,
    }


def _twins(texts: Sequence[str]) -> float:
    half = len(texts) // 2
    if not half:
        return 0.0
    near = nearest_similarity(texts[half:], texts[:half], 0.9)
    return sum(s > 0 for s in near) / len(near)
