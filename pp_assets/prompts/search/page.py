"""What a search found as pages: report.md, report.html, front.png."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pp_assets.evaluation.markdown import md
from pp_assets.evaluation.markdown import table as md_table
from pp_assets.evaluation.metrics import Metric
from pp_assets.evaluation.verdict import p_cell
from pp_assets.evaluation.webpage import Section, banner, folded, items, page, picture, soft, table, verbatim
from pp_assets.prompts.measured import chosen_by
from pp_assets.prompts.search.pareto import pareto_plot
from pp_assets.prompts.search.run import Found
from pp_assets.prompts.search.tree import Tree, last_judged, tree_lines
from pp_assets.task.spec import TaskSpec

FINALIST_HEAD = ("candidate", "source", "score (95 % interval)", "n", "tokens", "ms", "invalid", "nothing beats it")
FLOOR_HEAD = ("what may not be worse", "n", "effect", "p (Holm)", "")
COUNT_HEAD = ("what", "search", "test")
TREE_HEAD = ("candidate", "made from", "by", "state", "score", "rows", "what it is")
FLOORS = "The chosen prompt less the task's own on the test rows, with 95 % intervals. A part that is surely worse forbids the release."
PROBE = "As a model reads it, around an input that is made up: it has quotes, a line end and letters that are no ASCII."
_COLOURS = {"RELEASE": "ship", "WORSE": "stop", "NOT PROVEN": "wait"}


def write_page(out: Path, spec: TaskSpec, told: Mapping[str, Any], found: Found, tree: Tree, prompt: Mapping[str, Any]) -> None:
    """report.md, report.html and front.png in `out`."""
    plot = pareto_plot(found.points, {one.candidate: _source(found, tree, one.candidate) for one in found.points}, told["metric"])
    (out / "front.png").write_bytes(plot)
    finalists = finalist_rows(spec, found, tree)
    (out / "report.html").write_text(_html(told, found, tree, prompt, finalists, plot), "utf-8")
    (out / "report.md").write_text(_markdown(told, found, tree, prompt, finalists), "utf-8")


def finalist_rows(spec: TaskSpec, found: Found, tree: Tree) -> list[list[str]]:
    """Cells under FINALIST_HEAD, the best first."""
    rows = []
    for judged, one in zip(found.finalists, found.points, strict=True):
        cells = [*_score(chosen_by(spec, judged)), f"{one.tokens:.1f}", f"{one.latency_ms:.1f}", f"{one.invalid:.2%}"]
        rows.append([one.candidate, _source(found, tree, one.candidate), *cells, "yes" if one.front else ""])
    return rows


def tree_rows(nodes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Cells under TREE_HEAD, in the order in which candidates came up."""
    rows = []
    for node in nodes:
        value, count = last_judged(node)
        score = ["–", "0"] if value is None else [f"{value:.4f}", str(count)]
        why = "; ".join(node["reasons"]) or node["note"]
        rows.append([node["id"], ", ".join(node["parents"]) or "–", node["source"], node["state"], *score, why])
    return rows


def floor_rows(floors: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Cells under FLOOR_HEAD."""
    return [[one["of"], str(one["n"]), _effect(one), p_cell(one["p_holm"]), "WORSE" if one["worse"] else ""] for one in floors]


def count_rows(told: Mapping[str, Any]) -> list[list[str]]:
    """Cells under COUNT_HEAD."""
    named = (("model calls", "calls"), ("tokens", "tokens"), ("US dollars", "cost_usd"))
    return [[what, _cost(told[key]), _cost(told[f"test_{key}"])] for what, key in named]


def _html(
    told: Mapping[str, Any], found: Found, tree: Tree, prompt: Mapping[str, Any], finalists: Sequence[Sequence[str]], plot: bytes
) -> str:
    counts = f"{told['calls']} calls to search, {told['test_calls']} to test"
    said = "".join(f"<h3>{message['role']}</h3>{verbatim(message['content'])}" for message in prompt["messages"])
    marks = {i: "candidate" for i, one in enumerate(found.points) if one.candidate == told["best"]}
    parts: list[str | Section] = [
        banner(told["task"], f"/ prompt of {told['target']}", _COLOURS[told["verdict"]], told["verdict"], counts, told["reasons"]),
        Section(
            "Finalists",
            [
                soft(_chosen(told)),
                table(FINALIST_HEAD, finalists, marks),
                picture({"front": plot}, "front", "Quality over tokens"),
            ],
        ),
        Section(
            "Floors",
            [soft(FLOORS), table(FLOOR_HEAD, floor_rows(found.ruling.floors))]
            if found.ruling.floors
            else [soft("The test split was not opened.")],
        ),
        Section("What it took", [table(COUNT_HEAD, count_rows(told))], flow=True),
        Section(
            "Where it comes from",
            [items([_origin(one) for one in prompt["origin"]]), folded("all candidates", table(TREE_HEAD, tree_rows(tree.plain)))],
        ),
        Section("The prompt", [soft(PROBE), said]),
    ]
    return page(f"{told['task']}: prompt search", parts)


def _markdown(told: Mapping[str, Any], found: Found, tree: Tree, prompt: Mapping[str, Any], finalists: Sequence[Sequence[str]]) -> str:
    lines = [
        f"# {md(told['task'])}: prompt of {md(told['target'])}",
        "",
        f"**{told['verdict']}**",
        "",
        *(f"- {md(one)}" for one in told["reasons"]),
    ]
    lines += ["", "## Finalists", "", md(_chosen(told)), "", *md_table(FINALIST_HEAD, finalists)]
    if found.ruling.floors:
        lines += ["## Floors", "", FLOORS, "", *md_table(FLOOR_HEAD, floor_rows(found.ruling.floors))]
    lines += ["## What it took", "", *md_table(COUNT_HEAD, count_rows(told))]
    lines += ["## Where it comes from", "", *(f"- {md(_origin(one))}" for one in prompt["origin"]), ""]
    lines += ["## All candidates", "", "```", *tree_lines(tree.plain), "```", ""]
    lines += ["## The prompt", "", PROBE, ""]
    for message in prompt["messages"]:
        lines += [f"{message['role']}:", "", *(f"    {line}" for line in message["content"].splitlines()), ""]
    return "\n".join(lines)


def _chosen(told: Mapping[str, Any]) -> str:
    rows = f"{told['val_rows']} rows that candidates were chosen by"
    return f"Scores ({told['metric']}) on the {rows}, which flatters the best: only the test tells what it is worth."


def _origin(one: Mapping[str, Any]) -> str:
    return f"{one['id']}: {one['source']}" + (f" by {one['by']}" if one["by"] else "") + (f" ({one['note']})" if one["note"] else "")


def _source(found: Found, tree: Tree, name: str) -> str:
    return "the task's own" if name == found.start.id else str(tree.nodes[name]["source"])


def _score(one: Metric) -> tuple[str, str]:
    """Value with its interval, and n."""
    if one.value is None:
        return f"– ({one.reason})", "0"
    ends = "" if one.low is None or one.high is None else f" ({one.low:.4f} to {one.high:.4f})"
    return f"{one.value:.4f}{ends}", str(one.n)


def _effect(one: Mapping[str, Any]) -> str:
    if one["effect"] is None:
        return "–"
    ends = "" if one["low"] is None or one["high"] is None else f" ({one['low']:+.4f} to {one['high']:+.4f})"
    return f"{one['effect']:+.4f}{ends}"


def _cost(value: float | None) -> str:
    return "not priced" if value is None else f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
