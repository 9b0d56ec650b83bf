"""Fits what combines the members of an ensemble, on validation rows alone, and says out of fold what that gains and costs.

Members learnt nothing from these rows, but chose their epoch and their temperatures by them: what is told here flatters all alike, and the
test rows decide.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pp_assets.evaluation.outputs import Answer, OutputReader, items, right
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.effects import risk_difference
from pp_assets.evaluation.stats.groups import generator
from pp_assets.task.examples import Example
from pp_assets.training.params import EnsembleParams
from pp_assets.training.run import save_record
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output, get_path
from pp_resources.models.ensemble.opinions import UNKNOWN, Opinion, Weights, candidates, listed, logit
from pp_resources.models.ensemble.predictor import COMBINER, MEMBERS, Combiner, FieldCombiner, opinions_of, route, thresholds
from pp_resources.models.interface import Prediction

LEAST_ROWS = 20  # validation rows; with fewer, weights and thresholds would be noise
LEAST_OF_A_KIND = 5  # right and wrong candidates each; a field with fewer takes the weights fitted on all fields together
FOLDS, THRESHOLDS = 5, 50
# Of right answers, which a cascade may lose by asking less. To count right answers instead follows the luck of few rows: fitted on half of
# support-triage's validation rows (100 draws), encoder-frozen before encoder-lora had of the other half 0.447 right by the threshold that
# counts most (1.87 members asked), 0.383 by the cheapest within a standard error of it (1.65), 0.464 by this (1.92); asking both, 0.468. On
# expense-notes these are 0.573 (1.90), 0.532 (1.76), 0.585 (1.95) and 0.585.
LOSS = 0.01
Said = Mapping[str, Sequence[Prediction]]  # by member an answer for each validation row


@dataclass(frozen=True)
class Judged:
    """Validation rows with what each member says of them; `hits` (members, rows) tells which answers are right as a whole."""

    reader: OutputReader
    rows: Sequence[Example]
    expected: Sequence[Answer]
    said: Sequence[Sequence[Prediction]]
    hits: np.ndarray

    @classmethod
    def of(cls, reader: OutputReader, rows: Sequence[Example], said: Said) -> "Judged":
        expected = [reader.read(dump_output(reader.schema, row.output)) for row in rows]
        hits = [[right(reader.read(p.text), gold) for p, gold in zip(answers, expected, strict=True)] for answers in said.values()]
        return cls(reader, rows, expected, list(said.values()), np.array(hits, dtype=bool))

    def part(self, chosen: np.ndarray) -> "Judged":
        """Only the rows with these places."""
        rows, expected = ([whole[i] for i in chosen] for whole in (self.rows, self.expected))
        return Judged(self.reader, rows, expected, [[answers[i] for i in chosen] for answers in self.said], self.hits[:, chosen])

    def answers(self, row: int) -> list[Prediction]:
        """What all members say of one row."""
        return [answers[row] for answers in self.said]


def fit_ensemble(
    reader: OutputReader, params: EnsembleParams, rows: Sequence[Example], said: Said, seed: int
) -> tuple[Combiner, dict[str, Any]]:
    """(the combiner fitted on all validation rows, what it does out of fold). Raises UserError with too few rows to fit anything.

    The second has `val_object_exact_match` of the ensemble, by member, the gain over the best of them with its interval, and what an
    answer costs.
    """
    if len(rows) < LEAST_ROWS and params.strategy != "vote":
        how = "make eval_split.ratios.val larger, or use ensemble-vote, which fits nothing"
        raise UserError(f"{len(rows)} validation rows are too few to fit an ensemble, {LEAST_ROWS} are needed", where="validation", how=how)
    judged = Judged.of(reader, rows, said)
    names = list(said)
    combiner = _fit(judged, names, params.strategy)
    return combiner, _out_of_fold(judged, names, params.strategy, seed)


def write_ensemble(out: Path, combiner: Combiner, members: Mapping[str, Path], record: dict[str, Any]) -> None:
    """combiner.json, members/<name>/ with what each of them is loaded from, training.json, metrics.jsonl."""
    (out / COMBINER).write_text(json.dumps(rounded(asdict(combiner)), indent=1) + "\n", "utf-8")
    for name, folder in members.items():
        for part in ("adapter", "tokenizer"):
            shutil.copytree(folder / part, out / MEMBERS / name / part, copy_function=shutil.copyfile)
        shutil.copyfile(folder / "training.json", out / MEMBERS / name / "training.json")
    save_record(out, record)


def _fit(judged: Judged, names: Sequence[str], strategy: str) -> Combiner:
    order = [int(i) for i in np.argsort(-judged.hits.sum(1), kind="stable")]
    if strategy == "route":
        platt = [_platt(answers, hits) for answers, hits in zip(judged.said, judged.hits)]
        open_end = Combiner(strategy, names, order, platt=platt)
        return Combiner(strategy, names, order, platt=platt, threshold=_threshold(judged, open_end))
    make = {"vote": _equal, "weighted": _log_odds, "stack": _stacked}[strategy]
    return Combiner(strategy, names, order, fields=make(judged))


def _equal(judged: Judged) -> dict[str, Weights]:
    one, none = [1.0] * len(judged.said), [0.0] * len(judged.said)
    return {leaf.path: Weights(one, none) for leaf in judged.reader.fields}


def _log_odds(judged: Judged) -> dict[str, Weights]:
    """Of being right on a field, a half added to either side; a member that is wrong more often than not counts for nothing."""
    found = {}
    for leaf in judged.reader.fields:
        hits = [sum(_is_right(judged, i, row, leaf.path) for row in range(len(judged.rows))) for i in range(len(judged.said))]
        odds = [math.log((n + 0.5) / (len(judged.rows) - n + 0.5)) for n in hits]
        found[leaf.path] = Weights([max(0.0, o) for o in odds], [0.0] * len(odds))
    return found


def _is_right(judged: Judged, member: int, row: int, path: str) -> bool:
    return judged.reader.read(judged.said[member][row].text).keys.get(path) == judged.expected[row].keys[path]


def _stacked(judged: Judged) -> dict[str, Weights]:
    """Logistic regression of "this value is right" on who says so and how sure they are; on all fields together where one tells too
    little, and log odds where even that does."""
    found = {leaf.path: _evidence(judged, leaf.path) for leaf in judged.reader.fields}
    pooled = _logistic(*map(np.concatenate, zip(*found.values())))
    plain = _log_odds(judged)
    return {path: _logistic(*evidence) or pooled or plain[path] for path, evidence in found.items()}


def _evidence(judged: Judged, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (candidates, 2 * members) of every value that a member says, or item that it lists, and whether it is right."""
    features, labels = [], []
    reader = FieldCombiner(judged.reader.schema, Combiner("vote", (), ()))
    for row, gold in enumerate(judged.expected):
        answers = judged.answers(row)
        opinions = opinions_of(path, [reader.read(answer) for answer in answers], answers)
        arrays = [o for o in opinions if isinstance(o.value, list)]
        if arrays:
            wanted = set(items(get_path(gold.value, path)))
            for candidate in listed(arrays):
                sides = [(o, 1 if o.member in candidate.members else -1) for o in arrays]
                features.append(_features(sides, len(answers)))
                labels.append(bool(set(items([candidate.value])) & wanted))
            continue
        for candidate in candidates(opinions):
            features.append(_features([(o, 1) for o in candidate.said_by], len(answers)))
            labels.append(_is_right(judged, candidate.said_by[0].member, row, path))
    return np.array(features, dtype=float).reshape(-1, 2 * len(judged.said)), np.array(labels, dtype=bool)


