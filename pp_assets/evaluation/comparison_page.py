"""A comparison of two systems as one HTML file, as Markdown and as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pp_assets.evaluation.ab import path_plot
from pp_assets.evaluation.comparison import stopped
from pp_assets.evaluation.comparison_rows import (
    FIELD_HEAD,
    LOOK_HEAD,
    METRIC_HEAD,
    SLICE_HEAD,
    TEST_HEAD,
    evidence_rows,
    field_rows,
    look_rows,
    metric_rows,
    slice_rows,
)
from pp_assets.evaluation.confidence_plots import confidence_scatter, reliability
from pp_assets.evaluation.drawing import BLUE, GREY, Bar, forest
from pp_assets.evaluation.html_examples import outcomes_html
from pp_assets.evaluation.markdown import CALIBRATION_HEAD as ECE_HEAD
from pp_assets.evaluation.markdown import calibration_cells, md, outcome_lines, provenance_rows
from pp_assets.evaluation.markdown import table as md_table
from pp_assets.evaluation.plots import metric_bars
from pp_assets.evaluation.score_plots import Point, against_each_other
from pp_assets.evaluation.webpage import Section, banner, commands, items, page, picture, soft, table
from pp_resources.artifacts import check_place
from pp_resources.errors import UserError

SUFFIXES = (".html", ".md", ".json")
TAIL = 24  # letters of a name in a picture


def check_files(files: list[Path]) -> None:
    """Raise UserError for a file that no report can be written to, before anything is computed."""
    for file in files:
        if file.suffix not in SUFFIXES:
            how = f"end the name in {', '.join(SUFFIXES)}"
            raise UserError("its name does not tell what kind of report it is", where=str(file), how=how)
        check_place(file)


def write_comparison(document: Mapping[str, Any], files: list[Path]) -> None:
    """Write the document to each file, as its suffix says."""
    for file in files:
        texts = {".html": comparison_html, ".md": comparison_markdown, ".json": comparison_json}
        file.write_text(texts[file.suffix](document), "utf-8", errors="backslashreplace")


def comparison_json(document: Mapping[str, Any]) -> str:
    """The document itself."""
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def comparison_markdown(document: Mapping[str, Any]) -> str:
    """The verdict first, then what the page has, without pictures and with fewer rows."""
    names, verdict = _names(document), document["verdict"]
    lines = [f"# {md(document['task'])}: {md(names[0])} against {md(names[1])}", "", f"**{verdict['label']}**", ""]
    lines += [*(f"- {md(reason)}" for reason in verdict["reasons"]), "", md(_facts(document)), ""]
    lines += [*(f"- {md(one)}" for one in _legend(document)), ""]
    lines += ["## Metrics", "", *md_table(METRIC_HEAD, metric_rows(document))]
    lines += ["## Tests", "", *md_table(TEST_HEAD, evidence_rows(document))]
    lines += ["## Wins, losses and ties", "", *outcome_lines(document["outcomes"], ("A", "B"))]
    lines += ["## Fields", "", *md_table(FIELD_HEAD, field_rows(document))]
    slices = slice_rows(document)
    lines += ["## Slices", "", *(md_table(SLICE_HEAD, slices) if slices else [f"{document['slices']['reason']}.", ""])]
    lines += ["## Calibration", "", *md_table(ECE_HEAD, _calibration(document))]
    if document["sequential"]:
        lines += [
            "## Sequential test",
            "",
            md(stopped(document["sequential"])),
            "",
            *md_table(LOOK_HEAD, look_rows(document["sequential"])),
        ]
    told = [f"- {md(key)}: {md(value)}" for key, value in provenance_rows(document["reproduce"])]
    return "\n".join([*lines, "## How to reproduce", "", *told, ""])


def comparison_html(document: Mapping[str, Any]) -> str:
    """The page: verdict, metrics, tests, rows behind them, fields, slices, confidences, how to make it again."""
    names, verdict, plots = _names(document), document["verdict"], comparison_plots(document)
    label = verdict["label"]
    top = banner(document["task"], "/ A against B", verdict["kind"], label, _facts(document), verdict["reasons"])
    marks = {i: "good" if row["effect"] > 0 else "bad" for i, row in enumerate(document["slices"]["rows"]) if _sure(row, document)}
    fields = {i: "good" if f["test"]["effect"] > 0 else "bad" for i, f in enumerate(document["fields"]) if _sure(f["test"], document)}
    slices = slice_rows(document)
    about = f"{document['slices']['metric']} on parts of the test items, those where A loses most surely first; p adjusted by Holm"
    sections: list[str | Section] = [
        top,
        items(_legend(document)),
        Section("Metrics", [table(METRIC_HEAD, metric_rows(document)), picture(plots, "metrics", "Metrics of A and B")], flow=True),
        Section("Tests", [table(TEST_HEAD, evidence_rows(document)), picture(plots, "effects", "A - B by field")], flow=True),
        Section("Wins, losses and ties", [outcomes_html(document["outcomes"], dict(zip(("a", "b"), ("A", "B"))))]),
        Section("Fields", [table(FIELD_HEAD, field_rows(document), fields), picture(plots, "scores", "Fields and slices, A over B")]),
        Section("Slices", [soft(about), table(SLICE_HEAD, slices, marks)] if slices else [soft(f"{document['slices']['reason']}.")]),
        Section(
            "Confidences",
            [
                table(ECE_HEAD, _calibration(document)),
                picture(plots, "confidences", "Confidence of A over that of B") or soft(f"{document['confidences']['reason']}."),
                picture(plots, "reliability", "Share right over confidence"),
            ],
        ),
        Section("Sequential test", _sequential(document, plots)),
        Section("How to reproduce", _reproduce(document), flow=True),
    ]
    return page(f"{document['task']}: {names[0]} against {names[1]}", sections)


def comparison_plots(document: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG bytes by name, those that have data."""
    names = _names(document)
    called = {key: f"{key.upper()}: {_tail(name)}" for key, name in zip(("a", "b"), names)}
    systems = [{"name": name, "metrics": document["metrics"][key]} for key, name in called.items()]
    whole = document["comparison"]
    effects = [Bar(document["metric"], whole["effect"], whole["low"], whole["high"])]
    effects += [Bar(f["path"], f["test"]["effect"], f["test"]["low"], f["test"]["high"]) for f in document["fields"]]
    points = [Point(f["path"], f["b_exact"], f["a_exact"], BLUE) for f in document["fields"]]
    points += [Point("", row["b"], row["a"], GREY) for row in document["slices"]["rows"]]
    entries = [{**document["calibration"][key], "field": name} for key, name in called.items()]
    plots = {
        "metrics": metric_bars(systems, document["metric"], systems[0]["name"]),
        "effects": forest(effects, "A - B with intervals: the metric, then each field", {0.0: "-"}),
        "scores": against_each_other(points, names, "fields (blue) and slices (grey), with intervals"),
        "confidences": confidence_scatter(document["confidences"]["points"], names),
        "reliability": reliability(entries),
        "path": path_plot(document["sequential"], ("A", "B")) if document["sequential"] else None,
    }
    return {name: data for name, data in plots.items() if data is not None}


