"""What was found about overfitting as files: JSON, Markdown, pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pp_assets.evaluation.controls import LEAK
from pp_assets.evaluation.drawing import BLUE, GREY, draw
from pp_assets.evaluation.markdown import md
from pp_assets.evaluation.markdown import table as md_table

SCORE_HEAD, GAP_HEAD = ("rows", "value [95 % interval]", "n"), ("gap", "effect [95 % interval]", "verdict")
PROBE_HEAD = ("leak probe", "effect [95 % interval]", "n", "verdict")


def write_page(document: Mapping[str, Any], out: Path) -> None:
    """generalisation.json, .md and plots/ in `out`."""
    (out / "plots").mkdir(parents=True, exist_ok=True)
    (out / "plots" / "scores.png").write_bytes(_scores(document))
    if document["curve"]:
        (out / "plots" / "curve.png").write_bytes(_curve(document))
    (out / "generalisation.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    (out / "generalisation.md").write_text(markdown(document), "utf-8")


def markdown(document: Mapping[str, Any]) -> str:
    """The verdict first, with the leaks, then scores, gaps, leak probes and the curve."""
    found = "; ".join([document["verdict"], *(f"leak: {name}" for name in document["leaks"])])
    lines = [f"# {md(document['task'])}: {md(document['variant'])}, generalisation", "", f"**{found}**", ""]
    lines += [f"{md(document['reason'])}.", "", f"Scores are {md(document['metric'])}; rows of the splits are different rows.", ""]
    lines += [*md_table(SCORE_HEAD, score_rows(document)), *md_table(GAP_HEAD, gap_rows(document))]
    if document["neighbours"]["reason"]:
        lines += [f"Neighbours: {md(document['neighbours']['reason'])}.", ""]
    lines += [*md_table(PROBE_HEAD, probe_rows(document)), *(f"{md(told)}." for told in probe_notes(document)), ""]
    if document["curve"]:
        points = [(str(p["rows"]), _cell(p["value"], p), str(p["n"])) for p in document["curve"]]
        lines += [*md_table(("training rows", "on validation rows", "n"), points), f"{document['curve_reason']}.", ""]
    return "\n".join(lines)


def score_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Cells under SCORE_HEAD: the splits, then test items near to and far from training rows."""
    near = document["neighbours"].get("scores", {})
    found = {**document["scores"], **{f"test, {name} training rows": m for name, m in near.items()}}
    return [(name, _cell(m["value"], m), str(m["n"])) for name, m in found.items()]


def gap_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Cells under GAP_HEAD."""
    gaps = [*document["gaps"], *([document["neighbours"]["gap"]] if document["neighbours"]["gap"] else [])]
    return [(f"{g['of']} - {g['over']}", _cell(g["effect"], g, sign="+"), g["reason"] or g["verdict"]) for g in gaps]


def probe_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Cells under PROBE_HEAD."""
    told = document["probes"]
    return [(p["name"], _cell(p["effect"], p, sign="+"), str(p["n"] or "–"), p["verdict"]) for p in told]


def probe_notes(document: Mapping[str, Any]) -> list[str]:
    """What the rows of that table cannot hold, a sentence each: reasons, what the control learnt by heart, what an effect is against."""
    notes = [f"{p['name']}: {p['reason']}" for p in document["probes"] if p["reason"]]
    found = document["control"]
    if found and found["held_out"]["verdict"] == LEAK:
        notes.append("exchanged outputs: a leak: rows that are in both splits, or a base that saw them or needs no more than the prompt")
    if found and "learnt" in found:
        learnt, held, fields = found["learnt"], found["held_out"], ", ".join(found["fields"])
        notes.append(f"exchanged outputs: taught {fields} of other rows, a model has {_beside(held)} of them right on validation rows")
        notes.append(f"learnt by heart: it gives back {_beside(learnt)} of those that it was taught, n {learnt['n']}")
    blind = document["probes"][-1]
    if blind["value"] is not None:
        told = f"{_number(blind['value'])} with the text, {_number(blind['other'])} for what the model says of none"
        notes.append(f"empty text: {document['metric']} on validation rows is {told}")
    return notes


def _beside(found: Mapping[str, Any]) -> str:
    return f"{_number(found['value'])} (the commonest values {_number(found['other'])})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cell(value: float | None, bounds: Mapping[str, Any], sign: str = "") -> str:
    if value is None:
        return "–"
    ends = ["–" if bounds[key] is None else f"{bounds[key]:{sign}.3f}" for key in ("low", "high")]
    return f"{value:{sign}.3f} [{', '.join(ends)}]"


def _scores(document: Mapping[str, Any]) -> bytes:
    told = {name: m for name, m in document["scores"].items() if m["value"] is not None}

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.bar(list(told), [m["value"] for m in told.values()], color=[GREY if name == "train" else BLUE for name in told], width=0.6)
        for place, m in enumerate(told.values()):
            if m["low"] is not None and m["high"] is not None:
                axes.plot([place, place], [m["low"], m["high"]], color="black", linewidth=1.4, marker="_")
        axes.set_title(f"{document['metric']}: {document['verdict']}", fontsize=9)

    return draw((3.6, 2.8), paint)


def _curve(document: Mapping[str, Any]) -> bytes:
    points: Sequence[Mapping[str, Any]] = [p for p in document["curve"] if p["value"] is not None]

    def paint(figure: Figure) -> None:
        axes, x = figure.subplots(), [p["rows"] for p in points]
        bounds = [(p["value"] if p["low"] is None else p["low"], p["value"] if p["high"] is None else p["high"]) for p in points]
        axes.fill_between(x, [low for low, _ in bounds], [high for _, high in bounds], color=GREY, alpha=0.6)
        axes.plot(x, [p["value"] for p in points], color=BLUE, marker="o", markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [str(n) for n in x])
        axes.set_xlabel("training rows")
        axes.set_title(f"{document['metric']} on validation rows", fontsize=9)

    return draw((4.6, 3.0), paint)
