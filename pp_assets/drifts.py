"""The stage that watches what a task meets in use: windows of new inputs against those that it was made from.

The known inputs are the training rows that people wrote, with their topics; new ones come from the feedback inbox.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets import pipeline as stages
from pp_assets.data.novelty import LEAST, similarity
from pp_assets.feedback.drift import Known, drift, known
from pp_assets.feedback.inputs import Met, of_inbox
from pp_assets.pipeline import read_json
from pp_assets.sources import source_digest
from pp_assets.task.examples import read_split
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

WINDOW = 100  # inputs that are tested at once
LEAST_WINDOW = 20  # of what is left behind the last full window, and of a range of times
ALPHA = 0.05


def drift_windows(p: "Pipeline", name: str) -> Artifact:
    """drift.json and drift.png: each full window of the inbox against the known inputs, oldest first."""
    rows, clusters = of_inbox(p.inbox.entries(name)), p.current(stages.CLUSTERS, name)
    rows = rows[: len(rows) // WINDOW * WINDOW]
    inputs = {
        "clusters": clusters.digest,
        "inputs": digest([[row.id, row.input_text] for row in rows]),
        "code": source_digest("pp_assets.drifts", "pp_resources.models.embedder"),
    }

    def build(out: Path) -> Mapping[str, Any]:
        like, texts = known_inputs(p, name)
        found = windows(like, texts, rows, embed(p, name, [row.input_text for row in rows]))
        (out / "drift.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (out / "drift.png").write_bytes(drift_plot(found, name))
        return told(found)

    return p.store.produce(stages.DRIFTS, name, inputs, build)


def inbox_windows(p: "Pipeline", name: str, rows: Sequence[Met]) -> dict[str, Any]:
    """`windows` of all inputs of the inbox: those of the stage in force, and of what came after its last full one."""
    found = read_json(p.current(stages.DRIFTS, name).file("drift.json"))
    before, rest = found["rows"], rows[found["rows"] :]
    if len(rest) >= LEAST_WINDOW:
        like, texts = known_inputs(p, name)
        more = windows(like, texts, rest, embed(p, name, [row.input_text for row in rest]))["windows"]
        found["windows"] += [one | {"first": before + one["first"]} for one in more]
    return dict(found) | {"rows": len(rows)}


def known_inputs(p: "Pipeline", name: str) -> tuple[Known, list[str]]:
    """What the task was made from, and its texts in the order of the vectors. Raises UserError where there are too few to tell."""
    from pp_assets.data.clusters.model import OUTLIER, load

    train, clusters = read_split(p.current(stages.DATASETS, name).path, "train"), p.current(stages.CLUSTERS, name)
    vectors = np.load(clusters.file("embeddings.npy"), allow_pickle=False)[: len(train)]
    found = load(clusters.path)
    topic = {item: "" if label == OUTLIER else found.name(label) for item, label in zip(found.item_ids, found.labels.tolist())}
    like = known(vectors, [e.group or e.item_id for e in train], [topic.get(e.item_id, "") for e in train])
    return _enough(like, name), [e.input_text for e in train]


def known_rows(rows: Sequence[Met], vectors: np.ndarray, where: str) -> tuple[Known, list[str]]:
    """The same of other rows: those of an earlier time. They have no topics."""
    from pp_assets.task.duplicates import normalise

    return _enough(known(vectors, [normalise(row.input_text) for row in rows]), where), [row.input_text for row in rows]


def embed(p: "Pipeline", name: str, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of these texts from the task's encoder."""
    return p.embedder(p.task(name).spec.encoder_model_id).embed(texts)


def windows(
    like: Known, texts: Sequence[str], rows: Sequence[Met], vectors: np.ndarray, *, size: int = WINDOW, alpha: float = ALPHA
) -> dict[str, Any]:
    """`drift` of each window of `size` rows in their order, the last one when it holds LEAST_WINDOW; `drivers` with their texts and the
    nearest known one. The false alarms of `alpha` are per window."""
    found = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        if len(part) < min(size, LEAST_WINDOW):
            break
        own = vectors[start : start + size]
        one = drift(like, own, alpha)
        for driver in one["drivers"]:
            nearest = int(np.argmax(like.vectors @ own[driver["row"]]))
            row = part[driver.pop("row")]
            driver |= {"id": row.id, "input_text": row.input_text, "nearest": texts[like.rows[nearest]]}
        times = [row.at.isoformat() for row in part if row.at is not None]
        found.append({"first": start, "from": min(times, default=None), "to": max(times, default=None), **one})
    return {"window": size, "alpha": alpha, "known": len(like.similarity), "rows": len(rows), "windows": found}


def each(like: Known, texts: Sequence[str], rows: Sequence[Met], vectors: np.ndarray) -> list[dict[str, Any]]:
    """Row by row: the p-value, whether it is novel, and the nearest known input."""
    scores = similarity(vectors, like.vectors)
    p_values = like.p_values(scores)
    near = [int(np.argmax(like.vectors @ vector)) for vector in vectors]
    return [
        {
            "id": row.id,
            "input_text": row.input_text,
            "p": round(float(p), 6),
            "novel": bool(score < like.limit),
            "similarity": round(float(score), 6),
            "nearest": texts[like.rows[at]],
        }
        for row, p, score, at in zip(rows, p_values, scores, near)
    ]


def told(found: Mapping[str, Any]) -> dict[str, Any]:
    """What people see of it first: the windows as a table, whether the newest drifts, and the rows that drive that."""
    shown = [
        {
            "from": one["from"],
            "n": one["n"],
            "novel": one["novel"]["rows"],
            "expected": round(one["n"] * one["novel"]["expected"], 1),
            "novel_p": one["novel"]["p"],
            "mix_p": one["mix"]["p"],
            "drift": one["drift"],
        }
        for one in found["windows"]
    ]
    last = found["windows"][-1] if found["windows"] else None
    drivers = [{key: driver[key] for key in ("input_text", "p", "nearest")} for driver in (last or {}).get("drivers", ())]
    said = {"rows": found["rows"], "windows": len(shown), "drifting": sum(one["drift"] for one in shown), "alpha": found["alpha"]}
    return {**said, "newest_drifts": bool(last and last["drift"]), "table": shown[-20:], "drivers": drivers}


def drift_plot(found: Mapping[str, Any], name: str) -> bytes:
    """The share of novel inputs of each window with its interval, red where the window drifts; the line is what is expected."""
    from matplotlib.figure import Figure

    from pp_assets.evaluation.drawing import BLUE, GREY, RED, draw

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, one in enumerate(found["windows"]):
            novel, colour = one["novel"], RED if one["drift"] else BLUE
            axes.plot([place, place], [novel["low"], novel["high"]], color=colour, linewidth=1.4, marker="_")
            axes.plot(place, novel["share"], "o", color=colour, markersize=5)
        if found["windows"]:
            axes.axhline(found["windows"][-1]["novel"]["expected"], color=GREY, linewidth=1)
        axes.set_xticks(range(len(found["windows"])), [(one["from"] or str(one["first"]))[:10] for one in found["windows"]], rotation=45)
        axes.set(ylim=(0, None), ylabel="share of novel inputs")
        axes.set_title(f"{name}: windows of {found['window']} inputs (red: drift; line: expected)", fontsize=9)

    return draw((max(4.0, 0.5 * len(found["windows"]) + 1.5), 3.0), paint)


def _enough(like: Known | None, where: str) -> Known:
    if like is None:
        raise UserError("too few known inputs to tell what is new", where=where, how=f"at least {LEAST}, from six groups or more")
    return like
