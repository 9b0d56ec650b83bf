"""A suite as files: JSON, Markdown, and a page of HTML that loads nothing."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pp_assets.evaluation import html
from pp_assets.evaluation.markdown import md
from pp_assets.evaluation.markdown import table as md_table
from pp_assets.evaluation.suite import cells
from pp_assets.evaluation.suite.build import suite_json
from pp_assets.evaluation.suite.pictures import render_suite_plots

Part = tuple[str, Sequence[str], cells.Rows, str]  # heading, head of the table, its rows, name of a picture


def write_suite(document: Mapping[str, Any], out: Path) -> None:
    """Write `suite.json`, `.md`, `.html` and `plots/` into `out`."""
    plots = render_suite_plots(document)
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for name, data in plots.items():
        (out / "plots" / f"{name}.png").write_bytes(data)
    texts = {"json": suite_json(document), "md": suite_markdown(document), "html": suite_html(document, plots)}
    for suffix, text in texts.items():
        (out / f"suite.{suffix}").write_text(text, "utf-8", errors="backslashreplace")


def suite_markdown(document: Mapping[str, Any]) -> str:
    """Verdicts first, then each part as a table, then the notes."""
    lines = [f"# {md(document['task'])}: {md(document['variant'])}, comprehensive suite", "", _facts(document), ""]
    lines += ["## Verdicts", "", *md_table(("section", "name", "verdict", "numbers"), cells.verdict_rows(document))]
    for heading, head, rows, _ in _parts(document):
        lines += [f"## {heading}", "", *(md_table(head, rows) if rows else ["Nothing of this kind.", ""])]
    return "\n".join([*lines, "## Notes", "", *(f"- {md(note)}" for note in document["notes"]), ""])


def suite_html(document: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """The same as one file with the pictures in it."""
    title = f"{document['task']}: {document['variant']}, comprehensive suite"
    sections = [_banner(document), "<h2>Verdicts</h2>", html.table(("section", "name", "verdict", "numbers"), cells.verdict_rows(document))]
    for heading, head, rows, name in _parts(document):
        sections += [f"<h2>{escape(heading)}</h2>", html.picture(plots, name, heading)]
        sections.append(html.table(head, rows) if rows else "<p class=soft>Nothing of this kind.</p>")
        if name == "reliability":
            sections.append(html.picture(plots, "risk_coverage", "What is wrong among the surest answers"))
        if name == "robustness":
            sections += [_families(document), _examples(document)]
    return html.page(title, [*sections, "<h2>Notes</h2>", html.items(document["notes"])])


def _parts(document: Mapping[str, Any]) -> list[Part]:
    head, represented = cells.representation_rows(document)
    wordings = [*cells.pair_rows(document, "consistency"), *cells.pair_rows(document, "bias")]
    return [
        ("Robustness: edited inputs against the same inputs as they are", cells.FAMILY_HEAD, cells.family_rows(document), "robustness"),
        ("Consistency and bias: other wordings, other groups", cells.PAIR_HEAD, wordings, "flips"),
        ("Parity of groups in their answers", cells.PARITY_HEAD, cells.parity_rows(document), ""),
        ("Who is mentioned in the data", head, represented, ""),
        ("Fields with classes", cells.FIELD_HEAD, cells.field_rows(document), ""),
        ("Class by class", cells.CLASS_HEAD, cells.class_rows(document), ""),
        ("Texts", cells.TEXT_HEAD, cells.text_rows(document), ""),
        ("Lists and objects, matched item by item", cells.MATCH_HEAD, cells.match_rows(document), ""),
        ("Confidences", cells.CALIBRATION_HEAD, cells.calibration_rows(document), "reliability"),
    ]


def _banner(document: Mapping[str, Any]) -> str:
    wrong = [line for line in document["verdicts"] if line["verdict"] in ("degrades", "differs")]
    unknown = [line for line in document["verdicts"] if line["verdict"] == "cannot tell"]
    held = len(document["verdicts"]) - len(wrong) - len(unknown)
    said = f"{held} hold, {len(wrong)} do not, {len(unknown)} cannot be told"
    lines = [f"{line['section']} {line['name']}: {line['verdict']}" for line in wrong]
    kind = "stop" if wrong else "wait" if unknown else "ship"
    return (
        f'<h1>{escape(document["task"])} <span class="soft">/ {escape(document["variant"])}, comprehensive suite</span></h1>'
        f'<div class="banner {kind}"><b>{said}</b> <p class="soft">{escape(_facts(document))}</p>{html.items(lines)}</div>'
    )


def _facts(document: Mapping[str, Any]) -> str:
    calls, clean = document["model_calls"], document["clean"]["object_exact_match"]
    return (
        f"{document['test_items']} test items in {document['groups']} groups, {document['edited_items']} of them edited; "
        f"{calls['texts_answered']} texts answered ({calls['texts_wanted']} wanted). As they are, {clean['value']:.1%} of whole objects "
        f"are right ({clean['low']:.1%} to {clean['high']:.1%})."
    )


def _families(document: Mapping[str, Any]) -> str:
    found = document["robustness"]["families"]
    return html.items(
        [f"{name}: {one['what']}" + (f" ({one['skipped']} not possible)" if one["skipped"] else "") for name, one in found.items()]
    )


def _examples(document: Mapping[str, Any]) -> str:
    parts = []
    for name, found in document["robustness"]["families"].items():
        for one in found.get("examples", []):
            rows = "".join(
                f"<tr><td>{key}</td><td><pre>{escape(str(one[key]))}</pre></td></tr>" for key in ("input", "expected", "answered")
            )
            facts = f"{name}, {one['operator']}, severity {one['severity']}, item {one['item_id']}"
            parts.append(f'<div class="example"><span class="soft">{escape(facts)}</span><table>{rows}</table></div>')
    return (
        f"<details><summary>answers that were right before an edit and wrong after it</summary>{''.join(parts)}</details>" if parts else ""
    )
