"""String fields: BLEU, chrF, ROUGE, semantic similarity, BERTScore."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pp_assets.evaluation.metrics import Metric, table_metric
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.suite.paired import LEVEL
from pp_assets.evaluation.suite.similarity import TextSimilarity
from pp_assets.evaluation.tables import Table
from pp_resources.json_schema import get_path

NAMES = ("bleu", "chrf", "rouge1", "rougeL", "semantic_similarity", "bertscore")


def text_metrics(scored: Scored, similarity: TextSimilarity | None, why_none: str = "") -> list[dict[str, Any]]:
    """One entry for each string field, over the items where a text is expected or answered; a missing one counts as the empty text.

    BLEU (0..100) is a score of the whole set. The others are means over items: chrF (0..100) of the sentence score, since the pieces of a
    corpus chrF cannot be had to resample them; ROUGE, semantic similarity and BERTScore 0..1.
    """
    return [_field(scored, leaf.path, similarity, why_none) for leaf in scored.fields if leaf.kind == "string"]


def _field(scored: Scored, path: str, similarity: TextSimilarity | None, why_none: str) -> dict[str, Any]:
    pairs = [(_text(get_path(a.value, path)), _text(get_path(e.value, path))) for a, e in zip(scored.answers, scored.expected)]
    counted = np.array([bool(said or expected) for said, expected in pairs])
    answered, expected = ([pair[side] for pair, kept in zip(pairs, counted) if kept] for side in (0, 1))
    if not counted.any():
        empty = asdict(Metric(None, 0, reason="no text is expected or answered"))
        return {"field": path, **dict.fromkeys(NAMES, empty)}
    found = {"bleu": _bleu(scored, counted, pairs)}
    by_item = _rouge(answered, expected) | {"chrf": _chrf(answered, expected)}
    if similarity is not None:
        both = np.array([bool(a and e) for a, e in zip(answered, expected)])
        for name, measure in (("semantic_similarity", similarity.cosine), ("bertscore", similarity.bertscore)):
            by_item[name] = np.where(both, measure(answered, expected), 0.0)
    for name, values in by_item.items():
        column = np.zeros(len(counted))
        column[counted] = values
        table = Table(np.stack([column, counted.astype(float)], axis=1), f"mean {name} over items", bounded=name.startswith("rouge"))
        found[name] = table_metric(scored, table)
    reasons = {name: Metric(None, 0, reason=why_none) for name in NAMES if name not in found}
    return {"field": path, **{name: asdict((found | reasons)[name]) for name in NAMES}}


def _rouge(answered: Sequence[str], expected: Sequence[str]) -> dict[str, np.ndarray]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    scores = [scorer.score(e, a) for a, e in zip(answered, expected)]
    return {name: np.array([s[name].fmeasure for s in scores]) for name in ("rouge1", "rougeL")}


def _chrf(answered: Sequence[str], expected: Sequence[str]) -> np.ndarray:
    from sacrebleu.metrics import CHRF

    metric = CHRF()
    return np.array([metric.sentence_score(a, [e]).score for a, e in zip(answered, expected)])


def _bleu(scored: Scored, counted: np.ndarray, pairs: Sequence[tuple[str, str]]) -> Metric:
    """Corpus BLEU and its percentile interval over groups, from the counts of each pair. It stops at the order that a text has."""
    from sacrebleu.metrics import BLEU

    metric = BLEU(effective_order=True)
    kept = [pair for pair, counts in zip(pairs, counted) if counts]
    value = metric.corpus_score([said for said, _ in kept], [[expected for _, expected in kept]]).score
    scores = [metric.sentence_score(said, [expected]) for said, expected in kept]
    counts = np.array([[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores], dtype=int)
    sums = scored.weights[:, scored.blocks.codes][:, counted].astype(int) @ counts
    low, high = np.quantile([bleu_of(some) for some in sums], [(1 - LEVEL) / 2, 0.5 + LEVEL / 2])
    return Metric(value, len(kept), float(low), float(high), f"sacrebleu {metric.get_signature()}; percentile bootstrap over groups")


def bleu_of(sums: np.ndarray) -> float:
    """BLEU from summed lengths (answered, expected), n-grams that are right, and all of them."""
    from sacrebleu.metrics import BLEU

    orders = (len(sums) - 2) // 2
    right, total = sums[2 : 2 + orders].tolist(), sums[2 + orders :].tolist()
    return float(BLEU.compute_bleu(right, total, int(sums[0]), int(sums[1]), smooth_method="exp", effective_order=True).score)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
