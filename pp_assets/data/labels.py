"""Labels that are probably wrong: rows whose neighbours say otherwise for a person to look at, cleanlab for action without one.

Two rules, for two uses (CLINC150 with labels exchanged at random, 5 % and 15 %): what fewer than two of ten neighbours agree with misses
nearly no wrong label and is right in two cases of three or more, which is what a queue wants; confident learning (Northcutt et al. 2021,
cleanlab) is right in four of five and misses a quarter, which is what an automatic step wants.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pp_assets.data.neighbours import Near, codes_of
from pp_assets.task.examples import Example
from pp_resources.json_schema import Schema, get_path, leaf_fields

SUSPECT = 0.1  # agreement up to which a label is suspect
# With few labels wrong ones agree with each other by chance: of two labels with 15 % noise .3 finds 91 % (sms_spam).
FEW_LABELS, SUSPECT_OF_FEW = 10, 0.4
LEAST_ROWS = 30
LEAST_KAPPA = 0.4  # below it neighbours know too little of a field to question its labels
FOLDS = 3
FILE = "label_errors.jsonl"


@dataclass(frozen=True)
class Suspect:
    """A label that few of the nearest rows share: `agreement` in 0..1, `suggested` the label of most of them, `neighbours` their ids."""

    item_id: str
    field: str
    given: Any
    suggested: Any
    agreement: float
    input_text: str
    neighbours: tuple[str, ...]


def label_fields(schema: Schema) -> list[str]:
    """Paths of the enum and boolean fields."""
    return [field.path for field in leaf_fields(schema) if field.kind in ("enum", "boolean")]


def suspects(schema: Schema, rows: Sequence[Example], near: Near) -> tuple[list[Suspect], dict[str, float]]:
    """Suspect labels of the enum and boolean fields, least agreement first, and by field how well neighbours know it (Cohen's kappa of
    their vote with the labels); fields under LEAST_KAPPA have no suspects, and fewer than LEAST_ROWS rows no fields.

    `near` are the nearest of these rows. Neighbours of the row's own group (its phrasings) have no say.
    """
    paths = label_fields(schema)
    if not paths or len(rows) < LEAST_ROWS:
        return [], {}
    nearest = near.places[: len(rows)]
    found, known = list[Suspect](), dict[str, float]()
    for path in paths:
        names = [_name(get_path(row.output, path)) for row in rows]
        limit = SUSPECT if len(set(names)) > FEW_LABELS else SUSPECT_OF_FEW
        near_by = [[j for j in places if j >= 0] for places in nearest.tolist()]
        voted = [_vote([names[j] for j in places]) if places else names[i] for i, places in enumerate(near_by)]
        known[path] = kappa(names, voted)
        if known[path] < LEAST_KAPPA:
            continue
        for i, agreement in enumerate(agreements(names, nearest)):
            if agreement <= limit:
                row, best, ids = rows[i], voted[i], tuple(rows[j].item_id for j in near_by[i])
                found.append(Suspect(row.item_id, path, json.loads(names[i]), json.loads(best), agreement, row.input_text, ids))
    return sorted(found, key=lambda one: (one.agreement, one.field, one.item_id)), known


def kappa(given: Sequence[str], voted: Sequence[str]) -> float:
    """Cohen's kappa: how much more often two sides agree than by chance; 1 where there is but one label."""
    n, ours, theirs = len(given), Counter(given), Counter(voted)
    chance = sum(ours[name] * theirs[name] for name in ours) / n**2
    same = sum(a == b for a, b in zip(given, voted)) / n
    return round((same - chance) / (1 - chance), 4) if chance < 1 else 1.0


def agreements(names: Sequence[str], nearest: np.ndarray) -> list[float]:
    """For each row the share of its neighbours with its own label; 1 where it has none."""
    codes = codes_of(names)
    there = nearest >= 0
    same = (codes[nearest] == codes[:, None]) & there
    return np.where(there.any(1), same.sum(1) / np.maximum(there.sum(1), 1), 1.0).round(4).tolist()


def confident_errors(names: Sequence[str], vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places of the labels that confident learning calls wrong, from logistic regression on embeddings in FOLDS folds.

    Labels with fewer rows than folds cannot be judged and are left alone.
    """
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    counts = Counter(names)
    judged = np.array([i for i, name in enumerate(names) if counts[name] >= FOLDS], dtype=int)
    codes = codes_of([names[i] for i in judged])
    if len(set(codes.tolist())) < 2:
        return np.zeros(0, dtype=int)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=200)
    chances = cross_val_predict(model, vectors[judged], codes, cv=folds, method="predict_proba")
    return judged[np.flatnonzero(find_label_issues(codes, chances, n_jobs=1))]


def without_errors(schema: Schema, rows: Sequence[Example], vectors: np.ndarray) -> tuple[list[Example], dict[str, int]]:
    """The rows of which cleanlab calls no label wrong, and how many it does by field. An automatic step, for who asks for it."""
    wrong: set[int] = set()
    counts = {}
    for path in label_fields(schema):
        found = confident_errors([_name(get_path(row.output, path)) for row in rows], vectors).tolist()
        counts[path] = len(found)
        wrong.update(found)
    return [row for i, row in enumerate(rows) if i not in wrong], counts


def write_suspects(path: Path, found: Sequence[Suspect]) -> None:
    """One JSON object a line: item_id, field, given, suggested, agreement, input_text, neighbours."""
    lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in found)
    path.write_text("".join(lines), "utf-8")


def summary(found: Sequence[Suspect], known: Mapping[str, float], shown: int) -> dict[str, Any]:
    """How many by field, how well neighbours know each field, and a table of the first, for the metadata."""
    table: list[Mapping[str, Any]] = []
    for one in found[:shown]:
        said = {"field": one.field, "given": _name(one.given), "suggested": _name(one.suggested), "agreement": one.agreement}
        table.append(said | {"input": one.input_text[:200]})
    counts = Counter(one.field for one in found)
    return {"label_suspects": {path: counts[path] for path in known}, "label_kappa": dict(known), "label_sample": table}


def _vote(names: Sequence[str]) -> str:
    """The most frequent; of equally frequent ones the first by name, so that the order of rows does not matter."""
    votes = Counter(names)
    return min(votes, key=lambda name: (-votes[name], name))


def _name(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
