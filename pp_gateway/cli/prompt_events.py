"""What a prompt search does, in lines for somebody who waits."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from pp_gateway.cli.output import number

SHORT, NOTE = 6, 60  # characters of an id and of a note; 'pp prompt tree' has them whole


def event_line(event: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    """What somebody who waits wants to hear of an event; nothing of most. `known` are the candidates so far, by id."""
    match event["event"]:
        case "start":
            before = "; goes on from an earlier run: what that was answered is not asked again" if event["goes_on"] else ""
            return f"  {event['strategy']}: {event['train']} rows to learn from, {event['val']} to choose by{before}"
        case "judged" if event["new"]:
            rows = {"train": "training rows", "val": "rows", "test": "test rows"}[event["split"]]
            return f"  {_candidate(event['candidate'], known)}: {number(event['score'])} on {event['rows']} {rows}, {event['calls']} calls"
        case "refused":
            return f"  {_candidate(event['candidate'], known)}: refused: {'; '.join(event['reasons'])}"
        case "round":
            best = _candidate(event["best"], known)
            return f"  round {event['round']}: best {best}: {number(event['score'])} after {event['calls']} calls"
        case "budget spent":
            return f"  {event['why']}"
        case "chosen":
            return f"  {_candidate(event['candidate'], known)} is tested"
    return ""


def _candidate(name: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """A candidate for a reader: the beginning of its id, who made it, and what it is in a few words."""
    node = known.get(name)
    if node is None:
        return name[:SHORT]
    said = (
        "the task's own"
        if node["source"] == "seed"
        else ", ".join(filter(None, (node["source"], shorten(node["note"], NOTE, placeholder="…"))))
    )
    return f"{name[:SHORT]} ({said})"
