"""The report as Markdown, for terminals, pull requests and model cards."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pp_assets.evaluation.verdict import p_cell

MAIN = ("object_exact_match", "field_exact_mean", "value_f1", "schema_valid_rate", "valid_but_wrong_rate", "not_in_input_rate")
TIMES = ("latency_ms_p50", "latency_ms_p95")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def report_markdown(report: Mapping[str, Any]) -> str:
    """Verdict first, then what the page has, without pictures and with fewer rows."""
    verdict = report["verdict"]
    lines = [f"# {md(report['task'])}: {md(report['candidate'])}", "", f"**{verdict['label']}**", ""]
    lines += [f"- {md(reason)}" for reason in verdict["reasons"]]
    lines += ["", f"{report['items']} test items in {report['groups']} groups. Intervals are 95 % unless another level is given.", ""]
    lines += ["## Systems", ""]
    shown = main_metrics(report)
    rows = [[s["name"], s["kind"], *(number(s["metrics"][m]) for m in shown)] for s in report["systems"]]
    lines += table(["system", "kind", *shown], rows)
    if "validation" in report:
        lines += ["## Validation rules", "", md(rule_words(report["validation"])), "", *table(RULE_HEAD, rule_rows(report["validation"]))]
    lines += ["## Comparisons", ""]
    rows = [[name, *comparison_cells(found)] for name, found in report["comparisons"].items()]
    lines += table([f"{report['candidate']} against", *COMPARISON_HEAD], rows) if rows else ["There is no other system.", ""]
    lines += ["## Fields", ""]
    lines += table(FIELD_HEAD, [field_cells(field) for field in report["fields"]])
    lines += ["## Wins, losses and ties", "", *outcome_lines(report["outcomes"], (report["candidate"], report["best_baseline"]))]
    lines += ["## Slices", "", md(slice_words(report["slices"])), ""]
    lines += table(SLICE_HEAD, [slice_cells(row) for row in report["slices"]["rows"]]) if report["slices"]["rows"] else []
    if "distance" in report:
        lines += [md(distance_words(report["distance"])), "", *table(DISTANCE_HEAD, distance_rows(report["distance"]))]
    lines += ["## Most frequent confusions", ""]
    found = [(path, top) for path, c in report["confusion"][report["candidate"]].items() for top in c["top"][:5]]
    rows = [[path, top["expected"], top["answered"], str(top["count"])] for path, top in found]
    lines += table(["field", "expected", "answered", "count"], rows) if rows else ["None.", ""]
    lines += ["## Calibration", "", *table(CALIBRATION_HEAD, [calibration_cells(entry) for entry in report["calibration"]])]
    lines += ["## Worst examples", ""]
    titles = {"candidate": "candidate", "baseline": "baseline"}
    lines += [line for one in report["worst"][:5] for line in example_lines(one, titles)]
    lines += ["" if report["worst"] else "None: every item is right.", "## Notes", "", *(f"- {md(note)}" for note in report["notes"]), ""]
    lines += ["## How to reproduce", "", *(f"- `{one['command']}`: {md(one['what'])}" for one in report["reproduce"]), ""]
    if report.get("provenance"):
        lines += ["## Provenance", "", *(f"- {md(key)}: {md(value)}" for key, value in provenance_rows(report["provenance"])), ""]
    return "\n".join(lines)


RULE_HEAD = ("rule", "asked", "found", "", "why")
COMPARISON_HEAD = ("effect", "interval", "p", "only candidate", "only other", "odds ratio", "smallest detectable", "at worst", "test")
FIELD_HEAD = ("field", "kind", "exact", "baseline exact", "F1", "baseline F1", "effect", "p (Holm)")
DISTANCE_HEAD = ("part of the test items", "n", "candidate", "baseline")
SLICE_HEAD = ("slice", "n", "candidate", "best baseline", "all other items", "p (Holm)", "")
CALIBRATION_HEAD = ("field", "ECE", "AURC", "kept at 90 % right", "kept at 95 % right", "kept at 99 % right")


def main_metrics(report: Mapping[str, Any]) -> list[str]:
    """The metrics of the overview table: the primary one first, those without any value left out."""
    names = dict.fromkeys((report["primary_metric"]["name"], *MAIN, *TIMES))
    return [name for name in names if any(s["metrics"][name]["value"] is not None for s in report["systems"])]


def number(metric: Mapping[str, Any] | None) -> str:
    """`0.912 (0.881 to 0.935)`, or why there is no number."""
    if metric is None:
        return "—"
    if metric["value"] is None:
        return f"— ({metric['reason']})"
    span = "" if metric["low"] is None or metric["high"] is None else f" ({metric['low']:.4g} to {metric['high']:.4g})"
    return f"{metric['value']:.4g}{span}"


def comparison_cells(found: Mapping[str, Any]) -> list[str]:
    """One comparison as the cells under COMPARISON_HEAD."""
    if found["effect"] is None:
        return [f"— ({found['reason']})", *[""] * (len(COMPARISON_HEAD) - 1)]
    plain = {key: "—" if found[key] is None else f"{found[key]:.4g}" for key in ("odds_ratio", "detectable", "detectable_worst")}
    counts = ["—" if found[key] is None else str(found[key]) for key in ("only_candidate", "only_other")]
    tail = [plain["odds_ratio"], plain["detectable"], plain["detectable_worst"], found["test"]]
    return [f"{found['effect']:+.4f}", span(found), p_cell(found["p_value"]), *counts, *tail]


def field_cells(field: Mapping[str, Any]) -> list[str]:
    """One field as the cells under FIELD_HEAD."""
    test = field["test"]
    effect = "—" if test is None or test["effect"] is None else f"{test['effect']:+.4f}"
    adjusted = "—" if test is None else p_cell(test["p_holm"])
    scores = [number(field[key]) for key in ("candidate_exact", "baseline_exact", "candidate_f1", "baseline_f1")]
    return [field["path"], field["kind"], *scores, effect, adjusted]


def slice_cells(row: Mapping[str, Any]) -> list[str]:
    """One slice as the cells under SLICE_HEAD."""
    rest = "—" if row["rest"] is None else f"{row['rest']:.4g}"
    mark = "worse than the rest" if row["worse"] else "better than the rest" if row["better"] else ""
    return [row["slice"], str(row["n"]), number(row["candidate"]), number(row["baseline"]), rest, p_cell(row["p_holm"]), mark]


def slice_words(found: Mapping[str, Any]) -> str:
    """What the table of slices holds, or why there is none."""
    if not found["rows"]:
        return f"No slice: {found['reason']}."
    said = f"{found['metric']} on parts of the test items, those that are surest worse than all other items first ({found['test']}; "
    said += f"p adjusted by Holm's method for all {found['found']} slices)."
    return said + (f" Left out as too small: {found['left_out']}." if found["left_out"] else "")


def rule_words(found: Mapping[str, Any]) -> str:
    """What was made of the rules of the task, and which of them do not apply."""
    broken = sum(not rule["held"] for rule in found["rules"])
    said = f"{len(found['rules'])} rules of the task were checked, {broken} of them do not hold."
    prompt = found["measured"].get("prompt", "unknown")
    return said + (" The model reads no prompt, so that nothing is asked of one." if prompt is None else "")


def rule_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The rules as rows of cells under RULE_HEAD."""
    outcomes = {True: "holds", False: "broken", None: "cannot be judged"}
    rows = []
    for rule in found["rules"]:
        value = "—" if rule["value"] is None else rule["value"] if isinstance(rule["value"], str) else f"{rule['value']:.4g}"
        rows.append([f"{rule['section']}: {rule['measure']}", rule["asked"], value, outcomes[rule["held"]], rule["why"]])
    return rows


