"""The report as one HTML file: pictures inline, no script, nothing loaded from anywhere, every value escaped."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pp_assets.evaluation.markdown import COMPARISON_HEAD, FIELD_HEAD, comparison_cells, field_cells, main_metrics, number
from pp_assets.evaluation.plots import CELLS_UP_TO, render_plots

_COLOURS = {"SHIP": "ship", "DO NOT SHIP": "stop", "NOT ENOUGH DATA": "wait"}
CSS = """
:root{--ink:#1e293b;--soft:#64748b;--line:#e2e8f0;--back:#f8fafc}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:24px;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff}
h1{font-size:22px;margin:0 0 12px} h2{font-size:17px;margin:36px 0 10px;border-bottom:1px solid var(--line);padding-bottom:4px}
.banner{border-left:8px solid;border-radius:6px;padding:14px 20px;background:var(--back)}
.banner b{font-size:24px;letter-spacing:.5px} .banner ul{margin:8px 0 0;padding-left:20px}
.ship{border-color:#15803d} .ship b{color:#15803d} .stop{border-color:#b42318} .stop b{color:#b42318}
.wait{border-color:#a16207} .wait b{color:#a16207}
.scroll{overflow-x:auto} .scroll td{min-width:88px} table{border-collapse:collapse;font-size:13px;width:100%}
th,td{border-bottom:1px solid var(--line);padding:5px 9px;text-align:left;vertical-align:top} th{color:var(--soft);font-weight:600}
tr.candidate td{background:#eff6ff} figure{margin:14px 0;display:inline-block;max-width:100%} img{max-width:100%;height:auto}
.soft{color:var(--soft)} pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.45 ui-monospace,monospace}
.example{border:1px solid var(--line);border-radius:6px;padding:12px 16px;margin:12px 0} .example table{table-layout:fixed;margin-top:8px}
.same{color:#15803d} .differs{background:#fef2f2;color:#b42318} details{margin-top:8px} summary{cursor:pointer;color:var(--soft)}
"""


def report_html(report: Mapping[str, Any]) -> str:
    """The whole page as text."""
    plots = render_plots(report)
    title = f"{report['task']}: {report['candidate']}"
    sections = [
        _banner(report),
        "<h2>Systems</h2>",
        _systems(report),
        picture(plots, "metrics", "Metrics with 95 % intervals"),
        "<h2>Comparisons</h2>",
        _comparisons(report),
        picture(plots, "effects", "Gain over each other system, with intervals"),
        "<h2>Fields</h2>",
        table(FIELD_HEAD, list(map(field_cells, report["fields"]))),
        picture(plots, "fields", "Exact match by field"),
        "<h2>Confusion</h2>",
        _confusions(report, plots),
        "<h2>Latency</h2>",
        picture(plots, "latency", "Latency by system") or "<p class=soft>No time was stored.</p>",
        "<h2>Worst examples</h2>",
        *[_example(e) for e in report["worst"]],
        "" if report["worst"] else "<p>None: every item is right.</p>",
        _invalid(report),
        "<h2>All metrics</h2>",
        _all_metrics(report),
        "<h2>Notes</h2>",
        items(report["notes"]),
        _provenance(report),
    ]
    return page(title, sections)


def page(title: str, sections: Sequence[str]) -> str:
    """A whole page from pieces of HTML, empty ones left out."""
    # The policy lets nothing load or run, whatever a model may have written.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{CSS}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(filter(None, sections)) + "\n</body></html>\n"


def _banner(report: Mapping[str, Any]) -> str:
    verdict = report["verdict"]
    counts = f"{report['items']} test items in {report['groups']} groups"
    return (
        f'<h1>{escape(report["task"])} <span class="soft">/ {escape(report["candidate"])}</span></h1>'
        f'<div class="banner {_COLOURS[verdict["label"]]}"><b>{escape(verdict["label"])}</b> <span class="soft">{counts}</span>'
        f"{items(verdict['reasons'])}</div>"
    )


def _systems(report: Mapping[str, Any]) -> str:
    shown = main_metrics(report)
    rows = [[s["name"], s["kind"], s["description"], *(number(s["metrics"][m]) for m in shown)] for s in report["systems"]]
    return table(["system", "kind", "what it is", *shown], rows, mark=0)


def _comparisons(report: Mapping[str, Any]) -> str:
    rows = [[name, *comparison_cells(found)] for name, found in report["comparisons"].items()]
    return table([f"{report['candidate']} against", *COMPARISON_HEAD], rows) if rows else "<p>There is no other system.</p>"


def _confusions(report: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    parts = []
    for path, found in report["confusion"][report["candidate"]].items():
        shown = picture(plots, f"confusion.{path}", f"Confusion matrix of {path}")
        rows = [[top["expected"], top["answered"], str(top["count"])] for top in found["top"][:10]]
        large = f" ({found['classes']} classes)" if found["classes"] > CELLS_UP_TO else ""
        listed = table(["expected", "answered", "count"], rows) if rows else "<p>No confusion.</p>"
        opened = "" if shown else " open"
        parts.append(f"{shown}<details{opened}><summary>{escape(path)}{large}: most frequent</summary>{listed}</details>")
    return "\n".join(parts) or "<p class=soft>No enum or boolean field.</p>"


def _example(example: Mapping[str, Any]) -> str:
    head = ["field", "expected", "candidate", *(["best baseline"] if example["baseline"] is not None else [])]
    rows = []
    for path, values in example["values"].items():
        cells = [f"<td>{escape(path)}</td><td><pre>{escape(values['expected'])}</pre></td>"]
        cells.append(f'<td class="differs"><pre>{_value(values["candidate"])}</pre></td>')
        if example["baseline"] is not None:
            mark = "differs" if path in example["baseline_wrong_fields"] else "same"
            cells.append(f'<td class="{mark}"><pre>{_value(values["baseline"])}</pre></td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    said = [(name, example[name]) for name in ("expected", "candidate", "baseline") if example[name] is not None]
    whole = [f"<tr><td>{name}</td><td><pre>{escape(text)}</pre></td></tr>" for name, text in said]
    facts = [f"item {example['item_id']}"]
    facts += [f"confidence {example['confidence']:.3f}"] if example["confidence"] is not None else []
    facts += ["the best baseline is right here"] if example["baseline_right"] else []
    facts += [f"invalid: {example['problem']}"] if example["problem"] else []
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    return (
        f'<div class="example"><pre>{escape(example["input_text"])}</pre><span class="soft">{escape("; ".join(facts))}</span>'
        f"<table><tr>{top}</tr>{''.join(rows)}</table>"
        f"<details><summary>whole outputs</summary><table>{''.join(whole)}</table></details></div>"
    )


def _invalid(report: Mapping[str, Any]) -> str:
    rows = [[name, p["problem"], str(p["count"])] for name, found in report["problems"].items() for p in found]
    return f"<h2>Invalid outputs</h2>{table(['system', 'problem', 'count'], rows)}" if rows else ""


def _all_metrics(report: Mapping[str, Any]) -> str:
    rows = []
    for system in report["systems"]:
        for name, m in system["metrics"].items():
            rows.append([system["name"], name, number(m), str(m["n"]), m["method"]])
    return f"<details><summary>every metric of every system</summary>{table(['system', 'metric', 'value', 'n', 'method'], rows)}</details>"


def _provenance(report: Mapping[str, Any]) -> str:
    rows = [[str(key), str(value)] for key, value in (report.get("provenance") or {}).items()]
    return f"<h2>Provenance</h2>{table(['what', 'value'], rows)}" if rows else ""


def picture(plots: Mapping[str, bytes], name: str, alt: str) -> str:
    """A plot inline, nothing where there is none of that name."""
    if name not in plots:
        return ""
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{b64encode(plots[name]).decode()}"></figure>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], mark: int | None = None) -> str:
    """A table of escaped cells; row `mark` stands out."""
    lines = [f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>"]
    for i, row in enumerate(rows):
        lines.append(f"<tr{' class=candidate' if i == mark else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def items(lines: Sequence[str]) -> str:
    """A list of escaped lines."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _value(text: str | None) -> str:
    return "<i>none</i>" if text is None else escape(text)