def _features(said_by: Sequence[tuple[Opinion, int]], members: int) -> np.ndarray:
    found = np.zeros(2 * members)
    for opinion, sign in said_by:
        found[opinion.member], found[members + opinion.member] = sign, sign * logit(opinion.confidence)
    return found


def _logistic(features: np.ndarray, labels: np.ndarray) -> Weights | None:
    if min(labels.sum(), (~labels).sum()) < LEAST_OF_A_KIND:
        return None
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, max_iter=1000).fit(features, labels)
    half = features.shape[1] // 2
    coefficients = [round(float(c), 6) for c in model.coef_[0]]
    return Weights(coefficients[:half], coefficients[half:], round(float(model.intercept_[0]), 6), logistic=True)


def _platt(answers: Sequence[Prediction], hits: np.ndarray) -> list[float]:
    """(slope, intercept) from the confidence to a probability of being right (Platt 1999); of all or nothing right the share, smoothed."""
    share = (hits.sum() + 1) / (len(hits) + 2)
    sure = np.array([[logit(UNKNOWN if a.confidence is None else a.confidence)] for a in answers])
    if min(hits.sum(), (~hits).sum()) < LEAST_OF_A_KIND or np.ptp(sure) < 1e-9:
        return [0.0, round(math.log(share / (1 - share)), 6)]
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0).fit(sure, hits)
    slope = max(0.0, float(model.coef_[0][0]))  # more sure is never taken for less right
    return [round(slope, 6), round(float(model.intercept_[0]), 6)] if slope else [0.0, round(math.log(share / (1 - share)), 6)]


