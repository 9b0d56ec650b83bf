"""What happened in a search, as it happens and afterwards: a stream of events, and the tree of candidates that they tell of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pp_assets.prompts.search.arena import Event, Hear


@dataclass
class Tree:
    """Candidates in the order in which they came up. A node: `id`, `source`, `parents` (ids), `note`, `by`, `round` (None for the start),
    `state` ("proposed", "judged", "refused", "dropped", "finalist" or "chosen"), `reasons` where it was refused, `judged`: {split,
    rows, score} each time."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        kind, name = event["event"], str(event.get("candidate", ""))
        if kind in ("start", "proposed"):
            told = {key: event[key] for key in ("source", "parents", "note", "by")}
            self.nodes[name] = {"id": name, **told, "round": event.get("round"), "state": "proposed", "reasons": [], "judged": []}
        elif name in self.nodes:
            node = self.nodes[name]
            if kind == "judged":
                node["judged"].append({key: event[key] for key in ("split", "rows", "score")})
                node["state"] = "judged" if node["state"] == "proposed" else node["state"]
            elif kind == "refused":
                node |= {"state": "refused", "reasons": list(event["reasons"])}
            elif kind in ("dropped", "finalist", "chosen"):
                node["state"] = kind

    @property
    def plain(self) -> list[dict[str, Any]]:
        return list(self.nodes.values())

    def chain(self, name: str) -> list[dict[str, Any]]:
        """Where a candidate comes from: itself, its first parent, and so on to the start."""
        found: list[dict[str, Any]] = []
        while name in self.nodes and all(one["id"] != name for one in found):
            node = self.nodes[name]
            found.append({key: node[key] for key in ("id", "source", "note", "by", "parents")})
            name = next(iter(node["parents"]), "")
        return found


def last_judged(node: Mapping[str, Any]) -> tuple[float | None, int]:
    """The score of a candidate on the most rows to choose by that it was judged on, and how many these are; (None, 0) for none. What it
    scored where it was to learn, or in the test, does not compare with that."""
    most = max((one for one in node["judged"] if one["split"] == "val"), key=lambda one: one["rows"], default=None)
    return (None, 0) if most is None else (most["score"], most["rows"])


def tree_lines(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tree as text, a line for each candidate, below the first parent that is there."""
    known = {node["id"] for node in nodes}
    below: dict[str, list[Mapping[str, Any]]] = {}
    for node in nodes:
        parent = next((one for one in node["parents"] if one in known), "")
        below.setdefault(parent, []).append(node)
    lines: list[str] = []

    def grow(parent: str, depth: int) -> None:
        for node in below.get(parent, []):
            value, rows = last_judged(node)
            score = "" if value is None else f"  {value:.3f} on {rows} rows"
            why = f"  ({'; '.join(node['reasons'])})" if node["reasons"] else ""
            note = f"  {node['note']}" if node["note"] else ""
            lines.append(f"{'  ' * depth}{node['id']}  {node['source']}  {node['state']}{score}{note}{why}")
            grow(node["id"], depth + 1)

    grow("", 0)
    return lines


class EventLog:
    """Events as JSON lines in `file`, each with its time, on the way to `hear`. A search that goes on after a kill tells its story again
    from the beginning: the file is begun anew."""

    def __init__(self, file: Path, *hear: Hear) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._out, self._hear = file.open("w", encoding="utf-8"), hear

    def __call__(self, event: Event) -> None:
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
        self._out.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self._out.flush()
        for hear in self._hear:
            hear(event)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_error: object) -> None:
        self._out.close()
