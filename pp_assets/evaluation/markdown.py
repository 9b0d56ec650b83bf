"""The report as Markdown, for terminals, pull requests and model cards."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pp_assets.evaluation.verdict import format_p

MAIN = ("object_exact_match", "field_exact_mean", "value_f1", "schema_valid_rate", "valid_but_wrong_rate", "not_in_input_rate")
TIMES = ("latency_ms_p50", "latency_ms_p95")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def report_markdown(report: Mapping[str, Any]) -> str:
    """Verdict first, then systems, comparisons, fields, confusions, worst examples and notes."""
    verdict = report["verdict"]
    lines = [f"# {md(report['task'])}: {md(report['candidate'])}", "", f"**{verdict['label']}**", ""]
    lines += [f"- {md(reason)}" for reason in verdict["reasons"]]
    lines += ["", f"{report['items']} test items in {report['groups']} groups. Intervals are 95 % unless another level is given.", ""]
    lines += ["## Systems", ""]
    shown = main_metrics(report)
    rows = [[s["name"], s["kind"], *(number(s["metrics"][m]) for m in shown)] for s in report["systems"]]
    lines += table(["system", "kind", *shown], rows)
    lines += ["## Comparisons", ""]
    rows = [[name, *comparison_cells(found)] for name, found in report["comparisons"].items()]
    lines += table([f"{report['candidate']} against", *COMPARISON_HEAD], rows) if rows else ["There is no other system.", ""]
    lines += ["## Fields", ""]
    lines += table(FIELD_HEAD, [field_cells(field) for field in report["fields"]])
    lines += ["## Most frequent confusions", ""]
    found = [(path, top) for path, c in report["confusion"][report["candidate"]].items() for top in c["top"][:5]]
    rows = [[path, top["expected"], top["answered"], str(top["count"])] for path, top in found]
    lines += table(["field", "expected", "answered", "count"], rows) if rows else ["None.", ""]
    lines += ["## Worst examples", ""]
    for example in report["worst"][:5]:
        lines += [f"- {md(example['input_text'])}"]
        lines += [f"  - expected {md(example['expected'])}", f"  - candidate {md(example['candidate'])}"]
        lines += [f"  - baseline {md(example['baseline'])}"] if example["baseline"] is not None else []
    lines += ["" if report["worst"] else "None: every item is right.", "## Notes", "", *(f"- {md(note)}" for note in report["notes"]), ""]
    if report.get("provenance"):
        lines += ["## Provenance", "", *(f"- {md(key)}: {md(value)}" for key, value in report["provenance"].items()), ""]
    return "\n".join(lines)


COMPARISON_HEAD = ("effect", "interval", "p", "only candidate", "only other", "odds ratio", "smallest detectable", "at worst", "test")
FIELD_HEAD = ("field", "kind", "exact", "baseline exact", "F1", "baseline F1", "effect", "p (Holm)")


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
    return [f"{found['effect']:+.4f}", _span(found), format_p(found["p_value"]).removeprefix("= "), *counts, *tail]


def field_cells(field: Mapping[str, Any]) -> list[str]:
    """One field as the cells under FIELD_HEAD."""
    test = field["test"]
    effect = "—" if test is None or test["effect"] is None else f"{test['effect']:+.4f}"
    adjusted = "—" if test is None or test["p_holm"] is None else format_p(test["p_holm"]).removeprefix("= ")
    scores = [number(field[key]) for key in ("candidate_exact", "baseline_exact", "candidate_f1", "baseline_f1")]
    return [field["path"], field["kind"], *scores, effect, adjusted]


def _span(found: Mapping[str, Any]) -> str:
    if found["low"] is None or found["high"] is None:
        return "—"
    return f"{found['low']:+.4f} to {found['high']:+.4f}" + ("" if found["level"] == 0.95 else f" ({found['level']:.0%})")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, an empty one last."""
    lines = [f"| {' | '.join(map(md, head))} |", "|" + " --- |" * len(head)]
    return [*lines, *(f"| {' | '.join(map(md, row))} |" for row in rows), ""]


def md(value: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
