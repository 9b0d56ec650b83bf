"""What people say about answers, by topic: how often, how badly, how lately, from whom, against which parts of the contract.

What has words is grouped by them, ratings alone by the inputs that they are about; praise, complaints and unrated remarks apart. Each topic
offers what can be made of it: a dimension of the contract, seeds for generation, a slice of the data, a hint for a prompt.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np

from pp_assets.data.clusters.fit import fit
from pp_assets.data.clusters.model import OUTLIER
from pp_assets.data.clusters.naming import name_topics
from pp_assets.feedback.inbox import Feedback

Rating = Literal["negative", "positive", "none"]
Embed = Callable[[Sequence[str]], np.ndarray]
BAD = 0.5  # a rating below it is a complaint
HALF_LIFE = 30.0  # days after which an entry counts half, before the newest one
UNRATED = 0.5  # loss of a remark that carries no rating
EXAMPLES = 5
SHOWN = 200  # characters


def feedback_topics(entries: Sequence[Feedback], embed: Embed, broken: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
    """Topics, the one that matters most first.

    `broken` tells by entry id which nodes of the contract its answer breaks; entries that are not in it came without an answer. Each topic:
    `topic` (name), `rating`, `by` (comment or input), `ids`, `size`, `per_source` counts, `loss` (mean of 1 - rating; a correction is 1, an
    unrated remark 0.5), `recency` (mean weight, half after 30 days), `weight` (size x loss x recency), `dimensions` (broken node: entries),
    `answered` (entries that came with an answer), `first` and `last` (ISO times), `examples`, most typical first.
    """
    found: list[dict[str, Any]] = []
    parts: dict[tuple[Rating, str], list[Feedback]] = {}
    for entry in entries:
        parts.setdefault((rating_of(entry), "comment" if entry.comment else "input"), []).append(entry)
    newest = max((datetime.fromisoformat(entry.at) for entry in entries), default=None)
    for (rating, by), part in sorted(parts.items()):
        texts = [entry.comment or entry.input_text for entry in part]
        vectors = embed(texts)
        clusters = name_topics(fit(vectors, [entry.id for entry in part]), texts)
        for topic in [*clusters.ids.tolist(), OUTLIER]:
            rows = np.flatnonzero(clusters.labels == topic)
            if not len(rows):
                continue
            order = rows[np.argsort(-clusters.similarity[rows], kind="stable")].tolist()
            name = "other" if topic == OUTLIER else clusters.name(topic)
            found.append({"topic": name, "rating": rating, "by": by, **_facts([part[i] for i in order], newest, broken or {})})
    return sorted(found, key=lambda one: (-one["weight"], one["rating"], one["topic"]))


def rating_of(entry: Feedback) -> Rating:
    """A correction says that the answer was wrong."""
    if entry.kind == "demonstration":
        return "negative"
    if entry.rating is None:
        return "none"
    return "negative" if entry.rating < BAD else "positive"


def cross_table(topics: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[int]]]:
    """Complaint x contract: the nodes that any answer breaks, most first, and by topic how many entries break each."""
    total: Counter[str] = Counter()
    for topic in topics:
        total.update(topic["dimensions"])
    nodes = [node for node, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))]
    return nodes, [[topic["dimensions"].get(node, 0) for node in nodes] for topic in topics]


def offers(topic: Mapping[str, Any], entries: Mapping[str, Feedback]) -> dict[str, Any]:
    """What can be made of a topic: `dimension` (a question for the contract, scored by a judge), `seeds` (its inputs, with the right output
    where somebody gave it), `slice` (the inputs of the data that are to be reported apart), `hint` (words for the author of the prompt)."""
    own = [entries[id] for id in topic["ids"]]
    said = list(dict.fromkeys(entry.comment for entry in own if entry.comment))[:EXAMPLES]
    inputs = list(dict.fromkeys(entry.input_text for entry in own))
    worst = max(topic["dimensions"], key=lambda node: (topic["dimensions"][node], node), default=None)
    about = "; ".join(said) or f"inputs about {topic['topic']}"
    broken = f" The answers break {worst} most often." if worst else ""
    question = f"Is the answer free of what people complain of here: {about}?"
    return {
        "dimension": {"question": question, "tag": "feedback", "label": topic["topic"], "kind": "judge"},
        "seeds": [_seed(entry) for entry in {entry.input_text: entry for entry in own}.values()],
        "slice": {"name": topic["topic"], "inputs": inputs},
        "hint": f"{topic['size']} times: {about}.{broken}",
    }


def _seed(entry: Feedback) -> dict[str, Any]:
    return {"input_text": entry.input_text} | ({"output_json": json.loads(entry.output)} if entry.output else {})


def _facts(own: Sequence[Feedback], newest: datetime | None, broken: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    times = [datetime.fromisoformat(entry.at) for entry in own]
    ages = [0.0 if newest is None else (newest - at).total_seconds() / 86400 for at in times]
    recency = float(np.mean([0.5 ** (age / HALF_LIFE) for age in ages]))
    loss = float(np.mean([_loss(entry) for entry in own]))
    nodes: Counter[str] = Counter()
    for entry in own:
        nodes.update(broken.get(entry.id, ()))
    return {
        "size": len(own),
        "loss": round(loss, 4),
        "recency": round(recency, 4),
        "weight": round(len(own) * loss * recency, 4),
        "per_source": dict(sorted(Counter(entry.source for entry in own).items())),
        "dimensions": dict(sorted(nodes.items(), key=lambda pair: (-pair[1], pair[0]))),
        "answered": sum(entry.id in broken for entry in own),
        "first": min(times).isoformat(),
        "last": max(times).isoformat(),
        "ids": [entry.id for entry in own],
        "examples": [
            {"id": entry.id, "input_text": entry.input_text[:SHOWN], "comment": (entry.comment or "")[:SHOWN]} for entry in own[:EXAMPLES]
        ],
    }


def _loss(entry: Feedback) -> float:
    if entry.kind == "demonstration":
        return 1.0
    return UNRATED if entry.rating is None else float(np.clip(1 - entry.rating, 0, 1))
