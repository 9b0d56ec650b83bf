"""Does anything but the training outputs tell the answers? A model taught exchanged outputs, and what is said of no text at all.

A model that learns from outputs of other rows can know no more of a held-out row than the commonest answer: where it does, the answers came
another way (permutation control: Ojala and Garriga 2010). How much of what it was taught it gives back is how much it can learn by heart
(Zhang et al. 2017).

Only values chosen from a list are exchanged and judged. A copied string of another row does not stand in the text, so that an encoder could
not be trained on it at all, and what an order number looks like would still be learnt: knowledge that came by no leak.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pp_assets.evaluation.compare import Comparison, Items, compare_scored, compare_tables
from pp_assets.evaluation.generalisation import NO_SIGN, UNKNOWN
from pp_assets.evaluation.outputs import Answer, OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scored, Scoring, score_rows
from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.tables import Table, of_answers
from pp_assets.task.examples import Example
from pp_resources.json_schema import dump_output, get_path, leaf_fields, output_validator, set_path

# One exchange by chance leaves the rows of a class with more of one output than of others, which is learnt. With two or three clear-cut
# classes of equal size the interval lies above 0 for 7 % of exchanges, above this for 3 to 5 %; on support-triage for none of 60.
TOLERANCE = 0.05
LEAST = 10  # rows that are judged, and groups that outputs are exchanged between
LEAK, READS = "leak", "reads the text"
CHOSEN = ("enum", "boolean", "array_enum")


@dataclass(frozen=True)
class Against:
    """A score beside the one that it is held against, on the same rows; a positive `effect` means that the first is better."""

    n: int
    value: float | None = None
    other: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    test: str = ""
    verdict: str = UNKNOWN
    reason: str = ""


def chosen_paths(schema: Mapping[str, Any], rows: Sequence[Example]) -> list[str]:
    """Dotted paths of the fields that take one of a list's values, or several, in every row."""
    nothing = object()
    paths = [leaf.path for leaf in leaf_fields(schema) if leaf.kind in CHOSEN]
    return [path for path in paths if all(get_path(row.output, path, nothing) is not nothing for row in rows)]


def exchanged(rows: Sequence[Example], paths: Sequence[str], seed: int, *labels: str) -> list[Example]:
    """The same rows with the values at `paths`, all of a row together, taken from rows of another group; a seeded permutation of groups."""
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.group or row.item_id, []).append(row)
    names = list(groups)
    given = dict(zip(names, (names[i] for i in generator(seed, "exchange", *labels).permutation(len(names)))))
    seen: Counter[str] = Counter()
    made = []
    for row in rows:
        name = row.group or row.item_id
        donors = groups[given[name]]
        made.append(replace(row, output=_with_choices(row.output, donors[seen[name] % len(donors)].output, paths)))
        seen[name] += 1
    return made


def why_not(schema: Mapping[str, Any], paths: Sequence[str], taught: Sequence[Example]) -> str:
    """Why a model that is taught these exchanged rows would be no control; nothing when it is one."""
    if not paths:
        return "no field takes one of a list's values in every row, and copied values cannot be exchanged"
    if (groups := len({row.group or row.item_id for row in taught})) < LEAST:
        return f"fewer than {LEAST} groups to exchange outputs between: {groups}"
    if len({str([get_path(row.output, path) for path in paths]) for row in taught}) < 2:
        return "all rows have the same choices"
    sound = output_validator(schema)
    if broken := sum(not sound.is_valid(row.output) for row in taught):
        return f"the schema ties fields together: {broken} of {len(taught)} outputs are not valid with another row's choices"
    return ""


