"""String fields: BLEU, chrF, ROUGE, semantic similarity, BERTScore."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pp_assets.evaluation.metrics import Metric, table_metric
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.suite.paired import LEVEL
from pp_assets.evaluation.suite.similarity import TextSimilarity
from pp_assets.evaluation.tables import Table
from pp_resources.json_schema import get_path

RESAMPLES = 200  # of corpus scores, each of which reads all pairs again
NAMES = ("bleu", "chrf", "rouge1", "rougeL", "semantic_similarity", "bertscore")


def text_metrics(scored: Scored, similarity: TextSimilarity | None, why_none: str = "") -> list[dict[str, Any]]:
    """One entry for each string field, over the items where a text is expected or answered; a missing one counts as the empty text.

    BLEU and chrF are scores of the whole set (0..100), the others means over items (0..1).
    """
    return [_field(scored, leaf.path, similarity, why_none) for leaf in scored.fields if leaf.kind == "string"]


def _field(scored: Scored, path: str, similarity: TextSimilarity | None, why_none: str) -> dict[str, Any]:
    pairs = [(_text(get_path(a.value, path)), _text(get_path(e.value, path))) for a, e in zip(scored.answers, scored.expected)]
    counted = np.array([bool(said or expected) for said, expected in pairs])
    answered, expected = ([pair[side] for pair, kept in zip(pairs, counted) if kept] for side in (0, 1))
    if not counted.any():
        empty = asdict(Metric(None, 0, reason="no text is expected or answered"))
        return {"field": path, **dict.fromkeys(NAMES, empty)}
    found = {name: _corpus(scored, counted, pairs, name) for name in ("bleu", "chrf")}
    by_item = _rouge(answered, expected)
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


def _corpus(scored: Scored, counted: np.ndarray, pairs: Sequence[tuple[str, str]], name: str) -> Metric:
    """A corpus score and its percentile interval over groups. BLEU stops at the order that a text is long enough for."""
    from sacrebleu.metrics import BLEU, CHRF

    metric = BLEU(effective_order=True) if name == "bleu" else CHRF()
    measure: Callable[[Sequence[int]], float] = lambda items: float(  # noqa: E731
        metric.corpus_score([pairs[i][0] for i in items], [[pairs[i][1] for i in items]]).score
    )
    kept = np.flatnonzero(counted)
    value = measure(kept.tolist())
    weights = scored.weights[:RESAMPLES, scored.blocks.codes][:, kept].astype(int)
    boot = [measure(np.repeat(kept, some).tolist()) for some in weights if some.any()]
    low, high = np.quantile(boot, [(1 - LEVEL) / 2, 0.5 + LEVEL / 2])
    return Metric(value, len(kept), float(low), float(high), f"sacrebleu {metric.get_signature()}; percentile bootstrap over groups")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
