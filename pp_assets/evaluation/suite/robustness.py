"""Robustness: what damage, noise and hostility in the input cost, by family and severity, paired with the clean answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from pp_assets.evaluation.outputs import right
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.suite.asking import Asked
from pp_assets.evaluation.suite.cases import FAMILIES, SEVERITIES, Case, Family, by_family, make_cases
from pp_assets.evaluation.suite.paired import Judge, Pair, cost_verdict, judged
from pp_assets.task.examples import Example
from pp_resources.json_schema import dump_output

SHOWN = 3  # examples of a family
TEXT_LIMIT = 1000


def robustness(
    judge: Judge,
    examples: Sequence[Example],
    clean: Mapping[str, PredictionRow],
    asked: Asked,
    *,
    limit: int,
    families: Sequence[Family] = FAMILIES,
) -> tuple[dict[str, Any], list[tuple[Case, str]]]:
    """The section, and every case with what was answered. `limit`: the most characters that the task lets an input have;
    `families` of edits are tried."""
    cases, skipped = make_cases(judge.schema, examples, judge.scoring.seed, limit=limit, families=families)
    outputs = [p.text for p in asked.answers([case.text for case in cases])]
    said = {case.id: output for case, output in zip(cases, outputs)}
    told: dict[str, Any] = {}
    compared = {}
    for family, some in by_family(cases):
        validity = judge.valid([said[case.id] for case in some], [case.group for case in some])
        entry: dict[str, Any] = {"what": family.what, "expects": family.expects, "skipped": skipped[family.name], "validity": validity}
        if family.expects == "same":
            pairs = {case.id: _pair(judge, clean, case, said[case.id]) for case in some}
            compared[family.name] = judge.compare(list(pairs.values()))
            entry["severities"] = _parts(judge, pairs, {str(s): [c for c in some if c.severity == s] for s in SEVERITIES})
            names = sorted({c.operator for c in some})
            entry["operators"] = _parts(judge, pairs, {name: [c for c in some if c.operator == name] for name in names})
            entry["examples"] = _examples(judge, pairs, some)
        told[family.name] = entry
    for name, paired in judged(compared, judge.scoring.alpha, cost_verdict).items():
        told[name] |= paired.as_dict()
    return {"families": told, "cases": len(cases)}, [(case, said[case.id]) for case in cases]


def _pair(judge: Judge, clean: Mapping[str, PredictionRow], case: Case, output: str) -> Pair:
    return Pair(case.id, clean[case.item_id], case.text, dump_output(judge.scoring.schema, case.expected), output, case.change)


def _parts(judge: Judge, pairs: Mapping[str, Pair], parts: Mapping[str, Sequence[Case]]) -> dict[str, Any]:
    """Each part of a family by itself: no tests, which would be too many, but the effect with its interval and the flips."""
    kept = ("n", "groups", "clean", "changed", "effect", "low", "high", "flips", "flip_low", "flip_high", "fields_clean", "fields_changed")
    found = {name: judge.compare([pairs[case.id] for case in some]) for name, some in parts.items() if some}
    return {name: {key: getattr(paired, key) for key in kept} for name, paired in found.items()}


def _examples(judge: Judge, pairs: Mapping[str, Pair], cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Items that were right before the edit and are wrong after it, the mildest edits first."""
    shown = []
    for case in sorted(cases, key=lambda c: (c.severity, c.item_id)):
        pair = pairs[case.id]
        before = judge.reader.read(pair.clean.output), judge.reader.read(pair.clean.expected)
        after = judge.reader.read(pair.output), judge.reader.read(pair.expected)
        if right(*before) and not right(*after):
            facts = {"item_id": case.item_id, "operator": case.operator, "severity": case.severity}
            shown.append(facts | {"input": case.text[:TEXT_LIMIT], "expected": pair.expected, "answered": pair.output[:TEXT_LIMIT]})
    return shown[:SHOWN]