def _calibration(document: Mapping[str, Any]) -> list[list[str]]:
    return [calibration_cells({**document["calibration"][key], "field": f"{key.upper()}, whole object"}) for key in ("a", "b")]


def _reproduce(document: Mapping[str, Any]) -> list[str]:
    told = document["reproduce"]
    rest = provenance_rows({key: value for key, value in told.items() if key != "command"})
    return [commands([{"command": told["command"], "what": "reads stored answers; no model runs"}]), table(("what", "value"), rest)]


def _sequential(document: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    path = document["sequential"]
    if not path:
        return []
    return [soft(stopped(path)), picture(plots, "path", "Interval over items revealed"), table(LOOK_HEAD, look_rows(path))]


def _tail(name: str) -> str:
    """The end of a long name, which tells systems of one task apart."""
    return name if len(name) <= TAIL else f"…{name[1 - TAIL :]}"


def _names(document: Mapping[str, Any]) -> tuple[str, str]:
    return str(document["a"]["name"]), str(document["b"]["name"])


def _legend(document: Mapping[str, Any]) -> list[str]:
    return [f"{key.upper()}: {name}" for key, name in zip(("a", "b"), _names(document))]


def _facts(document: Mapping[str, Any]) -> str:
    told = f"{document['metric']} on {document['n']} test items in {document['groups']} groups"
    return f"{told}; intervals are {document['comparison']['level']:.0%}"


def _sure(row: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    return row["p_holm"] is not None and row["p_holm"] < document["alpha"]
