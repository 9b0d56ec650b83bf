"""The lines that a suite ends with: one verdict for each thing that was tried, and the numbers that carry it."""

from collections.abc import Mapping
from typing import Any

from pp_assets.evaluation.verdict import format_p


def verdict_lines(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each with `section`, `name`, `verdict` and `text`."""
    lines = []
    for name, found in document["robustness"]["families"].items():
        if found["expects"] == "same":
            lines.append(_line("robustness", name, found["verdict"], _cost(found)))
    lines += _consistency(document["consistency"])
    for name, found in document["bias"]["dimensions"].items():
        lines.append(_line("bias", name, found["verdict"], _groups(found)))
    return lines


def _consistency(found: Mapping[str, Any]) -> list[dict[str, str]]:
    repeats, time, wording = found["repeats"], found["over_time"], found["wording"]
    said = f"{repeats['equal']} of {repeats['n']} answers equal in {repeats['trials']} more trials"
    lines = [_line("consistency", "repeats", repeats["verdict"], said)]
    earlier = "; ".join(f"{one['equal']} of {one['n']} answers as in {name}" for name, one in time["evaluations"].items())
    lines.append(_line("consistency", "over_time", time["verdict"], earlier or time["reason"]))
    for name, one in wording["variants"].items():
        lines.append(_line("consistency", f"{wording['kind']} {name}", one["verdict"], _flips(one)))
    return lines


def _line(section: str, name: str, verdict: str, text: str) -> dict[str, str]:
    return {"section": section, "name": name, "verdict": verdict, "text": text}


def _cost(found: Mapping[str, Any]) -> str:
    gap = f"{found['clean']:.3f} → {found['changed']:.3f} of whole objects right, effect {found['effect']:+.3f}"
    fields = "" if found["fields_clean"] is None else f", of fields {found['fields_clean']:.3f} → {found['fields_changed']:.3f}"
    return f"{gap} ({_span(found['low'], found['high'])}){fields}, {_flips(found)}"


def _flips(found: Mapping[str, Any]) -> str:
    share = f"{found['flips']:.1%} of answers flip ({_share(found['flip_low'])} to {_share(found['flip_high'])})"
    return f"{share}, lost {found['lost']}, gained {found['gained']}, p (Holm) {format_p(found['p_holm'])}, n = {found['n']}"


def _groups(found: Mapping[str, Any]) -> str:
    if not found["groups"]:
        return str(found["reason"])
    worst = max(found["groups"], key=lambda g: (found["groups"][g]["flips"], g))
    return f"{found['reference']} against {worst}, the pair that differs most: {_flips(found['groups'][worst])}"


def _span(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
