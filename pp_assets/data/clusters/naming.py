"""Names of topics: the words that set each apart (class-based TF-IDF), or a title by a provider; and whether a name tells its members."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pp_assets.data.clusters.graph import content_order
from pp_assets.data.clusters.model import OUTLIER, Clusters
from pp_resources.models.chat import ChatModel
from pp_resources.models.remote import each

TERMS = 3
HELD = 10  # members of a topic that its name is made without
ENOUGH = 20  # members below which none is held back
Embed = Callable[[Sequence[str]], np.ndarray]


def name_topics(found: Clusters, texts: Sequence[str], *, vectors: np.ndarray | None = None, provider: ChatModel | None = None) -> Clusters:
    """`found` with a name for each topic that has none, or has words where a title can be had; the others keep theirs. `texts` are those of
    `found.item_ids`.

    Ten members of each topic are held back: `name_quality` asks whether they can be placed by the names. With a provider (and the rows'
    `vectors`) a title replaces the words where the answer is one; the words stay as `terms`.
    """
    asks = provider is not None and vectors is not None
    wanted = [int(i) for i in found.ids if int(i) not in found.names or (asks and not found.names[int(i)].get("titled"))]
    if not wanted:
        return found
    seen = np.where(held_back(found), OUTLIER, found.labels)
    words = topic_terms(texts, seen)
    names = {**found.names}
    for topic in wanted:
        terms = words.get(topic, [])
        names[topic] = {"name": ", ".join(terms) or f"topic {topic}", "terms": terms, "titled": False}
    if provider is not None and vectors is not None:
        from pp_assets.data.clusters.titles import title

        told = replace(found, labels=seen)
        for topic, said in zip(wanted, each(lambda topic: title(provider, told, texts, vectors, topic), wanted)):
            if said:
                names[topic] = {**names[topic], "name": said, "titled": True}
    return replace(found, names=names)


def held_back(found: Clusters) -> np.ndarray:
    """Rows (bool) that names are made without: the last ten of each topic of 20 or more, by the hash of their ids."""
    held = np.zeros(len(found.labels), dtype=bool)
    order = content_order(found.item_ids)[::-1]
    for topic in found.ids.tolist():
        rows = order[found.labels[order] == topic]
        if len(rows) >= ENOUGH:
            held[rows[:HELD]] = True
    return held


def name_quality(found: Clusters, vectors: np.ndarray, embed: Embed) -> dict[str, Any]:
    """Are held-back members nearest to the name of their own topic, among all names? By embeddings, offline.

    {"asked", "placed", "accuracy", "low", "high", "chance", "topics": {id: (placed, asked)}}; accuracy is None where no topic is large
    enough to hold members back. The interval is exact with mid-p, topics as groups.
    """
    rows = np.flatnonzero(held_back(found))
    if not len(rows):
        return {"asked": 0, "placed": 0, "accuracy": None, "low": None, "high": None, "chance": None, "topics": {}}
    names = embed([found.name(int(topic)) for topic in found.ids])
    nearest = found.ids[(np.asarray(vectors[rows], dtype=np.float32) @ names.T).argmax(1)]
    return placement(found.labels[rows], nearest, len(found.ids))


def placement(own: np.ndarray, said: np.ndarray, topics: int) -> dict[str, Any]:
    """How many members were placed in their own topic, with an interval over topics."""
    from pp_assets.evaluation.stats.groups import Clusters as Groups
    from pp_assets.evaluation.stats.intervals import proportion_interval

    hits = (own == said).astype(float)
    interval = proportion_interval(hits, Groups.of([str(t) for t in own]))
    each = {int(t): (int(hits[own == t].sum()), int((own == t).sum())) for t in np.unique(own)}
    told = {"asked": len(hits), "placed": int(hits.sum()), "accuracy": round(float(hits.mean()), 4), "chance": round(1 / topics, 4)}
    return {**told, "low": interval.low, "high": interval.high, "topics": each}


def topic_terms(texts: Sequence[str], labels: np.ndarray) -> dict[int, list[str]]:
    """The words that set each group apart: frequency in the group times log(1 + average group length / frequency over all). Outliers are
    no group."""
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer

    groups, at = np.unique(labels, return_inverse=True)
    try:
        vectorizer = CountVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b", dtype=np.int32)
        words = vectorizer.fit_transform(texts)
    except ValueError:  # not one word in any text
        return {int(g): [] for g in groups if g != OUTLIER}
    member = sparse.csr_matrix((np.ones(len(at), dtype=np.int32), (at, np.arange(len(at)))))
    counts = (member @ words).tocsr()
    total = np.asarray(counts.sum(0)).ravel()
    weight = np.log(1 + counts.sum() / len(groups) / np.maximum(total, 1))
    known, found = vectorizer.get_feature_names_out(), {}
    for place, group in enumerate(groups.tolist()):
        row = counts[place]
        score = row.data / max(1, row.data.sum()) * weight[row.indices]
        best = np.lexsort((row.indices, -score))[:TERMS]
        if group != OUTLIER:
            found[int(group)] = [str(known[row.indices[i]]) for i in best]
    return found
