"""The figures of the chat as lines of text."""

from collections.abc import Mapping
from typing import Any


def told_figures(found: Mapping[str, Any]) -> str:
    """What `measures.measure` found."""
    lines = [f"{found['task']}: what people did and said (95 % intervals)"]
    for level, of in (("inference", "answers"), ("episode", "conversations")):
        lines.append(f"\nby {level}")
        lines += [
            f"  {one['metric']:<22}{one['variant'] or 'all':<18}{_value(one):<30}{one['n']} of {one['of']} {of}"
            for one in found["metrics"]
            if one["level"] == level
        ]
    lines.append("\nby day (UTC)")
    lines += [f"  {one['day']}  {one['metric']:<22}{_value(one):<30}n {one['n']}" for one in found["days"]] or [
        "  unknown: nobody has said"
    ]
    lines.append("\nby variant")
    for one in found["variants"]:
        cost = "unknown" if one["cost_per_query"] is None else f"${one['cost_per_query']:.6f} (n {one['priced']})"
        slow = " / ".join("unknown" if ms is None else f"{ms:.0f} ms" for ms in one["latency_ms"].values())
        share = "unknown" if one["share"] is None else f"{one['share']:.2f}"
        lines.append(f"  {one['variant']:<18}use {share} (n {one['requests']})  cost per query {cost}  p50 / p95 {slow}")
    return "\n".join(lines)


def told_summary(found: Mapping[str, Any]) -> str:
    """What `simulate.summary` found."""
    line = f"{found['conversations']} conversations, {found['turns']} answers, {found['handed_off']} handed off to a person"
    if found["without_answer"]:
        line += f", {found['without_answer']} without an answer"
    lines = [
        f"{line}, {found['feedback_unsent']} feedback unsent, {found['feedback_refused']} refused",
        "right by the hidden labels (last answer of each conversation, 95 %):",
    ]
    return "\n".join([*lines, *(f"  {name:<28}{_value(one):<30}n {one['n']}" for name, one in found["truth"].items())])


def _value(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return f"unknown: {one['reason']}"
    if one["low"] is None:
        return f"{one['value']:.3f} ({one['reason']})"
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
