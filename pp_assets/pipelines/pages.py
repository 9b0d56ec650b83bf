"""The report of a pipeline as Markdown and as a page: what was asked, the outcome, each step with its figures and what it used."""

from collections.abc import Mapping, Sequence
from typing import Any

from pp_assets.evaluation.markdown import md
from pp_assets.evaluation.markdown import table as md_table
from pp_assets.evaluation.webpage import Section, banner, items, page, picture, soft, table

FIGURE_HEAD = ("figure", "value (95 % interval)", "n", "why there is none")
STEP_HEAD = ("step", "seconds", "model calls", "result")
MADE_HEAD = ("made or used", "of", "state", "path")


def report_markdown(document: Mapping[str, Any]) -> str:
    """The outcome first, then the steps."""
    lines = [f"# {md(document['task'])}: {md(document['pipeline'])}", "", f"**{md(document['outcome'])}**", ""]
    lines += [*(f"- {md(reason)}" for reason in document["reasons"]), "", md(facts(document)), ""]
    lines += ["## Steps", "", *md_table(STEP_HEAD, step_rows(document))]
    for step in document["steps"]:
        lines += [f"## {md(step['name'])}", "", md(step["said"]), ""]
        if step["figures"]:
            lines += md_table(*figure_table(step))
        for one in step["tables"]:
            lines += [md(one["title"]), "", *md_table(one["head"], one["rows"])]
        if step["artifacts"]:
            lines += md_table(MADE_HEAD, made_rows(step))
        lines += [*(f"- {md(file)}" for file in step["files"]), ""]
    return "\n".join([*lines, "## What was asked", "", *md_table(("option", "value"), option_rows(document)), ""])


def report_html(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The same as a page, with the pictures of its steps."""
    title = f"{document['task']}: {document['pipeline']}"
    top = banner(document["task"], f"/ {document['pipeline']}", document["kind"], document["outcome"], facts(document), document["reasons"])
    sections: list[str | Section] = [top, soft(document["purpose"])]
    sections.append(Section("Steps", [table(STEP_HEAD, step_rows(document))], flow=True))
    for step in document["steps"]:
        parts = [soft(step["said"]), table(*figure_table(step)) if step["figures"] else ""]
        parts += [part for one in step["tables"] for part in (soft(one["title"]), table(one["head"], one["rows"]))]
        parts += [picture(pictures, file, step["name"]) for file in step["files"]]
        parts += [table(MADE_HEAD, made_rows(step)) if step["artifacts"] else "", items(step["files"])]
        sections.append(Section(step["name"], parts, flow=True))
    sections.append(Section("What was asked", [table(("option", "value"), option_rows(document))], flow=True))
    return page(title, sections)


def facts(document: Mapping[str, Any]) -> str:
    """When it ran and what it took, in a sentence."""
    spent = document["spent"]
    said = f"{document['at']}, {spent['seconds']:.0f} s, {spent['calls']} new model calls"
    opened = spent["test_openings"]
    return f"{said}, the test split was {f'opened {opened} times' if opened > 1 else 'opened once' if opened else 'not opened'}."


def step_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells under STEP_HEAD."""
    return [(step["name"], f"{step['seconds']:.1f}", str(step["calls"]), step["said"]) for step in document["steps"]]


def figure_rows(step: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells under FIGURE_HEAD."""
    return [
        (one["name"], _value(one), "–" if one["n"] is None else str(one["n"]), "" if one["value"] is not None else one["reason"])
        for one in step["figures"]
    ]


def figure_table(step: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(head, rows) of the figures; without the last column where every figure has a value."""
    rows = figure_rows(step)
    size = len(FIGURE_HEAD) - (not any(row[-1] for row in rows))
    return FIGURE_HEAD[:size], [row[:size] for row in rows]


def made_rows(step: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells under MADE_HEAD."""
    return [(one["kind"], one["key"], "found ready" if one["reused"] else "made", one["path"]) for one in step["artifacts"]]


def option_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Cells of each option as it was."""
    return [(name, _said(value)) for name, value in document["options"].items()]


def _said(value: Any) -> str:
    if value is None or value == []:
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _value(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    said = f"{figure['value']:.4g}{f' {unit}' if (unit := figure['unit']) else ''}"
    return said if figure["low"] is None or figure["high"] is None else f"{said} ({figure['low']:.4g} to {figure['high']:.4g})"
