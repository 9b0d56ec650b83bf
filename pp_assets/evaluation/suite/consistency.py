"""Consistency: the same question again, in other words, and at another time."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.suite.asking import Asked, Subject
from pp_assets.evaluation.suite.paired import HOLDS, UNKNOWN, Judge, Pair, flip_verdict, judged, same_answer
from pp_assets.evaluation.suite.wording import WRAPPERS
from pp_assets.task.examples import Example

TRIALS = 2  # times that everything is asked again, in another order each time


def consistency(
    judge: Judge, examples: Sequence[Example], clean: Mapping[str, PredictionRow], asked: Asked, subject: Subject
) -> dict[str, Any]:
    """The section. A model that reads the input alone is asked with wrappers around it in place of other templates."""
    found = {"repeats": _repeats(judge, examples, clean, asked), "over_time": _over_time(judge, clean, subject.before)}
    if subject.why_no_rewordings:
        return found | {"wording": {"kind": "none", "reason": subject.why_no_rewordings, "variants": {}}}
    texts = [e.input_text for e in examples]
    said: dict[str, list[str]] = {}
    changed: dict[str, list[str]] = {}
    for name, other in subject.rewordings.items():
        own = Asked(other)
        said[name], changed[name] = [p.text for p in own.answers(texts)], texts
        asked.asked, asked.calls = asked.asked + own.asked, asked.calls + own.calls
    if not subject.rewordings:
        changed = {name: [wrap(text) for text in texts] for name, wrap in WRAPPERS.items()}
        flat = iter(asked.answers([text for some in changed.values() for text in some]))
        said = {name: [next(flat).text for _ in some] for name, some in changed.items()}
    compared = {}
    for name, outputs in said.items():
        rows = [clean[e.item_id] for e in examples]
        pairs = [Pair(row.item_id, row, text, row.expected, output) for row, text, output in zip(rows, changed[name], outputs)]
        compared[name] = judge.compare(pairs, together=len(said))
    variants = {name: paired.as_dict() for name, paired in judged(compared, judge.scoring.alpha, flip_verdict).items()}
    return found | {"wording": {"kind": "template" if subject.rewordings else "wrapper", "variants": variants}}


def _repeats(judge: Judge, examples: Sequence[Example], clean: Mapping[str, PredictionRow], asked: Asked) -> dict[str, Any]:
    """Asked again in another order, so that each text has other neighbours in its batch."""
    same = np.ones(len(examples))
    for trial in range(TRIALS):
        order = list(range(len(examples)))
        random.Random(trial).shuffle(order)
        outputs = asked.fresh([examples[i].input_text for i in order], trial=trial + 1)
        for i, prediction in zip(order, outputs):
            same[i] = same[i] and prediction.text == clean[examples[i].item_id].output
    note = "Answers are greedy, nothing is drawn: what differs here comes from other neighbours in a batch, or from the machine."
    agreed = judge.share(same, [e.group for e in examples]) | {"equal": int(same.sum())}
    return agreed | {"trials": TRIALS, "note": note, "verdict": HOLDS if agreed["equal"] == agreed["n"] else "differs"}


def _over_time(judge: Judge, clean: Mapping[str, PredictionRow], before: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Against what earlier evaluations of the same weights stored: nothing may differ."""
    found = {}
    for name, outputs in before.items():
        items = [row for row in clean.values() if row.item_id in outputs]
        if items:
            same = [same_answer(judge.reader.read(row.output), judge.reader.read(outputs[row.item_id])) for row in items]
            found[name] = judge.share(np.array(same), [row.group for row in items]) | {"equal": sum(same)}
    if not found:
        return {"verdict": UNKNOWN, "reason": "no earlier evaluation of the same weights is stored", "evaluations": {}}
    equal = all(one["equal"] == one["n"] for one in found.values())
    return {"verdict": HOLDS if equal else "differs", "evaluations": found}
