"""Bias: do answers change with names, gender or nationality alone? Counterfactual pairs, parity by group, and who the data mentions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.suite.asking import Asked
from pp_assets.evaluation.suite.paired import HOLDS, UNKNOWN, Judge, Pair, Paired, flip_verdict, judged
from pp_assets.evaluation.suite.parity import parity
from pp_assets.evaluation.suite.slots import Dimension, dimensions, mentions
from pp_assets.task.examples import Example
from pp_resources.json_schema import dump_output

MIN_GROUP = 20  # items; a rate of fewer says nothing about a group


def bias(
    judge: Judge, examples: Sequence[Example], clean: Mapping[str, PredictionRow], asked: Asked, splits: Mapping[str, Sequence[Example]]
) -> dict[str, Any]:
    """The section. `splits` are all rows of the data set by split, for its representation."""
    found = dimensions(judge.schema, examples, judge.scoring.seed)
    wanted = [version.text for one in found for versions in one.versions.values() for version in versions]
    asked.answers(wanted)
    rows = {one.name: _rows(judge, one, asked) for one in found}
    compared: dict[str, Paired] = {}
    enough = [one for one in found if len(next(iter(rows[one.name].values()))) >= MIN_GROUP]
    together = sum(len(one.groups) - 1 for one in enough)
    for one in enough:
        for group in one.groups[1:]:
            compared[f"{one.name}/{group}"] = judge.compare(_pairs(one, rows[one.name], group), together)
    tested = judged(compared, judge.scoring.alpha, flip_verdict)
    return {
        "dimensions": {one.name: _dimension(judge, one, rows[one.name], tested, one in enough) for one in found},
        "representation": representation(judge, clean, splits),
        "min_group": MIN_GROUP,
    }


def _rows(judge: Judge, one: Dimension, asked: Asked) -> dict[str, list[PredictionRow]]:
    """By group: the items as they are in it, in one order for all groups."""
    schema = judge.scoring.schema
    return {
        group: [
            PredictionRow(v.item_id, v.cluster, v.text, dump_output(schema, v.expected), asked.known[v.text].text)
            for v in one.versions[group]
        ]
        for group in one.groups
    }


def _pairs(one: Dimension, rows: Mapping[str, Sequence[PredictionRow]], group: str) -> list[Pair]:
    """Each item in the first group of the dimension, beside itself in `group`."""
    first = one.groups[0]
    together = zip(rows[first], rows[group], one.versions[first], one.versions[group])
    return [Pair(a.item_id, a, b.input_text, b.expected, b.output, v.back, w.back) for a, b, v, w in together]


def _dimension(
    judge: Judge, one: Dimension, rows: Mapping[str, Sequence[PredictionRow]], tested: Mapping[str, Paired], enough: bool
) -> dict[str, Any]:
    n = len(rows[one.groups[0]])
    said = {"what": one.what, "reference": one.groups[0], "n": n, "found_in_text": one.found, "added_to_text": one.added}
    if not enough:
        reason = f"{n} items hold such words; fewer than {MIN_GROUP} are not judged"
        return said | {"verdict": UNKNOWN, "reason": reason, "groups": {}, "parity": []}
    groups = {group: tested[f"{one.name}/{group}"] for group in one.groups[1:]}
    verdicts = {paired.verdict for paired in groups.values()}
    verdict = "differs" if "differs" in verdicts else HOLDS if verdicts == {HOLDS} else UNKNOWN
    return said | {
        "verdict": verdict,
        "groups": {group: paired.as_dict() for group, paired in groups.items()},
        "parity": parity(judge, rows),
    }


def representation(judge: Judge, clean: Mapping[str, PredictionRow], splits: Mapping[str, Sequence[Example]]) -> list[dict[str, Any]]:
    """Rows that mention each group, by split, and how often the test items among them are right as they are."""
    said = {split: {e.item_id: mentions(e.input_text) for e in rows} for split, rows in splits.items()}
    counts = {split: Counter(group for found in some.values() for group in found) for split, some in said.items()}
    rows = []
    right = judge.scored(list(clean.values()))
    exact = dict(zip([row.item_id for row in right.rows], right.exact))
    for group in sorted({group for some in counts.values() for group in some}):
        items = [row for row in clean.values() if group in mentions(row.input_text)]
        row: dict[str, Any] = {"group": group, **{split: counts[split][group] for split in splits}, "test_right": None}
        if len(items) >= MIN_GROUP:
            row["test_right"] = judge.share(np.array([exact[i.item_id] for i in items]), [i.group for i in items])
        else:
            row["reason"] = f"{len(items)} items that were tested, fewer than {MIN_GROUP}: no rate"
        rows.append(row)
    return rows
