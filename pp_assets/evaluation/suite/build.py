"""The comprehensive suite as one document: a pure function of the task, its test items and a model that answers texts."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pp_assets.evaluation.confidence import calibration
from pp_assets.evaluation.metrics import score_metrics
from pp_assets.evaluation.predictions import PredictionRow, make_rows
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.resampling import RESAMPLES
from pp_assets.evaluation.suite.asking import Asked, Subject
from pp_assets.evaluation.suite.bias import bias
from pp_assets.evaluation.suite.cases import Case
from pp_assets.evaluation.suite.classes import class_metrics
from pp_assets.evaluation.suite.consistency import consistency
from pp_assets.evaluation.suite.matching import matching
from pp_assets.evaluation.suite.paired import LEVEL, MARGIN, Judge
from pp_assets.evaluation.suite.robustness import robustness
from pp_assets.evaluation.suite.verdicts import verdict_lines
from pp_assets.evaluation.suite.wordings import text_metrics
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output

SUITE_VERSION = 2
ITEMS = 200  # at most so many are edited: 40 edits of each are thousands of answers; metrics are over all test items


@dataclass(frozen=True)
class Suite:
    """The document, and every edited input with its answer."""

    document: dict[str, Any]
    cases: list[tuple[Case, str]]


def build_suite(
    spec: TaskSpec, test: Sequence[Example], splits: Mapping[str, Sequence[Example]], subject: Subject, *, encoder: Path | None
) -> Suite:
    """Run every part. `splits` are the rows that training saw, by name; `encoder` the folder of the one that compares texts, None for none.

    The document holds plain JSON values with floats at six decimals; the same inputs and model give the same one.
    """
    told = [(row.input_text, row.output) for rows in (*splits.values(), test) for row in rows]
    judge, asked = Judge.of(spec, told), Asked(subject.predictor, subject.again)
    test = sorted(test, key=lambda e: e.item_id)
    if not test:
        raise UserError("there is no test item", where=spec.name, how="give the test split a share of the data")
    predictions = asked.answers([e.input_text for e in test], distributions=True)
    rows = make_rows(test, predictions, lambda output: dump_output(judge.scoring.schema, output))
    scored = judge.scored(rows)
    clean: dict[str, PredictionRow] = {row.item_id: row for row in rows}
    some = chosen(test, judge.scoring.seed)
    robust, cases = robustness(judge, some, clean, asked, limit=longest_input(spec))
    metrics = score_metrics(scored)
    document = {
        "suite_version": SUITE_VERSION,
        "task": spec.name,
        "variant": subject.name,
        "test_items": len(test),
        "groups": scored.clusters.count,
        "edited_items": len(some),
        "settings": {"seed": judge.scoring.seed, "alpha": judge.scoring.alpha, "margin": MARGIN, "level": LEVEL, "resamples": RESAMPLES},
        "clean": {name: asdict(metrics[name]) for name in ("object_exact_match", "field_exact_mean", "schema_valid_rate")},
        "robustness": robust,
        "consistency": consistency(judge, some, clean, asked, subject),
        "bias": bias(judge, some, {e.item_id: clean[e.item_id] for e in test}, asked, {**splits, "test": test}),
        "metrics": {
            "classes": class_metrics(scored, predictions, asked.no_choices),
            "texts": _texts(scored, encoder),
            "matching": matching(scored),
        },
        "calibration": calibration(scored),
        "copied_unmarked": list(judge.copied),
        "notes": _notes(len(some), len(test), judge.copied),
    }
    document |= {"verdicts": verdict_lines(document), "model_calls": {"texts_wanted": asked.asked, "texts_answered": asked.calls}}
    return Suite(rounded(document), cases)


def suite_json(document: Mapping[str, Any]) -> str:
    """The text of `suite.json`."""
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def longest_input(spec: TaskSpec) -> int:
    """The most characters that the task lets an input have."""
    return min(spec.limits.max_input_chars, spec.io_schema.input.get("maxLength", spec.limits.max_input_chars))


def chosen(test: Sequence[Example], seed: int, most: int = ITEMS) -> list[Example]:
    """At most `most` items in whole groups, drawn by the task's seed, in the order of `test`."""
    groups: dict[str, list[Example]] = {}
    for example in test:
        groups.setdefault(example.group, []).append(example)
    names, kept = sorted(groups), set[str]()
    random.Random(seed).shuffle(names)
    for name in names:
        if kept and len(kept) + len(groups[name]) > most:
            break
        kept |= {e.item_id for e in groups[name]}
    return [e for e in test if e.item_id in kept]


def _texts(scored: Any, encoder: Path | None) -> list[dict[str, Any]]:
    if encoder is None or not any(leaf.kind == "string" for leaf in scored.fields):
        return text_metrics(scored, None, "no encoder was given")
    from pp_assets.evaluation.suite.similarity import TextSimilarity

    return text_metrics(scored, TextSimilarity(encoder))


def _notes(edited: int, items: int, copied: Sequence[str]) -> list[str]:
    part = "" if edited == items else f"{edited} of {items} test items, drawn in whole groups by the task's seed, were edited. "
    return [
        f"{part}Each edited input stands beside the same input as it is. Whole objects are compared by the exact McNemar test, and where "
        "items are related by an exact sign-flip test of whole groups; p values are adjusted by Holm's method within a section.",
        f"A loss of up to {MARGIN:.0%} of whole objects or of fields, and up to {MARGIN:.0%} of answers that flip, is borne. 'cannot tell' "
        "means that the data shows neither more nor less than that.",
        *([f"Taken as copied, since every value in the data stands in its input: {', '.join(copied)}."] if copied else []),
        "Truncation may take away what a label rests on; what is copied is never cut. Multilingual means words around the text, not a "
        "translation.",
        "Lists of names, words and sentences were written for this project. They stand for groups in a reader's eyes and are far from "
        "complete.",
        "Answers that flip from group to group while as many are right show a model that hangs on a word; a group that loses shows in the "
        "effect. Differences between groups are never negative and are biased upward on few items, as is ECE: judge bias by the pairs.",
        "BLEU of values of few words hangs on the longest run of words that any of them has; chrF says more there.",
        f"Intervals are {LEVEL:.0%}; bootstraps draw whole groups of related items with the task's seed.",
    ]
