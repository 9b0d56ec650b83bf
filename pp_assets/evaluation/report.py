"""The evaluation report: a pure function of the spec and the stored predictions, so that anyone who holds both can recompute every number.

What cannot be recomputed (hardware, versions, times) stands in `provenance`, a section of its own that `verify_report` leaves out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pp_assets.evaluation.by_field import field_rows
from pp_assets.evaluation.compare import compare_scored
from pp_assets.evaluation.confidence import calibration
from pp_assets.evaluation.examples import cut, outcomes, worst
from pp_assets.evaluation.leaderboard import ranked, score_all
from pp_assets.evaluation.metrics import LEVEL, confusions, score_metrics
from pp_assets.evaluation.predictions import System
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.rules import check_rules, measures
from pp_assets.evaluation.scoring import Scored, Scoring
from pp_assets.evaluation.slices import distance_table, slice_table
from pp_assets.evaluation.stats.power import POWER, WORST_DISCORDANCE
from pp_assets.evaluation.stats.resampling import RESAMPLES
from pp_assets.evaluation.validity import validity
from pp_assets.evaluation.verdict import decide
from pp_resources.errors import UserError, nearest

REPORT_VERSION = 2


def build_report(
    spec: Any,
    systems: Sequence[System],
    candidate: str,
    provenance: Mapping[str, Any] | None = None,
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score all systems, compare the candidate with each other one, and decide.

    `spec` is a TaskSpec, its dict or a Task; `candidate` the name of one of `systems`; `measured` what the task's validation rules ask of
    beside the answers (`pp_assets.evaluation.rules.measures`), which the report keeps. The order of systems and rows does not matter.
    Returns plain JSON values with floats at six decimals. Raises UserError when the systems answered different items.
    """
    scoring = Scoring.of(spec)
    scored = score_all(scoring, systems)
    if candidate not in scored:
        raise UserError(f"unknown system {candidate!r}", where="candidate", how=nearest(candidate, scored))
    by_name = {system["name"]: system for system in systems}
    order = [candidate, *(name for name in ranked(scored) if name != candidate)]
    metrics = {name: score_metrics(scored[name]) for name in order}
    others = {name: compare_scored(scored[candidate], scored[name]) for name in order[1:]}
    # A baseline that cannot be scored cannot be the best one.
    best = next((n for n in others if by_name[n]["kind"] == "baseline" and metrics[n][scoring.primary].value is not None), None)
    ours, theirs = scored[candidate], scored[best] if best else None
    slices, trust, against = slice_table(ours, theirs), calibration(ours), others.get(best) if best else None
    rules = check_rules(scoring.rules, measures(ours, candidate, against, slices, measured or {}))
    verdict = decide(scoring, metrics[candidate] | validity(ours, against, slices, trust), against, scoring.gates, best, rules)
    report = {
        "report_version": REPORT_VERSION,
        "task": scoring.task,
        "candidate": candidate,
        "best_baseline": best,
        "items": len(ours.rows),
        "groups": ours.clusters.count,
        "primary_metric": {
            "name": scoring.primary,
            "higher_is_better": scoring.higher_is_better,
            "alpha": scoring.alpha,
            "min_effect": scoring.min_effect,
        },
        "verdict": asdict(verdict),
        "systems": [
            {
                "name": name,
                "kind": by_name[name]["kind"],
                "description": by_name[name]["description"],
                "metrics": {key: asdict(metric) for key, metric in metrics[name].items()},
            }
            for name in order
        ],
        "comparisons": {name: asdict(found) for name, found in others.items()},
        "outcomes": outcomes(ours, theirs, scoring.primary) if theirs is not None else None,
        "fields": field_rows(ours, theirs, metrics[candidate], metrics[best] if best else None),
        "slices": slices,
        "confusion": {name: confusions(scored[name]) for name in ((candidate, best) if best else (candidate,))},
        "calibration": trust,
        "worst": worst(ours, theirs),
        "problems": {name: _problems(scored[name]) for name in order},
        "notes": _notes(ours, best),
        "reproduce": _reproduce(scoring.task, candidate, best),
    }
    if (distance := distance_table(ours, theirs)) is not None:
        report["distance"] = distance
    if scoring.rules:
        report["validation"] = {"rules": [asdict(rule) for rule in rules], "measured": dict(measured or {})}
    return {**rounded(report), "provenance": dict(provenance or {})}