def control(
    spec: Any, paths: Sequence[str], taught: Sequence[Example], learnt: Sequence[PredictionRow], held_out: Sequence[PredictionRow]
) -> dict[str, Any]:
    """What a model that was taught exchanged outputs (`taught`) shows, as plain values.

    `learnt` are its answers to rows of `taught`, held against what it was taught there; `held_out` those to validation rows, held against
    the truth. The score of either is the share of `fields` (those at `paths`) that are right, `other` that of the commonest value of each
    field in `taught`. An interval of `held_out` that lies above TOLERANCE is a `leak`; all of it at or below, there is `no sign of it`.
    """
    scoring = Scoring.of(spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    keys = [reader.read(dump_output(scoring.schema, row.output)).keys for row in taught]
    usual = {path: Counter(sorted(key[path] for key in keys)).most_common(1)[0][0] for path in paths}
    ours, theirs = (_against_usual(score_rows(scoring, rows, reader), usual) for rows in (learnt, held_out))
    if theirs.low is not None and theirs.high is not None:
        verdict = LEAK if theirs.low > TOLERANCE else NO_SIGN if theirs.high <= TOLERANCE else UNKNOWN
        theirs = replace(theirs, verdict=verdict)
    told = {"fields": list(paths), "rows": len(taught), "tolerance": TOLERANCE}
    return dict(rounded({**told, "learnt": asdict(ours), "held_out": asdict(theirs), "reason": theirs.reason}))


def without_text(spec: Any, said: Sequence[PredictionRow], blind: Sequence[PredictionRow]) -> Against:
    """A model's answers to validation rows against what it says of an empty text, taken for its answer to each of them: the effect is what
    reading the text is worth. The verdict is READS where its interval lies above 0."""
    scoring = Scoring.of(spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    ours, theirs = (score_rows(scoring, rows, reader) for rows in (said, blind))
    found = _against(compare_scored(ours, theirs, of_answers(scoring.primary)))
    return replace(found, verdict=READS) if found.low is not None and found.low > 0 else found


def probes(shared: Mapping[str, int], near: Mapping[str, Any], taught: Mapping[str, Any] | None, blind: Against) -> list[dict[str, Any]]:
    """All that looks for a leak, each with its `name`, effect where it has one, `verdict` and `reason`: rows that training `shared` with
    held-out data, the gap between test items `near` training rows and others, the `control` where it was `taught`, the empty text."""
    counts = ", ".join(f"{kind.replace('_', ' ')} {n}" for kind, n in shared.items())
    rows = asdict(Against(0, verdict=LEAK if any(shared.values()) else NO_SIGN, reason=f"training rows that are also held out: {counts}"))
    gap = near["gap"] or {"verdict": UNKNOWN}
    neighbours = asdict(Against(0)) | {key: gap.get(key) for key in ("effect", "low", "high")} | {"reason": near["reason"]}
    neighbours["verdict"] = gap["verdict"]
    other = asdict(Against(0, reason="not asked for: --control trains a model for it")) if taught is None else taught["held_out"]
    named = {"shared rows": rows, "near neighbours": neighbours, "exchanged outputs": other, "empty text": asdict(blind)}
    return [{"name": name, **found} for name, found in named.items()]


def _against_usual(scored: Scored, usual: Mapping[str, str]) -> Against:
    ours = _choices(scored.answers, scored.expected, usual)
    theirs = _choices([Answer("", keys=usual)] * len(scored.rows), scored.expected, usual)
    items = Items(scored.clusters, scored.scoring.alpha, scored.scoring.seed)
    return _against(compare_tables("choices right", ours, theirs, items))


def _against(c: Comparison) -> Against:
    if c.n < LEAST:
        return Against(c.n, c.value, c.other_value, reason=f"fewer than {LEAST} rows: {c.n}")
    if c.effect is None or c.low is None or c.high is None:
        return Against(c.n, c.value, c.other_value, c.effect, reason=c.reason or c.interval)
    return Against(c.n, c.value, c.other_value, c.effect, c.low, c.high, c.p_value, c.test)


def _choices(answers: Sequence[Answer], expected: Sequence[Answer], paths: Iterable[str]) -> Table:
    names = list(paths)
    right = [sum(a.keys.get(path) == e.keys[path] for path in names) for a, e in zip(answers, expected)]
    counts = np.stack([np.array(right, dtype=float), np.full(len(right), float(len(names)))], axis=1)
    return Table(counts, f"fields right of {len(names)} that are chosen from a list, mean over items")


def _with_choices(output: dict[str, Any], donor: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    made = deepcopy(output)
    for path in paths:
        set_path(made, path, deepcopy(get_path(donor, path)))
    return made
