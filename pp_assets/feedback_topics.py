"""The stage that groups what people say about answers, and the files that can be made of a topic."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.drifts import embed
from pp_assets.feedback.complaints import cross_table, feedback_topics, offers
from pp_assets.feedback.inbox import Feedback
from pp_assets.sources import source_digest
from pp_resources.artifacts import Artifact, write_atomic
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

OFFERS = ("dimension", "seeds", "slice", "hint")


def feedback_clusters(p: "Pipeline", name: str) -> Artifact:
    """topics.json: the topics of all feedback on a task, with what the answers break of its contract."""
    from pp_assets.task.contract.files import read_contract

    entries, kept, task = p.inbox.entries(name), p.current(stages.CONTRACTS, name), p.task(name)
    inputs = {
        "feedback": digest([[entry.seq, entry.id] for entry in entries]),
        "contract": kept.digest,
        "encoder": stages.base_digest(task.spec.encoder_model_id),
        "code": source_digest("pp_assets.feedback_topics", "pp_resources.models.embedder"),
    }

    def build(out: Path) -> Mapping[str, Any]:
        broken = broken_nodes(read_contract(kept.file("contract.json")), entries)
        found = feedback_topics(entries, lambda texts: embed(p, name, texts), broken)
        (out / "topics.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        nodes, counts = cross_table(found)
        table = [
            {key: one[key] for key in ("topic", "rating", "size", "loss", "weight", "last")}
            | {"sources": ", ".join(f"{source} {n}" for source, n in one["per_source"].items())}
            | dict(zip(nodes[:5], row))
            for one, row in zip(found, counts)
        ]
        negative = [one for one in found if one["rating"] == "negative"]
        return {
            "entries": len(entries),
            "topics": len(found),
            "negative_topics": len(negative),
            "negative_entries": sum(one["size"] for one in negative),
            "table": table[:30],
        }

    return p.store.produce(stages.COMPLAINTS, name, inputs, build)


def broken_nodes(contract: Any, entries: Sequence[Feedback]) -> dict[str, list[str]]:
    """By entry id the nodes of the contract that its answer scores under 0.5 on; a corrected output is the label that it is compared with.
    Entries without an answer are left out."""
    import numpy as np

    from pp_assets.task.contract.rules import Row
    from pp_assets.task.contract.score import score_rows
    from pp_assets.task.contract.table import LOW

    answered = [entry for entry in entries if entry.answer is not None]
    if not answered:
        return {}
    rows = [Row(e.input_text, _answer(e.answer or ""), json.loads(e.output) if e.output else None) for e in answered]
    scores = score_rows(contract, rows)
    return {e.id: [scores.paths[j] for j in np.flatnonzero(scores.nodes[i] < LOW)] for i, e in enumerate(answered)}


def write_offer(p: "Pipeline", name: str, topic: str, offer: str, file: Path) -> dict[str, Any]:
    """What a topic offers, as a file: seeds as JSON lines, all else as JSON. Raises UserError for a topic that is not there."""
    found = json.loads(p.current(stages.COMPLAINTS, name).file("topics.json").read_text("utf-8"))
    chosen = next((one for one in found if one["topic"] == topic), None)
    if chosen is None:
        from pp_resources.errors import nearest

        raise UserError(f"no topic {topic!r}", where=f"feedback on {name}", how=nearest(topic, [one["topic"] for one in found]))
    made = offers(chosen, {entry.id: entry for entry in p.inbox.entries(name)})[offer]
    lines = made if offer == "seeds" else [made]
    write_atomic(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return {"topic": topic, "offer": offer, "file": str(file), "lines": len(lines)}


def _answer(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