def distance_words(found: Mapping[str, Any]) -> str:
    """What the table of distances holds."""
    said = f"{found['metric']} on all test items, and on those far from training: no training row is as near as {found['similarity']:g} "
    return said + "(Jaccard similarity of character 3-grams)."


def distance_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The parts as rows of cells under DISTANCE_HEAD."""
    return [[row["part"], str(row["n"]), number(row["candidate"]), number(row["baseline"])] for row in found["rows"]]


def calibration_cells(entry: Mapping[str, Any]) -> list[str]:
    """One field as the cells under CALIBRATION_HEAD."""
    kept = ["none" if t["threshold"] is None else f"{t['coverage']:.0%} (above {t['threshold']:.3f})" for t in entry["thresholds"]]
    return [entry["field"], number(entry["ece"]), number(entry["aurc"]), *(kept or ["—"] * 3)]


def outcome_lines(found: Mapping[str, Any] | None, names: Sequence[str]) -> list[str]:
    """How many items each side wins, and two rows of each outcome."""
    if found is None:
        return ["There is no baseline to win against.", ""]
    said = f"{names[0]} wins {found['wins']} items and loses {found['losses']} against {names[1]} by {found['metric']}; "
    said += f"{found['ties']} ties, {found['both_wrong']} of them wrong in both. {found['reason']}"
    lines = [md(said)]
    for key, title in (("wins", "Won"), ("losses", "Lost")):
        some = found["rows"][key][:2]
        lines += ["", f"{title}:", ""] if some else []
        lines += [line for one in some for line in example_lines(one, dict(zip(one["sides"], names)))]
    return [*lines, ""]


def example_lines(example: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """An item: the input, what was expected, what each side said."""
    said = [f"  - {md(titles[name])} {md(side['output'])}" for name, side in example["sides"].items()]
    return [f"- {md(example['input_text'])}", f"  - expected {md(example['expected'])}", *said]


def provenance_rows(found: Mapping[str, Any], above: str = "") -> list[list[str]]:
    """Name and value of everything in it, nested names joined with dots."""
    rows = []
    for key, value in found.items():
        name = f"{above}.{key}" if above else str(key)
        rows += provenance_rows(value, name) if isinstance(value, Mapping) else [[name, str(value)]]
    return rows


def span(found: Mapping[str, Any]) -> str:
    """An interval in a cell, with its level where that is given and not 95 %."""
    if found["low"] is None or found["high"] is None:
        return "—"
    return f"{found['low']:+.4f} to {found['high']:+.4f}" + ("" if found.get("level", 0.95) == 0.95 else f" ({found['level']:.0%})")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, an empty one last."""
    lines = [f"| {' | '.join(map(md, head))} |", "|" + " --- |" * len(head)]
    return [*lines, *(f"| {' | '.join(map(md, row))} |" for row in rows), ""]


def md(value: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