def report_json(report: Mapping[str, Any]) -> str:
    """The text of `eval_report.json`."""
    return json.dumps(report, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def write_report(report: Mapping[str, Any], out: Path) -> dict[str, Path]:
    """Write `eval_report.json`, `.md` and `.html` (self-contained) into `out`, and its pictures into `out/plots`; paths by suffix."""
    from pp_assets.evaluation.html import report_html
    from pp_assets.evaluation.markdown import report_markdown
    from pp_assets.evaluation.plots import render_plots

    plots = render_plots(report)
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for name, data in plots.items():
        (out / "plots" / f"{name}.png").write_bytes(data)
    texts = {"json": report_json(report), "md": report_markdown(report), "html": report_html(report, plots)}
    paths = {suffix: out / f"eval_report.{suffix}" for suffix in texts}
    for suffix, path in paths.items():
        path.write_text(texts[suffix], "utf-8", errors="backslashreplace")
    return paths


def verify_report(stored: Mapping[str, Any], spec: Any, systems: Sequence[System]) -> list[str]:
    """Recompute a report from the predictions: the places (dotted) where the stored one differs, with both values; none when true.

    What was measured for validation rules is taken from the stored report; that the rules follow from it is checked.
    """
    try:
        again = build_report(spec, systems, str(stored.get("candidate")), measured=(stored.get("validation") or {}).get("measured"))
    except UserError as error:
        return [f"cannot be recomputed: {error}"]
    differences = _differences({**stored, "provenance": {}}, again, "")
    without = {key: value for key, value in stored.items() if key != "provenance"}
    if not differences and report_json(without) != report_json({key: value for key, value in again.items() if key != "provenance"}):
        return ["the order of keys or the form of a number differs"]
    return differences


def _problems(scored: Scored) -> list[dict[str, Any]]:
    """Why outputs were not valid, the most frequent reasons first, at most ten."""
    counts: dict[str, int] = {}
    for answer in scored.answers:
        if not answer.valid:
            counts[answer.problem] = counts.get(answer.problem, 0) + 1
    return [{"problem": why, "count": k} for why, k in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:10]]


def _notes(ours: Scored, best: str | None) -> list[str]:
    """What a reader must know to judge the numbers."""
    notes = [
        "Outputs are read as strict JSON (no NaN, no key twice, no text around it) and compared in canonical form; a whole object is right "
        "when it is valid against the schema and every field is equal.",
        f"Intervals are {LEVEL:.0%}; bootstraps draw {RESAMPLES} resamples of whole groups with the task's seed {ours.scoring.seed}.",
        f"The smallest detectable effect is for {POWER:.0%} power and a two-sided alpha of {ours.scoring.alpha:g}, at the observed "
        f"disagreement and at a stated worst case of {WORST_DISCORDANCE:g}.",
        "Per-field tests are secondary: their p values are adjusted by Holm's method, and those of slices by themselves.",
        "A slice is told by what is expected and by the input alone. It is worse or better where the gap to all other items shows in a "
        "permutation of whole groups, adjusted for all slices; a slice that is not marked may still be either.",
        "Calibration error comes out too large on few answers; its interval allows for that.",
    ]
    if not ours.clusters.single:
        notes.append(
            f"The {len(ours.rows)} items form {ours.clusters.count} groups of related phrasings, which are resampled and permuted whole; "
            "the p value is the larger of the test on items and the test on groups."
        )
    if best:
        notes.append(
            f"{best} is the best baseline by the primary metric on this same split. Choosing it here favours the baseline, so the "
            "comparison is conservative for the candidate."
        )
    return notes


def _reproduce(task: str, candidate: str, best: str | None) -> list[dict[str, str]]:
    """The commands that make these numbers again, or check them."""
    name = f"{task}/{candidate}"
    told = [("computes every number again from the stored answers", f"pp package verify {name}")]
    told.append(("makes data, baselines, adapter and report again", f"pp run {task} --variant {candidate}"))
    told.append(("asks more of the model: robustness, consistency, bias", f"pp eval {task} --variant {candidate} --suite comprehensive"))
    if best:
        told.append(("the two systems by themselves, as a page", f"pp compare {name} {task}/{best} --report comparison.html"))
    return [{"command": command, "what": what} for what, command in told]


def _differences(stored: Any, again: Any, place: str) -> list[str]:
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        found = []
        for key in sorted({*stored, *again}):
            where = f"{place}.{key}" if place else str(key)
            if key not in stored or key not in again:
                found.append(f"{where}: {'missing' if key not in stored else 'unknown'}")
            else:
                found += _differences(stored[key], again[key], where)
        return found
    if isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        return [line for i, (a, b) in enumerate(zip(stored, again)) for line in _differences(a, b, f"{place}[{i}]")]
    same = stored == again and isinstance(stored, bool) == isinstance(again, bool)
    return [] if same else [f"{place}: the report says {cut(repr(stored))[:200]}, the predictions give {cut(repr(again))[:200]}"]
