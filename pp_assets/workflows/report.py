"""The report of a run: what each step asked of which model, what that cost and gave. Markdown for people, JSON for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pp_assets.evaluation.markdown import md, table
from pp_resources.artifacts import write_atomic

UNPRICED = "unpriced"
HEAD = ("step", "type", "model", "asked", "kept answers", "tokens in", "tokens out", "cost (USD)", "seconds", "state")
SHOWN = 1500  # characters of an output


def summary(told: Mapping[str, Any]) -> dict[str, Any]:
    """A run with its totals. What a step cost whose output was there already was paid by an earlier run, and counts 0 here; `cost` is None
    where something was bought that nobody has a price for."""
    new = [one for one in told["steps"].values() if one["state"] == "done" and not one["reused"]]
    totals: dict[str, Any] = {key: sum(one[key] for one in new) for key in ("asked", "cached", "tokens_in", "tokens_out")}
    costs = [one["cost"] for one in new]
    totals["cost"] = None if None in costs else round(sum(costs), 6)
    totals["seconds"] = round(sum(one["seconds"] for one in told["steps"].values() if "seconds" in one), 3)
    totals["reused"] = sum(bool(one.get("reused")) for one in told["steps"].values())
    return {**told, "totals": totals}


def write_report(told: Mapping[str, Any], folder: Path) -> None:
    """report.json and report.md."""
    found = summary(told)
    write_atomic(folder / "report.json", json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    write_atomic(folder / "report.md", report_markdown(found))


def report_markdown(found: Mapping[str, Any]) -> str:
    totals = found["totals"]
    lines = [f"# {md(found['workflow'])}: {found['state']}", "", f"Run {found['id']}, begun {found['began']}, of `{found['file']}`.", ""]
    if found.get("error"):
        lines += [f"Ended with: {md(found['error'])}", ""]
    lines += table(HEAD, [step_cells(name, one) for name, one in found["steps"].items()])
    said = f"{totals['asked']} answers ({totals['cached']} of them kept from before), {totals['tokens_in']} tokens in, "
    lines += [
        f"This run: {said}{totals['tokens_out']} out, cost {cost(totals['cost'])}, {totals['reused']} steps were there already.",
        "",
        "## Variables",
        "",
    ]
    lines += table(
        ("name", "value"), [(name, _cut(json.dumps(value, ensure_ascii=False), 200)) for name, value in found["variables"].items()]
    )
    for name, one in found["steps"].items():
        lines += [f"## {md(name)}", ""]
        if one["state"] != "done":
            lines += [md(one.get("error") or one["state"]), ""]
            continue
        text = (Path(one["output"]) / "output.json").read_text("utf-8")
        file = f", as `{one['output_file']}`" if one["output_file"] else ""
        fence = "~" * 3 + "~" * text.count("~~~")
        lines += [f"`{one['output']}`{file}", "", f"{fence}json", _cut(text.rstrip(), SHOWN), fence, ""]
    return "\n".join(lines)


def step_cells(name: str, one: Mapping[str, Any]) -> list[str]:
    """One row of the table of steps."""
    if one["state"] != "done":
        return [name, "", "", "", "", "", "", "", "", one["state"]]
    counts = [str(one[key]) for key in ("asked", "cached", "tokens_in", "tokens_out")]
    state = "was there" if one["reused"] else "done"
    return [name, one["type"], ", ".join(one["models"]) or "none", *counts, cost(one["cost"]), f"{one['seconds']:.2f}", state]


def cost(value: float | None) -> str:
    return UNPRICED if value is None else f"{value:.4f}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters in all)"
