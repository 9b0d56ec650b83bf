"""A suite as files: JSON, Markdown, and a page of HTML that loads nothing. The page is that of the whole evaluation: it begins with the
verdict and the sections of the report that the suite was run for."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pp_assets.evaluation import markdown as report_words
from pp_assets.evaluation.html import closing_sections, report_banner, report_sections
from pp_assets.evaluation.markdown import md
from pp_assets.evaluation.markdown import table as md_table
from pp_assets.evaluation.plots import render_plots
from pp_assets.evaluation.suite import cells
from pp_assets.evaluation.suite.build import suite_json
from pp_assets.evaluation.suite.pictures import render_suite_plots
from pp_assets.evaluation.webpage import Section, folded, items, page, picture, soft, table

Part = tuple[str, Sequence[str], cells.Rows, str]  # heading, head of the table, its rows, name of a picture
VERDICT_HEAD = ("section", "name", "verdict", "numbers")
_MARKS = {"degrades": "bad", "differs": "bad"}


def write_suite(document: Mapping[str, Any], out: Path, report: Mapping[str, Any]) -> None:
    """Write `suite.json`, `.md`, `.html` and `plots/` into `out`; `report` is the evaluation's."""
    plots = render_suite_plots(document)
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for name, data in plots.items():
        (out / "plots" / f"{name}.png").write_bytes(data)
    texts = {"json": suite_json(document), "md": suite_markdown(document, report), "html": suite_html(document, plots, report)}
    for suffix, text in texts.items():
        (out / f"suite.{suffix}").write_text(text, "utf-8", errors="backslashreplace")


def suite_markdown(document: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """The evaluation's verdict, those of the suite, then each part as a table, then the notes."""
    lines = [f"# {md(document['task'])}: {md(document['variant'])}, comprehensive suite", "", f"**{report['verdict']['label']}**", ""]
    lines += [*(f"- {md(reason)}" for reason in report["verdict"]["reasons"]), "", _facts(document), ""]
    lines += ["## Verdicts", "", *md_table(VERDICT_HEAD, cells.verdict_rows(document))]
    confidences = ("Confidences", report_words.CALIBRATION_HEAD, cells.calibration_rows(document), "reliability")
    for heading, head, rows, _ in (*_parts(document), confidences):
        lines += [f"## {heading}", "", *(md_table(head, rows) if rows else ["Nothing of this kind.", ""])]
    return "\n".join([*lines, "## Notes", "", *(f"- {md(note)}" for note in document["notes"]), ""])


def suite_html(document: Mapping[str, Any], plots: Mapping[str, bytes], report: Mapping[str, Any]) -> str:
    """The evaluation with all that the suite found: the report's verdict, the suite's, the report's sections, those of the suite.

    Confidences are told once, by the report: the suite's are of the same model on the same items, and stand in its JSON and Markdown.
    """
    title = f"{document['task']}: {document['variant']}, comprehensive suite"
    marks = {i: _MARKS[line["verdict"]] for i, line in enumerate(document["verdicts"]) if line["verdict"] in _MARKS}
    verdicts = [_banner(document), table(VERDICT_HEAD, cells.verdict_rows(document), marks)]
    sections = [Section("Verdicts of the suite", verdicts, flow=True), *report_sections(report, render_plots(report))]
    for heading, head, rows, name in _parts(document):
        shown = [picture(plots, name, heading), table(head, rows) if rows else soft("Nothing of this kind.")]
        if name == "robustness":
            shown += [_families(document), _examples(document)]
        sections.append(Section(heading, shown, flow=not rows))
    *closing, reproduce = closing_sections(report)
    about = Section("Notes on the suite", [items(document["notes"])], flow=True)
    return page(title, [report_banner(report), *sections, *closing, about, reproduce])


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
    ]


def _banner(document: Mapping[str, Any]) -> str:
    wrong = [line for line in document["verdicts"] if line["verdict"] in _MARKS]
    unknown = [line for line in document["verdicts"] if line["verdict"] == "cannot tell"]
    held = len(document["verdicts"]) - len(wrong) - len(unknown)
    said = f"{held} hold, {len(wrong)} do not, {len(unknown)} cannot be told"
    kind = "stop" if wrong else "wait" if unknown else "ship"
    return f'<div class="banner {kind}"><b>{said}</b> <p class="soft">{escape(_facts(document))}</p></div>'


def _facts(document: Mapping[str, Any]) -> str:
    calls, clean = document["model_calls"], document["clean"]["object_exact_match"]
    return (
        f"{document['test_items']} test items in {document['groups']} groups, {document['edited_items']} of them edited; "
        f"{calls['texts_answered']} texts answered ({calls['texts_wanted']} wanted). As they are, {clean['value']:.1%} of whole objects "
        f"are right ({clean['low']:.1%} to {clean['high']:.1%})."
    )


def _families(document: Mapping[str, Any]) -> str:
    found = document["robustness"]["families"]
    return items(
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
    return folded("answers that were right before an edit and wrong after it", "".join(parts))
