"""The quality gate: which candidates become worked examples, and for the others the first reason why not.

A function of the candidates alone: neither their order nor what was let in before changes a verdict, so judging twice changes nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jsonschema.protocols import Validator

from pp_assets.data.evaluate import LETTERS, letters_share
from pp_assets.data.labels import FEW_LABELS, LEAST_KAPPA, LEAST_ROWS, SUSPECT, SUSPECT_OF_FEW, agreements, kappa, label_fields
from pp_assets.data.neighbours import codes_of, nearest, spread_out
from pp_assets.prompts.dicl.candidates import RATING, Candidate, rank
from pp_assets.task.duplicates import normalise
from pp_assets.task.same_item import SAME, difference
from pp_assets.task.similar import known_words
from pp_resources.fingerprint import canonical_json
from pp_resources.json_schema import Schema, get_path, not_verbatim, output_validator
from pp_resources.progress import steps

NEIGHBOURS = 10
WITNESSES = 20_000  # candidates that neighbours are looked for among
AGAINST = 0.8  # share of the neighbours that must say one and the same other thing: neighbours that differ contradict nobody
LIKE = 0.9  # cosine from which two texts are compared word by word, as for leaks
BLOCK = 1024
LEAK = "the same item as a held-out row"


@dataclass(frozen=True)
class Rules:
    """`by_person` and `by_model`: least contract score of outputs that a person wrote, and of answers of a model; `near`: cosine from which
    examples of one output say the same; `per_label` and `total`: the most examples, None for any number; `metrics`: feedback that judges
    an answer, more being better (0..1)."""

    by_person: float = 0.0
    by_model: float = 0.5
    near: float = 0.98
    per_label: int | None = None
    total: int | None = None
    metrics: tuple[str, ...] = (RATING,)


@dataclass(frozen=True)
class Findings:
    """What was found out about candidates, by key: contract `scores` (None: no score), which are held-out items (`leaking`), when an answer
    was called bad (`bad`, microseconds), which a person put back (`forced`) or took out (`blocked`)."""

    scores: Mapping[str, float | None]
    leaking: Collection[str] = frozenset()
    bad: Mapping[str, int] | None = None
    forced: Collection[str] = frozenset()
    blocked: Collection[str] = frozenset()


def judge(schema: Schema, candidates: Sequence[Candidate], vectors: np.ndarray, found: Findings, rules: Rules) -> dict[str, str]:
    """By key of each candidate why it is no example, "" where it is one. `vectors` are unit embeddings (candidates, size); keys differ.

    Those that a person put back are held against the schema and held-out rows, and nothing else.
    """
    order = sorted(range(len(candidates)), key=lambda i: (candidates[i].key not in found.forced, rank(candidates[i])))
    rows, vectors = [candidates[i] for i in order], vectors[order]
    valid = output_validator(schema)
    reasons = [_alone(schema, valid, row, found, rules) for row in rows]
    passed = [i for i in range(len(rows)) if not reasons[i]]
    for k, reason in _contradicted(schema, [rows[i] for i in passed], vectors[passed]).items():
        if rows[passed[k]].key not in found.forced:
            reasons[passed[k]] = reason
    _duplicates(rows, vectors, reasons, found, rules)
    _cap(schema, rows, vectors, reasons, found, rules)
    return {row.key: reason for row, reason in zip(rows, reasons, strict=True)}


def label_of(schema: Schema, output: object) -> str:
    """What groups examples for diversity and caps: the first enum or boolean field, "" where there is none."""
    paths = label_fields(schema)
    if not paths:
        return ""
    value = get_path(output, paths[0])
    return value if isinstance(value, str) else canonical_json(value)


def _alone(schema: Schema, valid: Validator, row: Candidate, found: Findings, rules: Rules) -> str:
    """What is wrong with a candidate by itself."""
    if row.key in found.leaking:
        return LEAK
    if row.key in found.blocked:
        return "a person took it out"
    if not isinstance(row.output, dict) or not valid.is_valid(row.output):
        return "against the schema"
    if row.key in found.forced:
        return ""
    if not_verbatim(schema, row.output, row.input_text):
        return "a copied value is not in the input"
    if letters_share(row.input_text) < LETTERS or "\ufffd" in row.input_text:
        return "hardly any letters"
    if (found.bad or {}).get(row.key, -1) >= row.at:
        return "called bad later"
    least, score = rules.by_model if row.origin == "feedback" else rules.by_person, found.scores.get(row.key)
    return f"contract score below {least:g}" if score is not None and score < least else ""


def _contradicted(schema: Schema, rows: Sequence[Candidate], vectors: np.ndarray) -> dict[int, str]:
    """Places of the rows whose neighbours say another label with one voice, and why; fields that neighbours know little of have no say."""
    paths = label_fields(schema)
    if not paths or len(rows) < LEAST_ROWS:
        return {}
    among = spread_out(len(rows), WITNESSES)
    groups = codes_of([row.group or normalise(row.input_text) for row in rows])
    places, _ = nearest(vectors, NEIGHBOURS, vectors[among], (groups, groups[among]))
    places = np.where(places >= 0, among[places], -1)
    reasons: dict[int, str] = {}
    for path in paths:
        names = [canonical_json(get_path(row.output, path)) for row in rows]
        votes = [Counter(names[j] for j in near if j >= 0) for near in places.tolist()]
        most = [max(sorted(vote), key=vote.__getitem__) if vote else names[i] for i, vote in enumerate(votes)]
        if kappa(names, most) < LEAST_KAPPA:
            continue
        limit = SUSPECT if len(set(names)) > FEW_LABELS else SUSPECT_OF_FEW
        for i, agreement in enumerate(agreements(names, places)):
            if agreement <= limit and most[i] != names[i] and votes[i][most[i]] >= AGAINST * votes[i].total():
                reasons.setdefault(i, f"its neighbours say {path}: {most[i]}, it says {names[i]}")
    return reasons


def _duplicates(rows: Sequence[Candidate], vectors: np.ndarray, reasons: list[str], found: Findings, rules: Rules) -> None:
    """Refuse what another, better row says: the same input, or nearly it. What a person took out speaks against rows of its output."""
    first: dict[str, Candidate] = {}
    for i, row in enumerate(rows):
        if reasons[i]:
            continue
        before = first.setdefault(normalise(row.input_text), row)
        if before is not row and row.key not in found.forced:
            same = row.output_text == before.output_text
            reasons[i] = f"{'an exact duplicate of' if same else 'another output for the input of'} {before.key[:8]}"
    known = known_words([row.input_text for row in rows])
    gone = {i for i, row in enumerate(rows) if row.key in found.blocked}
    for later, earlier, cosine in _pairs(vectors, [i for i in range(len(rows)) if not reasons[i] or i in gone]):
        if later in gone:
            later, earlier = earlier, later
        if reasons[later] or (reasons[earlier] and earlier not in gone) or rows[later].key in found.forced:
            continue
        one, other = rows[later], rows[earlier]
        same = one.output_text == other.output_text
        if earlier in gone and not same:
            continue
        if (same and cosine >= rules.near) or difference(one.input_text, other.input_text, known) == SAME:
            kind = "a near duplicate of" if same else "another output for nearly the input of"
            reasons[later] = f"{kind} {other.key[:8]}" + (", which a person took out" if earlier in gone else "")


def _pairs(vectors: np.ndarray, places: Sequence[int]) -> Iterator[tuple[int, int, float]]:
    """(later, earlier, cosine) of all pairs of these rows that are alike, by rising later and earlier place."""
    chosen = np.array(places, dtype=int)
    part = vectors[chosen]
    with steps("duplicates", -(-len(chosen) // BLOCK)) as advance:
        for start in range(0, len(chosen), BLOCK):
            alike = part[start : start + BLOCK] @ part[: start + BLOCK].T
            for a, b in zip(*np.nonzero(alike >= LIKE)):
                if b < a + start:
                    yield int(chosen[a + start]), int(chosen[b]), float(alike[a, b])
            advance("")


def _cap(schema: Schema, rows: Sequence[Candidate], vectors: np.ndarray, reasons: list[str], found: Findings, rules: Rules) -> None:
    """Keep at most so many: those that lie farthest from each other, so that what goes is the most redundant."""
    if rules.per_label is None and rules.total is None:
        return
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if not reasons[i]:
            groups.setdefault(label_of(schema, row.output), []).append(i)
    # How far the next row of each label is from those that are kept; a label without any is farthest.
    gap = {label: np.full(len(places), 2.0) for label, places in groups.items()}
    kept, room = Counter[str](), rules.total if rules.total is not None else len(rows)
    for label, places in groups.items():
        for k, i in enumerate(places):
            if rows[i].key in found.forced:
                _take(label, k, places, vectors, gap)
                kept[label] += 1
    while kept.total() < room:
        open_ = [label for label in groups if _open(label, kept, rules) and gap[label].max() >= 0]
        if not open_:
            break
        label = max(open_, key=lambda label: (gap[label].max(), -groups[label][int(gap[label].argmax())]))
        _take(label, int(gap[label].argmax()), groups[label], vectors, gap)
        kept[label] += 1
    for label, places in groups.items():
        for k, i in enumerate(places):
            if gap[label][k] >= 0:
                reasons[i] = "one of the most redundant of too many"


def _open(label: str, kept: Mapping[str, int], rules: Rules) -> bool:
    return not label or rules.per_label is None or kept[label] < rules.per_label


def _take(label: str, k: int, places: Sequence[int], vectors: np.ndarray, gap: dict[str, np.ndarray]) -> None:
    """Mark a row as kept (a gap of -1), and bring the others of its label as near as it is."""
    taken = gap[label] < 0
    gap[label] = np.where(taken, -1.0, np.minimum(gap[label], 1 - vectors[places] @ vectors[places[k]]).clip(min=0.0))
    gap[label][k] = -1.0
