"""The review queue: generated rows, and written ones whose label is in doubt, those first that a look at is worth most."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from pp_assets.data.review import Decided
from pp_assets.data.rows import read_generated, read_table
from pp_assets.task.examples import Example, read_split
from pp_resources.errors import UserError
from pp_resources.json_schema import get_path

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

SUSPECTS = "label_errors.jsonl"
_KEYS = {"item_id", "field", "given", "suggested", "agreement"}


@dataclass(frozen=True)
class ReviewItem:
    """A row to look at. `novelty`: cosine distance to the nearest written row; `disagreement`: share of its neighbours with another label;
    None where the stage that measures it has not been made. `why` says what made the row or what is doubted."""

    item_id: str
    kind: str
    input_text: str
    output: dict[str, Any]
    why: str
    parent_text: str | None
    novelty: float | None
    disagreement: float | None
    decision: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def queue(p: "Pipeline", name: str, *, decided: bool = False) -> list[ReviewItem]:
    """What waits for a decision, the newest and most doubtful first; with `decided` also what has one, last."""
    from pp_assets import pipeline as stages

    dataset, generated = p.current(stages.DATASETS, name), p.current(stages.GENERATED, name)
    train = {row.item_id: row for row in read_split(dataset.path, "train")}
    made, told = read_generated(generated.file("generated.parquet")), p.decisions.of(name)
    novelty, disagreement = _novelty(p, name, len(train), [g.example.item_id for g in made]), _disagreement(p, name)
    found = []
    for g in made:
        item, parent = g.example.item_id, train.get(g.parent)
        why = f"{g.method} {json.dumps(dict(g.params), ensure_ascii=False)[:300]}"
        found.append(_item(g.example, "generated", why, parent.input_text if parent else None, novelty, disagreement.get(item), told))
    for one in suspects(p.settings.home, name):
        row = train.get(one["item_id"])
        if row is not None:
            why = f"{one['field']}: {json.dumps(one['given'])} is written, rows beside it say {json.dumps(one['suggested'])}"
            found.append(_item(row, "label in doubt", why, None, {}, 1 - float(one["agreement"]), told))
    waiting = _ordered([item for item in found if item.decision is None])
    return waiting + (_ordered([item for item in found if item.decision is not None]) if decided else [])


def suspects(home: Path, name: str) -> list[dict[str, Any]]:
    """Rows whose label is in doubt, as they were handed in."""
    file = home / "review" / name / SUSPECTS
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def hand_in(home: Path, name: str, source: Path) -> int:
    """Take over a file of suspects (JSON lines with item_id, field, given, suggested, agreement); it replaces an earlier one. How many."""
    from pp_resources.artifacts import write_atomic

    if not source.is_file():
        raise UserError("no such file", where=str(source), how="give JSON lines with item_id, field, given, suggested, agreement")
    rows = []
    for number, text in enumerate(source.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(text)
        except ValueError as error:
            raise UserError(f"is no JSON ({error})", where=f"{source}:{number}", how="one object a line") from None
        if not isinstance(row, dict) or not row.keys() >= _KEYS:
            raise UserError(f"lacks {sorted(_KEYS - set(row))}", where=f"{source}:{number}", how="nothing was stored")
        rows.append(row)
    write_atomic(home / "review" / name / SUSPECTS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def suggestion(p: "Pipeline", name: str, item: ReviewItem) -> dict[str, Any] | None:
    """The output of a doubted row with the suggested value; None where nothing is suggested."""
    from pp_resources.json_schema import set_path

    for one in suspects(p.settings.home, name):
        if one["item_id"] == item.item_id and item.kind == "label in doubt":
            output: dict[str, Any] = json.loads(json.dumps(item.output))
            set_path(output, one["field"], one["suggested"])
            return output if get_path(item.output, one["field"]) != one["suggested"] else None
    return None


def _item(
    row: Example, kind: str, why: str, parent: str | None, novelty: dict[str, float], disagreement: float | None, told: Decided
) -> ReviewItem:
    decision = next(
        (d for d, ids in (("accept", told.accepted), ("reject", told.rejected), ("edit", told.edited)) if row.item_id in ids), None
    )
    return ReviewItem(row.item_id, kind, row.input_text, row.output, why, parent, novelty.get(row.item_id), disagreement, decision)


def _ordered(items: Sequence[ReviewItem]) -> list[ReviewItem]:
    """By the mean of the ranks of novelty and disagreement; what is not known ranks in the middle."""
    if not items:
        return []
    ranks = np.zeros(len(items))
    for name in ("novelty", "disagreement"):
        values = np.array([v if (v := getattr(item, name)) is not None else np.nan for item in items], dtype=float)
        known = ~np.isnan(values)
        part = np.full(len(items), 0.5)
        part[known] = scipy.stats.rankdata(values[known]) / known.sum() if known.any() else 0.5
        ranks += part
    return [items[i] for i in sorted(range(len(items)), key=lambda i: (-ranks[i], items[i].item_id))]


def _novelty(p: "Pipeline", name: str, written: int, ids: Sequence[str]) -> dict[str, float]:
    """From the embeddings of the clusters, whose rows are the written ones and then the generated ones."""
    from pp_assets import pipeline as stages

    found, generated = p.store.current(stages.CLUSTERS, name), p.current(stages.GENERATED, name)
    if found is None or found.inputs.get("generated") != generated.digest or not found.file("embeddings.npy").is_file():
        return {}
    vectors = np.load(found.file("embeddings.npy"), allow_pickle=False)
    if len(vectors) != written + len(ids) or not written or not ids:
        return {}
    near = np.concatenate([(vectors[i : i + 2048] @ vectors[:written].T).max(1) for i in range(written, len(vectors), 2048)])
    return {item: round(float(1 - n), 4) for item, n in zip(ids, near)}


def _disagreement(p: "Pipeline", name: str) -> dict[str, float]:
    from pp_assets import pipeline as stages

    found = p.store.current(stages.INPUTS, name)
    rows = read_table(found.file("inputs.parquet")) if found else []
    told = {row["item_id"]: json.loads(row["checks"]).get("agreement") for row in rows}
    return {item: round(1 - value, 4) for item, value in told.items() if value is not None}
