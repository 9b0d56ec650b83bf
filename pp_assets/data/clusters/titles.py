"""Titles of topics by a provider: from central, borderline and contrast members; and members placed by titles alone."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pp_assets.data.clusters.graph import content_order
from pp_assets.data.clusters.model import Clusters
from pp_assets.data.clusters.naming import held_back, placement
from pp_resources.models.chat import ChatModel
from pp_resources.models.remote import each

CENTRAL, BORDERLINE, CONTRAST = 8, 4, 6
LONGEST = 60  # characters of a title
SHOWN = 300  # characters of a member
ASKS = 100
TOKENS = 64  # of an answer
_TITLE = {
    "type": "object",
    "properties": {"title": {"type": "string", "maxLength": LONGEST}},
    "required": ["title"],
    "additionalProperties": False,
}


def title(provider: ChatModel, found: Clusters, texts: Sequence[str], vectors: np.ndarray, topic: int) -> str | None:
    """A few words for a topic; None where the answer is not a title. Raises UserError when the provider cannot be asked."""
    own, near = sample(found, vectors, topic)
    lines = ["Texts of one group:", *_quoted(texts, own), "", "Similar texts of other groups:", *_quoted(texts, near)]
    lines += ["", "What do the texts of the group have in common that the others do not? Answer with a title of two to six words."]
    reply = provider.ask([{"role": "user", "content": "\n".join(lines)}], schema=_TITLE, temperature=0, max_tokens=TOKENS)
    said = _field(reply.text, "title")
    line = " ".join(said.split()).strip(" .\"'") if isinstance(said, str) else ""
    return line[:LONGEST] or None


def sample(found: Clusters, vectors: np.ndarray, topic: int) -> tuple[list[int], list[int]]:
    """(8 members nearest to the middle and 4 nearest to another topic, 6 rows of others that are nearest to the middle)."""
    order = content_order(found.item_ids)
    own = order[found.labels[order] == topic]
    mine = int(np.searchsorted(found.ids, topic))
    similar = np.asarray(vectors[own], dtype=np.float32) @ found.centroids.T
    to_own = similar[:, mine].copy()
    similar[:, mine] = -np.inf
    central = own[np.argsort(-to_own, kind="stable")][:CENTRAL].tolist()
    edge = [i for i in own[np.argsort(to_own - similar.max(1), kind="stable")].tolist() if i not in central][:BORDERLINE]
    others = order[(found.labels[order] >= 0) & (found.labels[order] != topic)]
    toward = np.asarray(vectors[others], dtype=np.float32) @ found.centroids[mine]
    return [*central, *edge], others[np.argsort(-toward, kind="stable")][:CONTRAST].tolist()


def placed_by_titles(provider: ChatModel, found: Clusters, texts: Sequence[str], asks: int = ASKS) -> dict[str, Any]:
    """Can the provider place held-back members by the names alone? The fields of `naming.name_quality`, over at most `asks` members."""
    order = content_order(found.item_ids)
    rows = order[held_back(found)[order]][:asks]
    if not len(rows):
        return {"asked": 0, "placed": 0, "accuracy": None, "low": None, "high": None, "chance": None, "topics": {}}
    titles = "\n".join(f"{topic}: {found.name(int(topic))}" for topic in found.ids.tolist())
    schema = {"type": "object", "properties": {"group": {"enum": found.ids.tolist()}}, "required": ["group"], "additionalProperties": False}

    def place(row: int) -> int:
        words = f"Groups:\n{titles}\n\nText: {texts[row][:SHOWN]}\n\nTo which group does the text belong? Answer with its number."
        answer = _field(provider.ask([{"role": "user", "content": words}], schema=schema, temperature=0, max_tokens=TOKENS).text, "group")
        return answer if isinstance(answer, int) and answer in found.ids else -1

    return placement(found.labels[rows], np.array(list(each(place, rows.tolist()))), len(found.ids))


def _quoted(texts: Sequence[str], rows: Sequence[int]) -> list[str]:
    return [f"- {' '.join(texts[i].split())[:SHOWN]}" for i in rows]


def _field(text: str, name: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get(name) if isinstance(found, dict) else None