def _threshold(judged: Judged, combiner: Combiner) -> float:
    """Of the probabilities that members reach the lowest, and so the one that asks least, with which no more than LOSS of right answers is
    expected to be lost against asking all. What is expected are the members' own probabilities of being right."""
    fields = FieldCombiner(judged.reader.schema, combiner)
    trust = [fields.trust(judged.answers(row)) for row in range(len(judged.rows))]
    tried = thresholds((p for row in trust for _, p in row), THRESHOLDS)

    def expected(threshold: float) -> float:
        taken = [row[route(row, threshold)[0]] for row in trust]
        return sum(p for sound, p in taken if sound) / len(taken)

    return next(threshold for threshold in tried if expected(threshold) >= expected(1.0) - LOSS)


def _out_of_fold(judged: Judged, names: Sequence[str], strategy: str, seed: int) -> dict[str, Any]:
    """Each row answered by a combiner that was fitted without its group."""
    hits, calls = np.zeros(len(judged.rows), dtype=bool), np.zeros(len(judged.rows))
    for fold in _folds(judged.rows, seed):
        rest = np.setdiff1d(np.arange(len(judged.rows)), fold)
        if not len(fold) or not len(rest):
            continue
        fields = FieldCombiner(judged.reader.schema, _fit(judged.part(rest), names, strategy))
        for row in map(int, fold):
            answers = judged.answers(row)
            answer, calls[row] = fields.routed(answers) if strategy == "route" else (fields.combine(answers), len(answers))
            hits[row] = right(judged.reader.read(answer.text), judged.expected[row])
    if not len(hits):
        return {"val_object_exact_match": None, "reason": "no validation rows"}
    best = int(np.argmax(judged.hits.sum(1)))
    gain = risk_difference(int((hits & ~judged.hits[best]).sum()), int((judged.hits[best] & ~hits).sum()), len(hits))
    found = {
        "val_object_exact_match": hits.mean(),
        "val_members": {name: row.mean() for name, row in zip(names, judged.hits)},
        "val_gain": {"over": names[best], "effect": gain.value, "low": gain.low, "high": gain.high},
        "val_calls": calls.mean(),
    }
    return dict(rounded(found))


def _folds(rows: Sequence[Example], seed: int) -> list[np.ndarray]:
    """Places of the rows of each fold; rows of one group stay together."""
    named = [row.group or row.item_id for row in rows]
    groups = sorted(set(named))
    draw = generator(seed, "ensemble").permutation(len(groups))
    place = {group: int(draw[i]) % FOLDS for i, group in enumerate(groups)}
    return [np.array([i for i, group in enumerate(named) if place[group] == fold], dtype=int) for fold in range(FOLDS)]
