"""A comparison of two systems in full, as a document: what its page, its Markdown and its JSON are written from."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pp_assets.evaluation.by_field import field_rows
from pp_assets.evaluation.confidence import calibration
from pp_assets.evaluation.examples import outcomes
from pp_assets.evaluation.head_to_head import Side
from pp_assets.evaluation.metrics import score_metrics
from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scored, Scoring, score_rows
from pp_assets.evaluation.slices import slice_comparisons
from pp_assets.evaluation.stats.groups import generator

COMPARISON_VERSION = 1
POINTS = 1000  # items of the scatter of confidences; more lie on each other
NAMES = ("a", "b")


def comparison_document(
    spec: Any, a: Side, b: Side, found: Mapping[str, Any], command: str, sequential: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All of a comparison: `found` is what `head_to_head` or `ab_test` says of `a` and `b`, `sequential` what `sequential_test` does.

    Adds `metrics` of both, `fields` with the paired difference (Holm), `outcomes` with rows, `slices`, `calibration` of whole objects,
    `confidences` (points of a scatter) and `reproduce`: `command`, versions, SHA-256 of the answers. Plain values at six decimals.
    """
    scoring = Scoring.of(spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    ours, theirs = (score_rows(scoring, rows, reader) for _, rows in (a, b))
    mine, other = score_metrics(ours), score_metrics(theirs)
    told = {
        **found,
        "comparison_version": COMPARISON_VERSION,
        "verdict": verdict(found, sequential),
        "metrics": {key: {name: asdict(m) for name, m in metrics.items()} for key, metrics in zip(NAMES, (mine, other))},
        "fields": field_rows(ours, theirs, mine, other, NAMES),
        "outcomes": outcomes(ours, theirs, found["metric"], NAMES),
        "slices": slice_comparisons(ours, theirs, found["metric"]),
        "calibration": {key: calibration(side)[0] for key, side in zip(NAMES, (ours, theirs))},
        "confidences": _confidences(ours, theirs),
        "sequential": sequential,
        "reproduce": {
            "command": command,
            "answers": {key: answers_digest(side.rows) for key, side in zip(NAMES, (ours, theirs))},
            "versions": {"python": platform.python_version(), **{name: version(name) for name in ("promptprecision", "numpy", "scipy")}},
            "seed": scoring.seed,
        },
    }
    return dict(rounded(told))


def verdict(found: Mapping[str, Any], sequential: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The decision in a few words, the `kind` of it ("ship": the first is better or surely no worse; "stop": it is worse) and the
    sentences that carry it. Where looks were taken, they decide: the test of all items does not allow for them."""
    won, judged, reasons = found.get("winner_side", found["winner"]), found["non_inferiority"], [found["conclusion"]]
    if sequential is not None:
        won = sequential["winner"]
        reasons = [stopped(sequential), f"All items at once: {found['conclusion']}"]
    label = {"a": "A IS BETTER", "b": "B IS BETTER"}.get(won or "", "NOT DECIDED")
    kind = {"a": "ship", "b": "stop"}.get(won or "", "wait")
    if judged:
        reasons.append(f"A loses no more than {judged['margin']:g} against B: {judged['verdict']}: {judged['reason']}.")
        kind = {"PASS": "ship", "FAIL": "stop"}.get(judged["verdict"], kind)
    return {"label": label, "kind": kind, "reasons": reasons}


def stopped(found: Mapping[str, Any]) -> str:
    """How a sequential test ended, in a sentence."""
    if not found["stopped"]:
        return f"Looks did not stop the test: after all {found['of']} items the interval that holds at all looks still has zero in it."
    won = found["winner"].upper()
    return f"Stopped after {found['needed']} of {found['of']} items: {won} is better, by an interval that holds at all looks."


def answers_digest(rows: Sequence[PredictionRow]) -> str:
    """SHA-256 of the answers and of what they answer, in the order of the items; the same wherever they are stored."""
    held = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.item_id):
        held.update(json.dumps([row.item_id, row.group, row.input_text, row.expected, row.output]).encode() + b"\n")
    return held.hexdigest()


def _confidences(a: Scored, b: Scored) -> dict[str, Any]:
    """Items as (confidence of a, of b, right in a, in b): all, or a seeded draw of POINTS; none with the reason."""
    both = [i for i in range(len(a.rows)) if a.rows[i].confidence is not None and b.rows[i].confidence is not None]
    if not both:
        return {"points": [], "of": 0, "reason": "no item has a confidence from both systems"}
    kept = both
    if len(both) > POINTS:
        kept = sorted(generator(a.scoring.seed, "points").choice(both, POINTS, replace=False).tolist())
    points = [[a.rows[i].confidence, b.rows[i].confidence, bool(a.exact[i]), bool(b.exact[i])] for i in kept]
    return {"points": points, "of": len(both), "reason": ""}
