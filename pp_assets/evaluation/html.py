"""The evaluation report as one HTML file."""

from collections.abc import Mapping, Sequence
from typing import Any

from pp_assets.evaluation.html_examples import example_html, outcomes_html
from pp_assets.evaluation.markdown import (
    CALIBRATION_HEAD,
    COMPARISON_HEAD,
    DISTANCE_HEAD,
    FIELD_HEAD,
    RULE_HEAD,
    SLICE_HEAD,
    calibration_cells,
    comparison_cells,
    distance_rows,
    distance_words,
    field_cells,
    main_metrics,
    number,
    provenance_rows,
    rule_rows,
    rule_words,
    slice_cells,
    slice_words,
)
from pp_assets.evaluation.plots import CELLS_UP_TO
from pp_assets.evaluation.webpage import Section, banner, commands, folded, items, page, picture, soft, table

_COLOURS = {"SHIP": "ship", "DO NOT SHIP": "stop", "NOT ENOUGH DATA": "wait"}
_MARKS = {"worse": "bad", "better": "good"}


def report_html(report: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """The whole page as text, with the pictures that `render_plots` makes of the report."""
    title, sections = f"{report['task']}: {report['candidate']}", [*report_sections(report, plots), *closing_sections(report)]
    return page(title, [report_banner(report), *sections])


def report_banner(report: Mapping[str, Any]) -> str:
    """The verdict with its reasons."""
    verdict = report["verdict"]
    counts = f"{report['items']} test items in {report['groups']} groups"
    return banner(report["task"], f"/ {report['candidate']}", _COLOURS[verdict["label"]], verdict["label"], counts, verdict["reasons"])


def report_sections(report: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[Section]:
    """What the answers show, in the order in which a reader asks."""
    return [
        Section("Systems", [_systems(report), picture(plots, "metrics", "Metrics with 95 % intervals")], flow=True),
        Section("Validation rules", [_rules(report)], flow=True),
        Section(
            "Comparisons",
            [
                _comparisons(report),
                picture(plots, "effects", "Gain over each other system, with intervals"),
                picture(plots, "scatter", "Quality by time of an answer, with intervals"),
            ],
        ),
        Section("Wins, losses and ties", [_outcomes(report)]),
        Section("Fields", [table(FIELD_HEAD, list(map(field_cells, report["fields"]))), picture(plots, "fields", "Exact match by field")]),
        Section("Slices", [_slices(report["slices"]), _distance(report), picture(plots, "slices", "The primary metric by slice")]),
        Section("Confusion", [_confusions(report, plots)]),
        Section("Calibration", [_calibration(report["calibration"]), *calibration_pictures(plots)]),
        Section("Latency", [picture(plots, "latency", "Latency by system") or soft("No time was stored.")], flow=True),
    ]


def closing_sections(report: Mapping[str, Any]) -> list[Section]:
    """Examples, everything that was measured, and how to make it again."""
    titles = _titles(report)
    worst = "".join(example_html(one, titles) for one in report["worst"]) or "<p>None: every item is right.</p>"
    invalid = [[name, p["problem"], str(p["count"])] for name, found in report["problems"].items() for p in found]
    return [
        Section("Worst examples", [worst]),
        Section("Invalid outputs", [table(["system", "problem", "count"], invalid) if invalid else ""], flow=True),
        Section("All metrics", [_all_metrics(report)]),
        Section("Notes", [items(report["notes"])], flow=True),
        Section("How to reproduce", [commands(report["reproduce"]), *_provenance(report)]),
    ]


def calibration_pictures(plots: Mapping[str, bytes]) -> list[str]:
    """Reliability, and risk over coverage."""
    shown = picture(plots, "risk_coverage", "What is wrong among the surest answers")
    return [picture(plots, "reliability", "Share right over confidence, with intervals"), shown]


def _titles(report: Mapping[str, Any]) -> dict[str, str]:
    titles = {"candidate": str(report["candidate"])}
    return titles | ({"baseline": str(report["best_baseline"])} if report["best_baseline"] else {})


def _systems(report: Mapping[str, Any]) -> str:
    shown = main_metrics(report)
    rows = [[s["name"], *(number(s["metrics"][m]) for m in shown), s["kind"], s["description"]] for s in report["systems"]]
    return table(["system", *shown, "kind", "what it is"], rows, {0: "candidate"})


def _rules(report: Mapping[str, Any]) -> str:
    if "validation" not in report:
        return ""
    found = report["validation"]
    marks = {i: "good" if rule["held"] else "bad" for i, rule in enumerate(found["rules"])}
    return f"{soft(rule_words(found))}{table(RULE_HEAD, rule_rows(found), marks)}"


def _comparisons(report: Mapping[str, Any]) -> str:
    rows = [[name, *comparison_cells(found)] for name, found in report["comparisons"].items()]
    return table([f"{report['candidate']} against", *COMPARISON_HEAD], rows) if rows else "<p>There is no other system.</p>"


def _outcomes(report: Mapping[str, Any]) -> str:
    return outcomes_html(report["outcomes"], _titles(report)) if report["outcomes"] else soft("There is no baseline to win against.")


def _slices(found: Mapping[str, Any]) -> str:
    marks = {i: _MARKS[mark] for i, row in enumerate(found["rows"]) for mark in _MARKS if row[mark]}
    listed = table(SLICE_HEAD, [slice_cells(row) for row in found["rows"]], marks) if found["rows"] else ""
    return f"{soft(slice_words(found))}{listed}"


def _distance(report: Mapping[str, Any]) -> str:
    if "distance" not in report:
        return ""
    return f"{soft(distance_words(report['distance']))}{table(DISTANCE_HEAD, distance_rows(report['distance']))}"


def _calibration(entries: Sequence[Mapping[str, Any]]) -> str:
    return table(CALIBRATION_HEAD, [calibration_cells(entry) for entry in entries])


def _confusions(report: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    shown, folds = [], []
    for path, found in report["confusion"][report["candidate"]].items():
        shown.append(picture(plots, f"confusion.{path}", f"Confusion matrix of {path}"))
        rows = [[top["expected"], top["answered"], str(top["count"])] for top in found["top"][:10]]
        large = f" ({found['classes']} classes)" if found["classes"] > CELLS_UP_TO else ""
        listed = table(["expected", "answered", "count"], rows) if rows else "<p>No confusion.</p>"
        folds.append(folded(f"{path}{large}: most frequent", listed, opened=not shown[-1]))
    return "\n".join([*shown, *folds]) or soft("No enum or boolean field.")


def _all_metrics(report: Mapping[str, Any]) -> str:
    found = [(system["name"], name, metric) for system in report["systems"] for name, metric in system["metrics"].items()]
    rows = [[system, name, number(m), str(m["n"]), m["method"]] for system, name, m in found]
    return folded("every metric of every system", table(["system", "metric", "value", "n", "method"], rows))


def _provenance(report: Mapping[str, Any]) -> list[str]:
    rows = provenance_rows(report.get("provenance") or {})
    return ["<h3>Provenance</h3>", table(["what", "value"], rows)] if rows else []
